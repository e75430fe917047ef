//! Small datasets whose rows are known.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};
use dismax::dataset::{Chunk, Dataset, DatasetWriter, WriteOptions};
use tempfile::TempDir;

/// Hugging Face's metadata of the datasets.
pub const METADATA: &str = r#"{"info": {"features": {"img": {"_type": "Image"}}}}"#;

/// An image in Hugging Face's struct, and a label.
pub fn schema() -> SchemaRef {
    let parts =
        Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]);
    let fields = vec![Field::new("img", DataType::Struct(parts), true), Field::new("label", DataType::Int64, true)];
    let metadata = [("huggingface", METADATA), ("dismax.temperature", "1.5")];
    let metadata = metadata.map(|(key, value)| (key.to_string(), value.to_string()));
    Arc::new(Schema::new_with_metadata(fields, metadata.into()))
}

/// Rows whose label is their number, whose image bytes repeat it, and every seventh of which is null.
pub fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let bytes = BinaryArray::from_iter(range.clone().map(|row| (row % 7 != 6).then(|| row.to_le_bytes().repeat(3))));
    let paths = StringArray::from_iter(range.clone().map(|row| Some(format!("{row}.png"))));
    let DataType::Struct(parts) = schema().field(0).data_type().clone() else { unreachable!("it is a struct") };
    let images = StructArray::new(parts, vec![Arc::new(bytes), Arc::new(paths)], None);
    let labels = Int64Array::from_iter_values(range);
    RecordBatch::try_new(schema(), vec![Arc::new(images), Arc::new(labels)]).expect("columns fit")
}

/// Writes record batches as one file.
pub fn write(path: &Path, batches: &[RecordBatch], options: &WriteOptions) {
    let schema = batches.first().map_or_else(schema, RecordBatch::schema);
    let mut writer = DatasetWriter::create(&path.display().to_string(), &schema, options).expect("target is free");
    for batch in batches {
        writer.write(batch).expect("writes");
    }
    writer.finish().expect("finishes");
}

/// Opens a file or folder.
pub fn open(path: &Path) -> dismax::Result<Dataset> {
    Dataset::open(&[path.display().to_string()])
}

/// Everything in pieces.
pub fn chunks(dataset: &Dataset, batch_rows: usize, projection: Option<&[usize]>) -> Vec<Chunk> {
    dataset.read(batch_rows, projection).expect("begins").collect::<Result<_, _>>().expect("reads")
}

/// All labels, in order.
pub fn labels(chunks: &[Chunk]) -> Vec<i64> {
    let column = |chunk: &Chunk| chunk.record_batch.column_by_name("label").expect("label").clone();
    chunks.iter().flat_map(|chunk| column(chunk).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// A folder for one test.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

/// Names of what lies in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("temporary folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
