//! Scoring an array on the calling thread, with the stage's workers.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::Field;
use datafusion::common::Result;

use crate::chunks::ImageSlices;
use crate::models::{ScoringModel, external};
use crate::output::Output;
use crate::scoring::Request;

/// The output for every image of the array.
pub(super) fn score(model: &ScoringModel, output: Output, images: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let column = model.input_column(field)?;
    let stage = &model.working()?.stage;
    let mut slices = ImageSlices::try_new(stage, images, field)?;
    let (mut in_flight, mut parts) = (VecDeque::new(), Vec::new());
    loop {
        while in_flight.len() < stage.items_in_flight()
            && let Some(slice) = slices.next()
        {
            in_flight.push_back(Request::send(model, &column, &slice, output.needs_features())?);
        }
        let Some(first) = in_flight.pop_front() else { break };
        let answered = first.wait(model)?;
        let columns = model.columns.build(&answered.scored).map_err(external)?;
        parts.push(output.array(&model.columns, &answered.scored, &columns)?);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [] => Ok(new_empty_array(output.field(&model.columns, "").data_type())),
        parts => Ok(concat(parts)?),
    }
}
