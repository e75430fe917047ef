//! `dismax_image_info(image)`: what can be said of an image without a model.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Float32Builder, Int32Builder, Int64Builder, StringBuilder, StructArray,
    new_empty_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use dismax::dataset::{Images, LoadOptions, OpenedImage};
use dismax::image::exif_orientation;
use dismax::{RowError, RowErrorCode};
use dismax_audit::inspection::{EncodedFormat, Inspection, Inspector, PerceptualHash};
use sha2::{Digest as _, Sha256};

use super::documentation::{IMAGE, IMAGES};
use crate::models::{external, image_column, image_type};

const NAME: &str = "dismax_image_info";
const HASH_BYTES: i32 = size_of::<PerceptualHash>() as i32;

static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let field = |(name, data_type): (&str, DataType)| Field::new(name, data_type, true);
    let fields = [
        ("width", DataType::Int32),
        ("height", DataType::Int32),
        ("format", DataType::Utf8),
        ("bytes", DataType::Int64),
        ("orientation", DataType::Int32),
        ("light", DataType::Float32),
        ("contrast", DataType::Float32),
        ("sharpness", DataType::Float32),
        ("colour", DataType::Float32),
        ("sha256", DataType::Utf8),
        ("perceptual_hash", DataType::FixedSizeBinary(HASH_BYTES)),
        ("error", DataType::Utf8),
    ];
    fields.map(field).into_iter().collect()
});

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        IMAGES,
        "Returns a struct of what can be said of an image without a model: width, height, format, bytes, orientation (EXIF, 1 \
         to 8), light (mean luma), contrast (its standard deviation), sharpness (variance of the Laplacian), colour (mean range \
         of the channels), sha256 of the file, perceptual_hash, and error where it cannot be decoded. NULL for a NULL image.",
        format!("{NAME}(image)"),
    )
    .with_argument("image", IMAGE)
    .with_sql_example(format!("SELECT {NAME}(img)['format'], count(*) FROM 'photos.parquet' GROUP BY 1;"))
    .with_related_udf("dismax_hash_distance")
    .build()
});

/// The function.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ImageInfo {
    load: LoadOptions,
    signature: Signature,
}

impl ImageInfo {
    /// Loads images so.
    pub fn new(load: LoadOptions) -> Self {
        // The first decides; the other is what `SHOW FUNCTIONS` lists.
        let listed = TypeSignature::Exact(vec![DataType::Binary]);
        let signature = Signature::one_of(vec![TypeSignature::UserDefined, listed], Volatility::Immutable);
        Self { load, signature }
    }

    fn of_array(&self, images: &ArrayRef, field: &Field) -> Result<ArrayRef> {
        let column = image_column(field, self.load.read_paths)?;
        // A NULL literal is a missing image.
        let images = column.images_of(&cast(images, image_type(field))?).map_err(external)?;
        let (mut infos, mut inspector) = (Infos::with_capacity(images.len()), Inspector::default());
        (0..images.len()).for_each(|row| infos.append(Info::of(&images, row, &self.load, &mut inspector)));
        infos.finish()
    }
}

impl Hash for ImageInfo {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.load.limits.max_pixels, self.load.read_paths).hash(state);
    }
}

