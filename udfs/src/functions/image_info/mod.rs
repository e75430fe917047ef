//! `dismax_image_info(image)`: what can be said of an image without a model.
//!
//! DataFusion asks for the struct anew for each field that a query takes of it, so what was seen is remembered.

mod columns;
mod info;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use dismax::dataset::LoadOptions;
use dismax_audit::inspection::Inspector;

use self::columns::{FIELDS, Infos};
use self::info::Info;
use super::documentation::{IMAGE, IMAGES};
use crate::models::{external, image_column, image_type};
use crate::seen::Seen;

const NAME: &str = "dismax_image_info";

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
#[derive(Debug)]
pub(super) struct ImageInfo {
    load: LoadOptions,
    seen: Arc<Seen>,
    signature: Signature,
}

impl ImageInfo {
    /// Loads images so, and remembers what it saw.
    pub fn new(load: LoadOptions, seen: Arc<Seen>) -> Self {
        // The first decides; the other is what `SHOW FUNCTIONS` lists.
        let listed = TypeSignature::Exact(vec![DataType::Binary]);
        let signature = Signature::one_of(vec![TypeSignature::UserDefined, listed], Volatility::Immutable);
        Self { load, seen, signature }
    }

    fn of_array(&self, images: &ArrayRef, field: &Field) -> Result<ArrayRef> {
        let column = image_column(field, self.load.read_paths)?;
        // A NULL literal is a missing image.
        let images = column.images_of(&cast(images, image_type(field))?).map_err(external)?;
        let (mut infos, mut inspector) = (Infos::with_capacity(images.len()), Inspector::default());
        (0..images.len()).for_each(|row| infos.append(Info::of(&images, row, &self.load, &self.seen, &mut inspector)));
        infos.finish()
    }
}

impl PartialEq for ImageInfo {
    fn eq(&self, other: &Self) -> bool {
        self.load == other.load
    }
}

impl Eq for ImageInfo {}

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
