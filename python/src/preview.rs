//! The first rows of a relation as they are shown: texts, and thumbnails of images.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dismax::dataset::{ImageColumn, LoadOptions, OpenedImage};
use dismax::image::{Decoding, decode};
use dismax_audit::thumbnail;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// What stands in one cell.
#[derive(Clone)]
enum Cell {
    Null,
    Text(String),
    /// A JPEG file.
    Image(Vec<u8>),
}

/// Rows of cells.
pub struct Preview(Vec<Vec<Cell>>);

impl Preview {
    /// # Errors
    /// A type that has no text.
    pub fn of(batches: &[RecordBatch]) -> Result<Self, ArrowError> {
        let mut rows = Vec::new();
        for batch in batches {
            let columns = (0..batch.num_columns()).map(|column| cells(batch, column));
            let mut columns = columns.map(|cells| cells.map(Vec::into_iter)).collect::<Result<Vec<_>, ArrowError>>()?;
            for _ in 0..batch.num_rows() {
                rows.push(columns.iter_mut().filter_map(Iterator::next).collect());
            }
        }
        Ok(Self(rows))
    }

    /// As Python's `str`, `bytes` and `None`.
    pub fn to_python<'py>(&self, py: Python<'py>) -> Vec<Vec<Bound<'py, PyAny>>> {
        let cell = |cell: &Cell| match cell {
            Cell::Null => py.None().into_bound(py),
            Cell::Text(text) => PyString::new(py, text).into_any(),
            Cell::Image(jpeg) => PyBytes::new(py, jpeg).into_any(),
        };
        self.0.iter().map(|row| row.iter().map(cell).collect()).collect()
    }
}

fn cells(batch: &RecordBatch, column: usize) -> Result<Vec<Cell>, ArrowError> {
    let (array, schema) = (batch.column(column), batch.schema());
    let field: &Field = schema.field(column);
    let images = ImageColumn::from_field(field).ok().filter(|images| !images.holds_paths());
    if let Some(images) = images.and_then(|images| images.images_of(array).ok()) {
        let picture = |row: usize| {
            let pixels = match LoadOptions::default().open(&images, row).ok()? {
                OpenedImage::Encoded(bytes) => {
                    decode(&bytes, &LoadOptions::default().limits, Decoding::default()).ok()?
                }
                OpenedImage::Raw(pixels) => pixels,
            };
            thumbnail(&pixels).ok()
        };
        let cell = |row| picture(row).map_or(Cell::Text("no image".into()), Cell::Image);
        return Ok((0..array.len()).map(|row| if array.is_null(row) { Cell::Null } else { cell(row) }).collect());
    }
    if matches!(field.data_type(), DataType::Binary | DataType::LargeBinary | DataType::BinaryView) {
        return Ok(vec![Cell::Text("bytes".into()); array.len()]);
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let text = |row| formatter.value(row).try_to_string().map(Cell::Text);
    (0..array.len()).map(|row| if array.is_null(row) { Ok(Cell::Null) } else { text(row) }).collect()
}