impl ScalarUDFImpl for ImageInfo {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        // Whatever does not fit is refused by `return_field_from_args`, whose words reach the user.
        match arguments {
            [DataType::Null] => Ok(vec![DataType::Binary]),
            others => Ok(others.to_vec()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(FIELDS.clone()))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let [image] = arguments.arg_fields else {
            return plan_err!("{NAME} takes an image and nothing else, not {} arguments", arguments.arg_fields.len());
        };
        image_column(image, self.load.read_paths)?;
        Ok(Arc::new(Field::new(NAME, DataType::Struct(FIELDS.clone()), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if arguments.number_rows == 0 {
            return Ok(ColumnarValue::Array(new_empty_array(arguments.return_field.data_type())));
        }
        let (Some(images), Some(field)) = (arguments.args.first(), arguments.arg_fields.first()) else {
            return plan_err!("{NAME} needs an image");
        };
        match images {
            ColumnarValue::Array(images) => Ok(ColumnarValue::Array(self.of_array(images, field)?)),
            ColumnarValue::Scalar(image) => {
                let info = self.of_array(&image.to_array()?, field)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&info, 0)?))
            }
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// What is known of one image.
#[derive(Default)]
struct Info {
    is_null: bool,
    /// Of an encoded image, whether or not it can be decoded.
    format: Option<EncodedFormat>,
    bytes: Option<usize>,
    sha256: Option<String>,
    orientation: Option<u8>,
    inspection: Option<Inspection>,
    error: Option<RowError>,
}

impl Info {
    fn of(images: &Images, row: usize, load: &LoadOptions, inspector: &mut Inspector) -> Self {
        let (mut info, pixels) = match load.open(images, row) {
            Ok(OpenedImage::Encoded(bytes)) => {
                let pixels = load.decode(&bytes);
                let info = Self {
                    format: EncodedFormat::from_bytes(&bytes),
                    bytes: Some(bytes.len()),
                    sha256: Some(hex(&bytes)),
                    orientation: pixels.as_ref().ok().and_then(|_| exif_orientation(&bytes)),
                    ..Self::default()
                };
                (info, pixels)
            }
            Ok(OpenedImage::Raw(pixels)) => (Self::default(), Ok(pixels)),
            Err(error) => (Self { is_null: error.code == RowErrorCode::NullImage, ..Self::default() }, Err(error)),
        };
        match pixels.and_then(|pixels| inspector.inspect(&pixels)) {
            Ok(inspection) => info.inspection = Some(inspection),
            Err(error) => info.error = Some(error),
        }
        info
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The columns of the struct while they grow.
struct Infos {
    valid: Vec<bool>,
    width: Int32Builder,
    height: Int32Builder,
    format: StringBuilder,
    bytes: Int64Builder,
    orientation: Int32Builder,
    light: Float32Builder,
    contrast: Float32Builder,
    sharpness: Float32Builder,
    colour: Float32Builder,
    sha256: StringBuilder,
    perceptual_hash: FixedSizeBinaryBuilder,
    error: StringBuilder,
}

impl Infos {
    fn with_capacity(rows: usize) -> Self {
        Self {
            valid: Vec::with_capacity(rows),
            width: Int32Builder::with_capacity(rows),
            height: Int32Builder::with_capacity(rows),
            format: StringBuilder::new(),
            bytes: Int64Builder::with_capacity(rows),
            orientation: Int32Builder::with_capacity(rows),
            light: Float32Builder::with_capacity(rows),
            contrast: Float32Builder::with_capacity(rows),
            sharpness: Float32Builder::with_capacity(rows),
            colour: Float32Builder::with_capacity(rows),
            sha256: StringBuilder::new(),
            perceptual_hash: FixedSizeBinaryBuilder::with_capacity(rows, HASH_BYTES),
            error: StringBuilder::new(),
        }
    }

    fn append(&mut self, info: Info) {
        let Info { is_null, format, bytes, sha256, orientation, inspection, error } = info;
        let seen = inspection.as_ref();
        // The limit on pixels keeps sides far below.
        let side = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
        self.valid.push(!is_null);
        self.width.append_option(seen.map(|seen| side(seen.width)));
        self.height.append_option(seen.map(|seen| side(seen.height)));
        self.format.append_option(format.map(EncodedFormat::name));
        self.bytes.append_option(bytes.and_then(|bytes| i64::try_from(bytes).ok()));
        self.orientation.append_option(orientation.map(i32::from));
        self.light.append_option(seen.map(|seen| seen.luma_mean));
        self.contrast.append_option(seen.map(|seen| seen.luma_deviation));
        self.sharpness.append_option(seen.map(|seen| seen.sharpness));
        self.colour.append_option(seen.map(|seen| seen.colour));
        self.sha256.append_option(sha256);
        match seen {
            Some(seen) => self.perceptual_hash.append_value(seen.hash).expect("a hash has its width"),
            None => self.perceptual_hash.append_null(),
        }
        self.error.append_option(error.map(|error| error.to_string()));
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.width.finish()),
            Arc::new(self.height.finish()),
            Arc::new(self.format.finish()),
            Arc::new(self.bytes.finish()),
            Arc::new(self.orientation.finish()),
            Arc::new(self.light.finish()),
            Arc::new(self.contrast.finish()),
            Arc::new(self.sharpness.finish()),
            Arc::new(self.colour.finish()),
            Arc::new(self.sha256.finish()),
            Arc::new(self.perceptual_hash.finish()),
            Arc::new(self.error.finish()),
        ];
        Ok(Arc::new(StructArray::try_new(FIELDS.clone(), arrays, Some(NullBuffer::from(self.valid)))?))
    }
}
