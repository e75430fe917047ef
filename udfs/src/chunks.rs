//! An array of images cut into the record batches that the stage takes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::Result;
use dismax::dataset::used_bytes;
use dismax::stage::Stage;

use crate::models::image_field;

/// Record batches with one column, the images: of few rows where images are large.
#[derive(Debug)]
pub(crate) struct Chunks {
    images: ArrayRef,
    schema: SchemaRef,
    rows: usize,
    start: usize,
}

impl Chunks {
    /// Cuts `images`, the values of an argument with this field.
    pub fn of(stage: &Stage, images: &ArrayRef, argument: &Field) -> Result<Self> {
        let field = image_field(argument);
        let images = match images.data_type() == field.data_type() {
            true => Arc::clone(images),
            false => cast(images, field.data_type())?,
        };
        let rows = rows_within(stage, &images);
        Ok(Self { images, schema: Arc::new(Schema::new(vec![field])), rows, start: 0 })
    }

    /// The next record batch.
    pub fn next(&mut self) -> Result<Option<RecordBatch>> {
        let rows = self.rows.min(self.images.len() - self.start);
        if rows == 0 {
            return Ok(None);
        }
        let images = self.images.slice(self.start, rows);
        self.start += rows;
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), vec![images])?))
    }
}

/// Rows of a chunk: as many as keep a worker busy, fewer where images are large.
fn rows_within(stage: &Stage, images: &ArrayRef) -> usize {
    let mean = used_bytes(images).div_ceil(images.len().max(1)).max(1) as u64;
    usize::try_from(stage.chunk_bytes() / mean).unwrap_or(usize::MAX).clamp(1, stage.most_chunk_rows().max(1))
}
