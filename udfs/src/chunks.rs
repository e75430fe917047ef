//! An array of images or embeddings cut into the items that the stage takes.

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::Field;
use datafusion::common::Result;
use dismax::dataset::used_bytes;
use dismax::stage::Stage;

use crate::models::argument_type;

/// Slices of an image array: of few rows where images are large.
#[derive(Debug)]
pub(crate) struct ImageSlices {
    images: ArrayRef,
    rows: usize,
    start: usize,
}

impl ImageSlices {
    /// Cuts `images`, the values of an argument with this field.
    pub fn try_new(stage: &Stage, images: &ArrayRef, argument: &Field) -> Result<Self> {
        let images = cast(images, &argument_type(stage.model(), argument))?;
        let mean = used_bytes(&images).div_ceil(images.len().max(1)).max(1);
        let rows = (stage.max_chunk_bytes() / mean).clamp(1, stage.max_chunk_rows());
        Ok(Self { images, rows, start: 0 })
    }
}

impl Iterator for ImageSlices {
    type Item = ArrayRef;

    fn next(&mut self) -> Option<ArrayRef> {
        let rows = self.rows.min(self.images.len() - self.start);
        let slice = (rows > 0).then(|| self.images.slice(self.start, rows));
        self.start += rows;
        slice
    }
}
