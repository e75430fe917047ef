//! The table of every row's measures.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Float32Array, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::collect::{Look, Row};
use super::digest;
use super::evidence::Evidence;
use super::inspection::PerceptualHash;
use super::thumbnails::Thumbnails;
use dismax::dataset::{DatasetWriter, WriteOptions};
use dismax::error::{Error, Result};

/// Rows that are written at once.
const BATCH_ROWS: usize = 4096;

/// A table that lacks its name until it is whole.
pub(super) struct RowsWriter {
    writer: DatasetWriter,
    schema: SchemaRef,
}

impl RowsWriter {
    /// Begins the table at `target`, a file name or an address.
    ///
    /// # Errors
    /// As [`DatasetWriter::create`].
    pub fn create(target: &str, overwrite: bool) -> Result<Self> {
        let schema = schema();
        let options = WriteOptions { overwrite, ..WriteOptions::default() };
        Ok(Self { writer: DatasetWriter::create(target, &schema, &options)?, schema })
    }

    /// Writes all rows in their order, and gives the table its name.
    ///
    /// # Errors
    /// As [`DatasetWriter::write`].
    pub fn write(mut self, evidence: &Evidence<'_>, thumbnails: &Thumbnails) -> Result<()> {
        let all = evidence.collected.len();
        for start in (0..all).step_by(BATCH_ROWS) {
            let batch = record_batch(start..all.min(start + BATCH_ROWS), evidence, thumbnails, &self.schema)?;
            self.writer.write(&batch)?;
        }
        self.writer.finish()
    }
}

/// Columns of the table. Their descriptions stand in the fields' metadata.
fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, nullable: bool, description: &str| {
        let metadata = HashMap::from([("description".to_owned(), description.to_owned())]);
        Field::new(name, data_type, nullable).with_metadata(metadata)
    };
    let hash = DataType::FixedSizeBinary(size_of::<PerceptualHash>() as i32);
    Arc::new(Schema::new(vec![
        field("file", DataType::Utf8, false, "file of the row, as it was named"),
        field("row", DataType::UInt64, false, "number of the row in its file, from 0"),
        field(
            "path",
            DataType::Utf8,
            true,
            "path or name that the dataset gives the image, at most 200 characters of it",
        ),
        field("image_digest", DataType::Utf8, false, "as in findings.parquet: equal where the images are"),
        field("width", DataType::UInt32, true, "columns of pixels as stored; null where the image cannot be decoded"),
        field("height", DataType::UInt32, true, "rows of pixels as stored"),
        field("format", DataType::Utf8, true, "format of the bytes; null for pixels that are not encoded"),
        field("bytes", DataType::UInt32, true, "bytes of the encoded image; 0 for pixels that are not encoded"),
        field("light", DataType::Float32, true, "mean luma, from 0 (black) to 1 (white)"),
        field("contrast", DataType::Float32, true, "standard deviation of the luma, from 0 (one tone) to 0.5"),
        field("sharpness", DataType::Float32, true, "variance of the Laplacian of the luma; small is blurred"),
        field(
            "colour",
            DataType::Float32,
            true,
            "mean difference of the largest and the smallest channel, from 0 (grey) to 1",
        ),
        field("perceptual_hash", hash, true, "120 bits; few of them differ between two encodings of a picture"),
        field("prediction", DataType::Utf8, true, "name of the most probable class; null where nothing was predicted"),
        field("confidence", DataType::Float32, true, "its calibrated probability"),
        field("ood_score", DataType::Float32, true, "higher is more out-of-distribution"),
        field("p_value", DataType::Float64, true, "conformal p-value of the model's score; small is unknown"),
        field(
            "q_value",
            DataType::Float32,
            true,
            "smallest false discovery rate at which the image counts as unknown; null where it is not under test",
        ),
        field("label", DataType::Utf8, true, "name of the label's class"),
        field("label_probability", DataType::Float32, true, "calibrated probability of the label's class"),
        field("error", DataType::Utf8, true, "null, or why the image cannot be used"),
    ]))
}

fn record_batch(
    rows: Range<usize>,
    evidence: &Evidence<'_>,
    thumbnails: &Thumbnails,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let arrow = |source| Error::Arrow { origin: "table of rows".into(), source };
    let collected = evidence.collected;
    let places = || rows.clone().map(|row| collected.place(row));
    let all = || rows.clone().filter_map(|row| collected.row(row));
    let looks = || all().map(|row| row.look);
    let predictions = || all().map(|row| row.prediction);
    let size = |of: fn(&Look) -> u32| Arc::new(looks().map(|look| look.map(of)).collect::<UInt32Array>());
    let measure = |of: fn(&Look) -> f32| Arc::new(looks().map(|look| look.map(of)).collect::<Float32Array>());
    let mut hashes = FixedSizeBinaryBuilder::with_capacity(rows.len(), size_of::<PerceptualHash>() as i32);
    for look in looks() {
        match look {
            Some(look) => hashes.append_value(look.hash).map_err(arrow)?,
            None => hashes.append_null(),
        }
    }
    let label_probability =
        |row: Row<'_>| (row.label.is_some() && row.prediction.is_some()).then_some(row.label_probability);
    let errors = rows.clone().map(|row| {
        let code = collected.row(row)?.error?.as_str();
        let message = collected.message(row);
        Some(if message.is_empty() { code.to_owned() } else { format!("{code}: {message}") })
    });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(places().map(|(file, _)| file))),
        Arc::new(UInt64Array::from_iter_values(places().map(|(_, row)| row))),
        Arc::new(StringArray::from(rows.clone().map(|row| thumbnails.name(row)).collect::<Result<Vec<_>>>()?)),
        Arc::new(StringArray::from_iter_values(all().map(|row| digest::hex(row.digest)))),
        size(|look| look.width),
        size(|look| look.height),
        Arc::new(looks().map(|look| look?.format.map(|format| format.name())).collect::<StringArray>()),
        size(|look| look.bytes),
        measure(|look| look.luma_mean),
        measure(|look| look.luma_deviation),
        measure(|look| look.sharpness),
        measure(|look| look.colour),
        Arc::new(hashes.finish()),
        Arc::new(predictions().map(|found| found.map(|found| evidence.class(found.class))).collect::<StringArray>()),
        Arc::new(predictions().map(|found| found.map(|found| found.confidence)).collect::<Float32Array>()),
        Arc::new(predictions().map(|found| found.map(|found| -found.score)).collect::<Float32Array>()),
        Arc::new(predictions().map(|found| found.map(|found| found.p_value)).collect::<Float64Array>()),
        Arc::new(all().map(|row| evidence.q_value(&row)).collect::<Float32Array>()),
        Arc::new(rows.clone().map(|row| evidence.label(row as u32)).collect::<StringArray>()),
        Arc::new(all().map(label_probability).collect::<Float32Array>()),
        Arc::new(errors.collect::<StringArray>()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(arrow)
}
