//! `findings.parquet`, read back.

use std::path::Path;

use arrow::array::{Array, AsArray, BooleanArray, Float32Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Float32Type, UInt64Type};

use super::digest;
use super::kind::{Kind, Severity};
use super::observer::ShortDigest;
use super::table::{self, FINDINGS};
use dismax::cancel::Cancel;
use dismax::dataset::Dataset;
use dismax::error::{Error, Result};

/// Findings read at once.
const BATCH_ROWS: usize = 4096;

/// A finding of an audit that lies on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredFinding<'a> {
    pub file: &'a str,
    pub row: u64,
    /// What the dataset calls the image.
    pub path: Option<&'a str>,
    pub kind: Kind,
    pub severity: Severity,
    pub evidence: &'a str,
    /// File and row of the other one of a pair; of the reference for leaked rows.
    pub related: Option<(&'a str, u64)>,
    pub predicted: Option<&'a str>,
    pub confidence: Option<f32>,
    pub label: Option<&'a str>,
    pub digest: ShortDigest,
    /// Who accepted it and why, where the audit knew.
    pub accepted: Option<&'a str>,
    /// Whether the audit's baseline lacks it; none without a baseline.
    pub new: Option<bool>,
}

/// The columns of one record batch.
pub(super) struct Stored<'a> {
    folder: &'a Path,
    file: &'a StringArray,
    row: &'a UInt64Array,
    path: &'a StringArray,
    kind: &'a StringArray,
    severity: &'a StringArray,
    evidence: &'a StringArray,
    related_file: &'a StringArray,
    related_row: &'a UInt64Array,
    predicted: &'a StringArray,
    confidence: &'a Float32Array,
    label: &'a StringArray,
    image_digest: &'a StringArray,
    accepted: &'a StringArray,
    new: &'a BooleanArray,
}

impl<'a> Stored<'a> {
    /// The columns of a record batch of the audit in `folder`.
    pub fn of(batch: &'a RecordBatch, folder: &'a Path) -> Result<Self> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| unusual(folder, name));
        let text = |name: &str| column(name)?.as_string_opt::<i32>().ok_or_else(|| unusual(folder, name));
        let number = |name: &str| column(name)?.as_primitive_opt::<UInt64Type>().ok_or_else(|| unusual(folder, name));
        Ok(Self {
            folder,
            file: text("file")?,
            row: number("row")?,
            path: text("path")?,
            kind: text("kind")?,
            severity: text("severity")?,
            evidence: text("evidence")?,
            related_file: text("related_file")?,
            related_row: number("related_row")?,
            predicted: text("predicted")?,
            confidence: column("confidence")?
                .as_primitive_opt::<Float32Type>()
                .ok_or_else(|| unusual(folder, "confidence"))?,
            label: text("label")?,
            image_digest: text("image_digest")?,
            accepted: text("accepted")?,
            new: column("new")?.as_boolean_opt().ok_or_else(|| unusual(folder, "new"))?,
        })
    }

    /// The findings in their order.
    pub fn iter(&self) -> impl Iterator<Item = Result<StoredFinding<'a>>> {
        (0..self.row.len()).map(|row| self.get(row))
    }

    fn get(&self, row: usize) -> Result<StoredFinding<'a>> {
        let text = |array: &'a StringArray| array.is_valid(row).then(|| array.value(row));
        let related_row = self.related_row.is_valid(row).then(|| self.related_row.value(row));
        let strange = |column: &str| {
            let place = self.folder.join(FINDINGS);
            Error::data(place.display(), format!("column \"{column}\" holds what no audit writes; audit again"))
        };
        Ok(StoredFinding {
            file: self.file.value(row),
            row: self.row.value(row),
            path: text(self.path),
            kind: Kind::named(self.kind.value(row)).ok_or_else(|| strange("kind"))?,
            severity: Severity::named(self.severity.value(row)).ok_or_else(|| strange("severity"))?,
            evidence: self.evidence.value(row),
            related: text(self.related_file).zip(related_row),
            predicted: text(self.predicted),
            confidence: self.confidence.is_valid(row).then(|| self.confidence.value(row)),
            label: text(self.label),
            digest: digest::parse(self.image_digest.value(row)).ok_or_else(|| strange("image_digest"))?,
            accepted: text(self.accepted),
            new: self.new.is_valid(row).then(|| self.new.value(row)),
        })
    }
}

/// Record batches of the table of the audit in `folder`.
pub(super) fn batches(folder: &Path) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let dataset = Dataset::open(&[folder.join(FINDINGS).display().to_string()])?;
    let usual = table::schema();
    for field in usual.fields() {
        let fits =
            |data_type: &DataType, nullable: bool| data_type == field.data_type() && (!nullable || field.is_nullable());
        match dataset.schema().field_with_name(field.name()) {
            Ok(found) if fits(found.data_type(), found.is_nullable()) => {}
            _ => return Err(unusual(folder, field.name())),
        }
    }
    Ok(dataset.read(BATCH_ROWS, None)?.map(|chunk| chunk.map(|chunk| chunk.record_batch)))
}

/// Calls `visit` with each finding of the audit in `folder`, in their order.
pub(super) fn visit(
    folder: &Path,
    cancel: &Cancel,
    mut visit: impl FnMut(&StoredFinding<'_>) -> Result<()>,
) -> Result<()> {
    for batch in batches(folder)? {
        cancel.check()?;
        let batch = batch?;
        for finding in Stored::of(&batch, folder)?.iter() {
            visit(&finding?)?;
        }
    }
    Ok(())
}

fn unusual(folder: &Path, name: &str) -> Error {
    Error::data(folder.join(FINDINGS).display(), format!("has no column \"{name}\" of the usual type; audit again"))
}
