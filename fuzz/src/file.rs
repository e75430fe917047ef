//! Files of datasets, read from disk as every command reads them.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use arrow::array::RecordBatch;
use dismax::dataset::{EmbeddingColumn, ImageColumn, LabelColumn, LoadOptions, list_columns};
use dismax::image::Limits;
use dismax::{Dataset, Error};
use tempfile::TempDir;

/// Small, so that a run is short.
const LIMITS: Limits = Limits { max_pixels: 1 << 20 };
/// Rows of a file that are looked at. A few bytes may say that there are thousands of millions.
const ROWS: usize = 2000;

/// A Parquet file.
pub fn parquet(bytes: &[u8]) -> bool {
    dataset("data.parquet", bytes)
}

/// An Arrow IPC file.
pub fn arrow_file(bytes: &[u8]) -> bool {
    dataset("data.arrow", bytes)
}

/// An Arrow IPC stream.
pub fn arrow_stream(bytes: &[u8]) -> bool {
    dataset("data.arrows", bytes)
}

/// A tar file of images with what belongs to them.
pub fn tar(bytes: &[u8]) -> bool {
    dataset("data.tar", bytes)
}

/// The CSV or JSON lines beside the images of a folder: the first byte says which.
pub fn metadata(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = bytes.split_first() else { return false };
    in_folder(|folder| {
        let images = folder.join("images");
        fs::create_dir_all(&images).expect("a folder");
        fs::write(images.join("a.png"), include_bytes!("../corpus/image/grey.png")).expect("an image");
        let name = if kind & 1 == 0 { "metadata.csv" } else { "metadata.jsonl" };
        fs::write(images.join(name), bytes).expect("written");
        let is_read = read(&images);
        fs::remove_file(images.join(name)).expect("removed");
        is_read
    })
}

fn dataset(name: &str, bytes: &[u8]) -> bool {
    in_folder(|folder| {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("written");
        read(&path)
    })
}

/// One folder for all runs of a thread.
pub fn in_folder<T>(work: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| work(folder.get_or_init(|| tempfile::tempdir().expect("a folder")).path()))
}

fn read(path: &Path) -> bool {
    let path = path.display().to_string();
    let dataset = match Dataset::open(&[&path]) {
        Ok(dataset) => dataset,
        Err(error) => return names_the_file(&error, &path),
    };
    let _ = dataset.rows();
    let chunks = match dataset.read(64, None) {
        Ok(chunks) => chunks,
        Err(error) => return names_the_file(&error, &path),
    };
    let (mut rows, mut images) = (0, 0);
    for chunk in chunks {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return names_the_file(&error, &path),
        };
        assert_eq!(chunk.record_batch.schema().fields(), dataset.schema().fields());
        images += read_batch(&chunk.record_batch);
        rows += chunk.record_batch.num_rows();
        if rows > ROWS {
            break;
        }
    }
    images > 0
}

/// Whatever is wrong must be said with the file's name.
fn names_the_file(error: &Error, path: &str) -> bool {
    assert!(error.to_string().contains(path), "an error that names no file: {error}");
    false
}

/// Reads images, embeddings and labels of every row; returns how many images there are.
pub fn read_batch(record_batch: &RecordBatch) -> usize {
    let mut read = 0;
    let schema = record_batch.schema();
    let columns = schema.fields().iter().map(AsRef::as_ref).enumerate();
    let _ = list_columns(columns);
    let options = LoadOptions { limits: LIMITS, ..LoadOptions::default() };
    for field in schema.fields() {
        let name = Some(field.name().as_str());
        if let Ok(images) = ImageColumn::find(&schema, name).and_then(|column| column.images_in(record_batch)) {
            for row in 0..images.len() {
                if let Ok(pixels) = options.load(&images, row) {
                    let count = u64::from(pixels.width) * u64::from(pixels.height);
                    assert!(count <= LIMITS.max_pixels && pixels.data.len() as u64 == 3 * count);
                    read += 1;
                }
            }
        }
        let embeddings = EmbeddingColumn::find(&schema, name).and_then(|column| column.embeddings_in(record_batch));
        if let Ok(embeddings) = embeddings
            && let Some(length) = embeddings.first_length().filter(|length| (1..4096).contains(length))
        {
            for row in 0..embeddings.len() {
                let _ = embeddings.digest(row, length);
            }
        }
        let _ = LabelColumn::find(&schema, name).and_then(|column| column.labels(record_batch));
    }
    read
}
