//! The rows of a folder of images.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions, StringArray, StructArray};
use arrow::datatypes::SchemaRef;

use super::ImageFolder;
use super::layout::{IMAGE, LABEL, PATH, image_parts, label_of, partitions_of, text_of};
use crate::cancel::Cancel;
use crate::dataset::BatchSize;
use crate::dataset::batches::Batches;
use crate::error::{Error, Result};
use crate::parallel::ordered_map;

/// Larger files are no images; their rows have no bytes.
const MAX_FILE_BYTES: u64 = 512 << 20;
/// Files of a store that are fetched at a time: each costs a round trip.
const FETCHES: usize = 16;
/// Files of a disk that are read at a time.
const READS: usize = 2;
/// Warnings about files that cannot be read.
const MAX_WARNINGS: usize = 10;

impl ImageFolder {
    /// The rows of the files in `range`, with the columns at these positions; all where there is none.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn batches(
        self: Arc<Self>,
        range: Range<usize>,
        size: BatchSize,
        columns: Option<&[usize]>,
        cancel: &Cancel,
    ) -> Result<Batches> {
        let schema = match columns {
            None => Arc::clone(&self.schema),
            Some(columns) => Arc::new(self.schema.project(columns).expect("positions in the schema")),
        };
        if schema.index_of(IMAGE).is_err() {
            return Ok(self.batches_without_images(range, size, schema));
        }
        let threads = if self.is_local() { READS } else { FETCHES };
        let (folder, cancel) = (Arc::clone(&self), cancel.clone());
        let mut warnings = 0;
        let mut files = ordered_map(range.clone(), threads, move |file| {
            folder.location(file).read_whole(MAX_FILE_BYTES, &cancel).and_then(|bytes| {
                bytes.ok_or_else(|| std::io::Error::other(format!("is larger than {} MiB", MAX_FILE_BYTES >> 20)))
            })
        })?;
        let mut next = range.start;
        Ok(Box::new(iter::from_fn(move || {
            let (first, mut images, mut bytes_here) = (next, BinaryBuilder::new(), 0);
            while next < range.end && next - first < size.rows && (next == first || bytes_here < size.max_bytes()) {
                match files.next()? {
                    Ok(Ok(bytes)) => {
                        bytes_here += bytes.len();
                        images.append_value(bytes);
                    }
                    Ok(Err(error)) => {
                        warnings += 1;
                        if warnings <= MAX_WARNINGS {
                            log::warn!("{}: {error}; its row has no image", self.location(next));
                        }
                        images.append_null();
                    }
                    Err(error) => return Some(Err(error)),
                }
                next += 1;
            }
            (next > first).then(|| self.batch(first..next, &schema, Some(Arc::new(images.finish()))))
        })))
    }

    fn batches_without_images(self: Arc<Self>, range: Range<usize>, size: BatchSize, schema: SchemaRef) -> Batches {
        let starts = range.clone().step_by(size.rows.max(1));
        Box::new(starts.map(move |start| self.batch(start..(start + size.rows).min(range.end), &schema, None)))
    }

    fn batch(&self, range: Range<usize>, schema: &SchemaRef, bytes: Option<ArrayRef>) -> Result<RecordBatch> {
        let files = &self.files[range.clone()];
        let text = |values: Vec<Option<String>>| Arc::new(StringArray::from(values)) as ArrayRef;
        let mut bytes = bytes;
        let columns: Result<Vec<ArrayRef>> = schema
            .fields()
            .iter()
            .map(|field| {
                Ok(match field.name().as_str() {
                    IMAGE => {
                        let names = text(range.clone().map(|file| Some(self.name_of(file))).collect());
                        let bytes = bytes.take().expect("they were read for this column");
                        Arc::new(StructArray::new(image_parts(), vec![bytes, names], None))
                    }
                    PATH => text(files.iter().map(|file| Some(text_of(&file.path))).collect()),
                    LABEL if self.has_labels => text(files.iter().map(|file| label_of(&file.path)).collect()),
                    name if self.partitions.iter().any(|partition| partition == name) => {
                        let value = |path| partitions_of(path).get(name).flatten().map(str::to_owned);
                        text(files.iter().map(|file| value(&file.path)).collect())
                    }
                    name => self.metadata.as_ref().expect("nobody else has columns").array(name, files)?,
                })
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(files.len()));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options)
            .map_err(|source| Error::Arrow { origin: self.folder.to_string(), source })
    }
}
