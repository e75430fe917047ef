//! Findings that one audit has and the other has not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use strum::IntoStaticStr;

use crate::kind::Kind;
use crate::table::{self, FINDINGS};
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use dismax::error::{Error, Result};

/// Findings read at once.
const BATCH_ROWS: usize = 4096;
/// Most findings of a table in the page.
const MAX_SHOWN: usize = 100;

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Change {
    /// Only the newer audit has it.
    New,
    /// Only the older audit has it.
    Gone,
}

/// A finding that the page shows.
#[derive(Debug)]
pub(super) struct Changed {
    pub change: Change,
    pub kind: String,
    pub file: String,
    pub row: u64,
    pub evidence: String,
}

/// How often each finding occurs, by kind and image.
type Occurrences = HashMap<(String, String), u64>;

/// What changed from one audit to another.
#[derive(Debug, Default)]
pub(super) struct Changes {
    counts: HashMap<(Change, String), u64>,
    /// The first of each change.
    pub first: Vec<Changed>,
}

impl Changes {
    /// Finds the changes and writes them to `path`: the columns of `findings.parquet`, and `change`.
    pub fn between(old: &Path, new: &Path, path: &Path, cancel: &Cancel) -> Result<Self> {
        let (of_old, of_new) = (occurrences(old, cancel)?, occurrences(new, cancel)?);
        let schema = schema();
        let mut writer = DatasetWriter::create(&path.display().to_string(), &schema, &WriteOptions::default())?;
        let mut changes = Self::default();
        for (change, folder, others) in [(Change::New, new, of_old), (Change::Gone, old, of_new)] {
            let mut left = others;
            for batch in batches(folder)? {
                cancel.check()?;
                let batch = batch?;
                let findings = Findings::of(&batch, folder)?;
                let changed = |row| Some(!take_one(&mut left, findings.identity(row)));
                let changed: BooleanArray = (0..batch.num_rows()).map(changed).collect();
                let kept = filter_record_batch(&batch, &changed).map_err(arrow)?;
                changes.add(change, &Findings::of(&kept, folder)?);
                writer.write(&with_change(&kept, change, &schema)?)?;
            }
        }
        writer.finish()?;
        Ok(changes)
    }

    /// Findings of a kind with this change.
    pub fn of(&self, change: Change, kind: Kind) -> u64 {
        self.counts.get(&(change, kind.name().to_owned())).copied().unwrap_or(0)
    }

    fn add(&mut self, change: Change, findings: &Findings<'_>) {
        let shown = self.first.iter().filter(|shown| shown.change == change).count();
        for row in 0..findings.row.len() {
            let kind = findings.kind.value(row).to_owned();
            *self.counts.entry((change, kind.clone())).or_default() += 1;
            if row < MAX_SHOWN - shown {
                self.first.push(Changed {
                    change,
                    kind,
                    file: findings.file.value(row).to_owned(),
                    row: findings.row.value(row),
                    evidence: findings.evidence.value(row).to_owned(),
                });
            }
        }
    }
}

/// Takes one occurrence away; false where none is left.
fn take_one(left: &mut Occurrences, identity: (String, String)) -> bool {
    match left.get_mut(&identity) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

/// The columns of a table that a comparison looks at.
struct Findings<'a> {
    file: &'a StringArray,
    row: &'a UInt64Array,
    kind: &'a StringArray,
    evidence: &'a StringArray,
    image_digest: &'a StringArray,
}

impl<'a> Findings<'a> {
    fn of(batch: &'a RecordBatch, folder: &Path) -> Result<Self> {
        let column = |name: &str| {
            let usual = batch.schema_ref().field_with_name(name).is_ok_and(|field| !field.is_nullable());
            batch.column_by_name(name).filter(|_| usual).ok_or_else(|| unusual(folder, name))
        };
        let text = |name: &str| column(name)?.as_string_opt::<i32>().ok_or_else(|| unusual(folder, name));
        Ok(Self {
            file: text("file")?,
            row: column("row")?.as_primitive_opt::<UInt64Type>().ok_or_else(|| unusual(folder, "row"))?,
            kind: text("kind")?,
            evidence: text("evidence")?,
            image_digest: text("image_digest")?,
        })
    }

    /// What makes two findings the same.
    fn identity(&self, row: usize) -> (String, String) {
        (self.kind.value(row).to_owned(), self.image_digest.value(row).to_owned())
    }
}

/// Record batches of an audit's table.
fn batches(folder: &Path) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let path = folder.join(FINDINGS).display().to_string();
    let dataset = Dataset::open(&[path])?;
    let usual = table::schema();
    for field in usual.fields() {
        let found = dataset.schema().field_with_name(field.name());
        if found.map_or(true, |found| found.data_type() != field.data_type()) {
            return Err(unusual(folder, field.name()));
        }
    }
    Ok(dataset.read(BATCH_ROWS, None)?.map(|chunk| chunk.map(|chunk| chunk.record_batch)))
}

fn occurrences(folder: &Path, cancel: &Cancel) -> Result<Occurrences> {
    let mut occurrences = Occurrences::new();
    for batch in batches(folder)? {
        cancel.check()?;
        let batch = batch?;
        let findings = Findings::of(&batch, folder)?;
        for row in 0..batch.num_rows() {
            *occurrences.entry(findings.identity(row)).or_default() += 1;
        }
    }
    Ok(occurrences)
}

/// The columns of `findings.parquet`, then `change`.
fn schema() -> SchemaRef {
    let mut fields = table::schema().fields().to_vec();
    let meaning = "new: only in the newer audit; gone: only in the older";
    let metadata = HashMap::from([("description".to_owned(), meaning.to_owned())]);
    fields.push(Arc::new(Field::new("change", DataType::Utf8, false).with_metadata(metadata)));
    Arc::new(Schema::new(fields))
}

fn with_change(batch: &RecordBatch, change: Change, schema: &SchemaRef) -> Result<RecordBatch> {
    let text: &'static str = change.into();
    let change: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, batch.num_rows())));
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let columns = names.map(|name| batch.column_by_name(name).unwrap_or(&change).clone()).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(arrow)
}

fn arrow(source: arrow::error::ArrowError) -> Error {
    Error::Arrow { origin: "table of findings".into(), source }
}

fn unusual(folder: &Path, name: &str) -> Error {
    Error::data(folder.join(FINDINGS).display(), format!("has no column \"{name}\" of the usual type; audit again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_taken_as_often_as_it_occurs() {
        let identity = || ("blurred".to_owned(), "00".to_owned());
        let mut left = Occurrences::from([(identity(), 2)]);
        let taken: Vec<bool> = (0..3).map(|_| take_one(&mut left, identity())).collect();
        assert_eq!(taken, [true, true, false]);
        assert!(!take_one(&mut left, ("blurred".into(), "01".into())));
    }
}
