//! Findings that one audit has and the other has not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use strum::IntoStaticStr;

use crate::kind::Kind;
use crate::occurrences::Occurrences;
use crate::stored::{self, Stored, StoredFinding};
use crate::table;
use dismax::cancel::Cancel;
use dismax::dataset::{DatasetWriter, WriteOptions};
use dismax::error::{Error, Result};

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
    pub kind: Kind,
    pub file: String,
    pub row: u64,
    pub evidence: String,
}

/// What changed from one audit to another.
#[derive(Debug, Default)]
pub(super) struct Changes {
    counts: HashMap<(Change, Kind), u64>,
    /// The first of each change.
    pub first: Vec<Changed>,
}

impl Changes {
    /// Finds the changes and writes them to `path`: the columns of `findings.parquet`, and `change`.
    pub fn between(old: &Path, new: &Path, path: &Path, cancel: &Cancel) -> Result<Self> {
        let (of_old, of_new) = (Occurrences::read(old, cancel)?, Occurrences::read(new, cancel)?);
        let schema = schema();
        let mut writer = DatasetWriter::create(&path.display().to_string(), &schema, &WriteOptions::default())?;
        let mut changes = Self::default();
        for (change, folder, others) in [(Change::New, new, of_old), (Change::Gone, old, of_new)] {
            let mut left = others;
            for batch in stored::batches(folder)? {
                cancel.check()?;
                let batch = batch?;
                let findings = Stored::of(&batch, folder)?;
                let is_changed =
                    |found: Result<StoredFinding<'_>>| found.map(|found| !left.take(found.kind, found.digest));
                let changed = findings.iter().map(is_changed).collect::<Result<Vec<bool>>>()?;
                let kept = filter_record_batch(&batch, &BooleanArray::from(changed)).map_err(arrow)?;
                changes.add(change, &Stored::of(&kept, folder)?)?;
                writer.write(&with_change(&kept, change, &schema)?)?;
            }
        }
        writer.finish()?;
        Ok(changes)
    }

    /// Findings of a kind with this change.
    pub fn of(&self, change: Change, kind: Kind) -> u64 {
        self.counts.get(&(change, kind)).copied().unwrap_or(0)
    }

    fn add(&mut self, change: Change, findings: &Stored<'_>) -> Result<()> {
        let shown = self.first.iter().filter(|shown| shown.change == change).count();
        for (number, found) in findings.iter().enumerate() {
            let found = found?;
            *self.counts.entry((change, found.kind)).or_default() += 1;
            if number < MAX_SHOWN - shown {
                self.first.push(Changed {
                    change,
                    kind: found.kind,
                    file: found.file.to_owned(),
                    row: found.row,
                    evidence: found.evidence.to_owned(),
                });
            }
        }
        Ok(())
    }
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
