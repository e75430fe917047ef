//! Scoring an array on the calling thread, with the stage's workers.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Weak};

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::Field;
use datafusion::common::{Result, exec_datafusion_err};
use dismax::stage::Scored;

use crate::chunks::Chunks;
use crate::models::{ScoringModel, external};
use crate::output::Output;

/// The output for every image of the array.
pub(super) fn score(model: &ScoringModel, output: Output, images: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let column = model.image_column(field)?;
    let alive = Arc::new(());
    let mut chunks = Chunks::of(&model.stage, images, field)?;
    let mut waiting: VecDeque<Receiver<dismax::Result<Scored>>> = VecDeque::new();
    let mut parts = Vec::new();
    loop {
        while waiting.len() < model.stage.chunks_in_flight() {
            let Some(chunk) = chunks.next()? else { break };
            let (sender, receiver) = sync_channel(1);
            let answer = move |scored| drop(sender.send(scored));
            let stream: Weak<()> = Arc::downgrade(&alive);
            model.stage.submit(&column, chunk, Arc::from(""), stream, answer).map_err(external)?;
            waiting.push_back(receiver);
        }
        let Some(next) = waiting.pop_front() else { break };
        let scored = next.recv().map_err(|_| exec_datafusion_err!("a scoring worker ended unexpectedly"))?;
        let judged = model.columns.judge(&scored.map_err(external)?).map_err(external)?;
        parts.push(output.array(&model.columns, &judged)?);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [] => Ok(new_empty_array(output.field(&model.columns, "").data_type())),
        parts => Ok(concat(parts)?),
    }
}
