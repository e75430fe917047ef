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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use arrow::array::AsArray;
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::logical_expr::ScalarUDF;
    use datafusion::prelude::{ParquetReadOptions, SessionContext};
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::seen::Picture;

    const MIXED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/digits/mixed.parquet");

    async fn session(seen: &Arc<Seen>) -> SessionContext {
        let session = SessionContext::new();
        let info = ImageInfo::new(LoadOptions::default(), Arc::clone(seen));
        session.register_udf(ScalarUDF::new_from_impl(info));
        session.register_parquet("photos", MIXED, ParquetReadOptions::default()).await.unwrap();
        session
    }

    async fn digests() -> Vec<[u8; 32]> {
        let session = session(&Arc::default()).await;
        let rows = session.sql("SELECT arrow_cast(image['bytes'], 'Binary') FROM photos").await.unwrap();
        let batches = rows.collect().await.unwrap();
        let images = batches.iter().flat_map(|batch| batch.column(0).as_binary::<i32>().iter().flatten());
        images.filter(|bytes| !bytes.is_empty()).map(|bytes| Sha256::digest(bytes).into()).collect()
    }

    /// Several fields in several places, for each of which DataFusion asks anew.
    async fn ask(seen: &Arc<Seen>) -> String {
        let info = "dismax_image_info(image)";
        let sql = format!(
            "SELECT {info}['width'] AS width, {info}['height'] AS height, max({info}['light']) AS light FROM photos \
             WHERE {info}['sharpness'] > 0 GROUP BY {info}['width'], {info}['height'] ORDER BY min({info}['contrast'])"
        );
        let batches = session(seen).await.sql(&sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    #[tokio::test]
    async fn an_image_is_decoded_once_for_all_fields_and_places_of_a_query() {
        let digests = digests().await;
        assert!(digests.len() > 700);
        let seen = Arc::new(Seen::default());
        let answer = ask(&seen).await;
        assert!(answer.contains("| 8     | 8      |"), "{answer}");
        for digest in &digests {
            seen.of(*digest, || unreachable!("it was decoded, and would be again"));
        }
        // Nothing is decoded where all images were seen: what is remembered is the whole answer, right or wrong.
        let seen = Arc::new(Seen::default());
        let remembered = Picture {
            width: 12,
            height: 34,
            orientation: None,
            light: 0.5,
            contrast: 0.5,
            sharpness: 1.0,
            colour: 0.0,
            hash: [0; 16],
        };
        for digest in digests {
            seen.of(digest, || Ok(remembered.clone()));
        }
        let answer = ask(&seen).await;
        assert_eq!(answer.lines().filter(|line| line.starts_with("| ")).count(), 2, "{answer}");
        assert!(answer.contains("| 12    | 34     | 0.5   |"), "{answer}");
    }
}
