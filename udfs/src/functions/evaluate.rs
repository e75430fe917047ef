//! Scoring an array on the calling thread, with the stage's workers.

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::Field;
use datafusion::common::Result;

use crate::chunks::ImageSlices;
use crate::models::{ScoringModel, external};
use crate::output::Output;

/// The output for every image of the array.
pub(super) fn score(model: &ScoringModel, output: Output, images: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let column = model.image_column(field)?;
    let slices = ImageSlices::try_new(&model.stage, images, field)?;
    let items = slices.map(|slice| Ok((column.images_of(&slice)?, ())));
    let mut parts = Vec::new();
    for scored in model.stage.score(items) {
        let ((), scored) = scored.map_err(external)?;
        let columns = model.columns.build(&scored).map_err(external)?;
        parts.push(output.array(&model.columns, &columns)?);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [] => Ok(new_empty_array(output.field(&model.columns, "").data_type())),
        parts => Ok(concat(parts)?),
    }
}
