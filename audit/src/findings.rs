//! One finding, and the table of all of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::collect::{Collected, Row};
use super::kind::{Kind, Severity};
use super::quality::{QualityFigures, aspect};
use super::text::{counted, p_value, percent, shown};
use super::unknown::UnknownFigures;
use dismax::dataset::{DatasetWriter, WriteOptions};
use dismax::error::{Error, Result, RowErrorCode};

/// Name of the table in an audit's folder.
pub(super) const FINDINGS: &str = "findings.parquet";

/// Findings that are written at once.
const BATCH: usize = 4096;

/// Something found about a row: 24 bytes, as there may be one for every row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Finding {
    pub row: u32,
    pub kind: Kind,
    pub severity: Severity,
    /// See [`Kind::score_meaning`].
    pub score: f64,
    pub related: Option<Related>,
}

/// The other row of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Related {
    /// Of the audited dataset.
    Audited(u32),
    /// Of the reference.
    Reference(u32),
}

/// Puts findings into the order of the table: by kind, most serious and most striking first.
pub(super) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let by_score = match a.kind.smallest_first() {
            true => a.score.total_cmp(&b.score),
            // Sizes are extreme in both directions.
            false if a.kind == Kind::ExtremeSize => b.score.abs().total_cmp(&a.score.abs()),
            false => b.score.total_cmp(&a.score),
        };
        a.kind.cmp(&b.kind).then(a.severity.cmp(&b.severity)).then(by_score).then(a.row.cmp(&b.row))
    });
}

/// What sentences about findings are made of.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub collected: &'a Collected,
    pub reference: Option<&'a Collected>,
    pub classes: &'a [String],
    pub unknown: &'a UnknownFigures,
    pub quality: &'a QualityFigures,
}

impl<'a> Evidence<'a> {
    /// Name of a class.
    pub fn class(&self, class: u32) -> &'a str {
        self.classes.get(class as usize).map_or("", String::as_str)
    }

    /// The row of a finding.
    pub fn row(&self, finding: &Finding) -> Result<Row<'a>> {
        let row = self.collected.row(finding.row as usize);
        row.ok_or_else(|| Error::Internal(format!("a finding about row {}, which there is not", finding.row)))
    }

    /// File and row of the other one of a pair.
    pub fn related(&self, finding: &Finding) -> Option<(&'a str, u64)> {
        match finding.related? {
            Related::Audited(row) => Some(self.collected.place(row as usize)),
            Related::Reference(row) => Some(self.reference?.place(row as usize)),
        }
    }

    /// The label of a row.
    pub fn label(&self, row: &Row<'_>) -> Option<&'a str> {
        row.label.map(|label| self.class(label))
    }

    /// What speaks for a finding, in a sentence.
    pub fn sentence(&self, finding: &Finding) -> Result<String> {
        let row = self.row(finding)?;
        let score = finding.score;
        let look = row.look;
        let size = look.map(|look| format!("{} x {} pixels", look.width, look.height)).unwrap_or_default();
        let message = shown(self.collected.message(finding.row as usize));
        let other =
            self.related(finding).map(|(file, row)| format!("row {row} of {}", shown(file))).unwrap_or_default();
        let prediction = row.prediction;
        Ok(match finding.kind {
            Kind::Unknown => {
                let p = prediction.map_or(1.0, |prediction| prediction.p_value);
                let class = prediction.map_or("", |prediction| self.class(prediction.class));
                let most = self.unknown.threshold.map(|most| {
                    format!("; up to {} images are unknown at the false discovery rate asked for", p_value(most))
                });
                format!(
                    "A share of {} of the calibration images look at least as strange{}. The nearest class is {}.",
                    p_value(p),
                    most.unwrap_or_default(),
                    quoted(class)
                )
            }
            Kind::LabelIssue => {
                let (class, confidence) =
                    prediction.map_or(("", 0.0), |prediction| (self.class(prediction.class), prediction.confidence));
                let own = row.label_probability;
                format!(
                    "Labelled {}, to which the model gives {}; it gives {} to {}.",
                    quoted(self.label(&row).unwrap_or_default()),
                    percent(own.into()),
                    percent(confidence.into()),
                    quoted(class)
                )
            }
            Kind::Truncated => format!("The bytes end before the image does: {message}."),
            Kind::Empty => match row.error {
                Some(RowErrorCode::NullImage) => "The image is null.".into(),
                _ => "The image has no bytes.".into(),
            },
            Kind::Undecodable => {
                let code = row.error.map_or("unknown", RowErrorCode::as_str);
                if message.is_empty() {
                    format!("The image cannot be used ({code}).")
                } else {
                    format!("The image cannot be used ({code}): {message}.")
                }
            }
            Kind::MislabelledFormat => {
                let format = look.and_then(|look| look.format).map_or("another format", |format| format.name());
                let promised = row.promised.map_or("another", |format| format.name());
                format!("The bytes are {format}, the name says {promised}.")
            }
            Kind::ExtremeSize => {
                let median = self.quality.pixels.map_or(0.0, |scale| scale.median);
                format!("{size}, while the median image has {} pixels: {score:+.1} robust deviations.", median.round())
            }
            Kind::ExtremeAspect => {
                let ratio = look.map_or(score, |look| aspect(look.width, look.height));
                format!("{size}: one side is {ratio:.1} times the other.")
            }
            Kind::NearBlack => format!("Mean luma {score:.3} of 1."),
            Kind::NearWhite => format!("Mean luma {score:.3} of 1."),
            Kind::NearUniform => format!("The luma's standard deviation is {score:.4}: nearly one tone."),
            Kind::Blurred => {
                let sharpness = look.map_or(0.0, |look| look.sharpness);
                let median = self.quality.sharpness.map_or(0.0, |scale| scale.median);
                format!(
                    "Sharpness {sharpness:.5}, while the median image has {median:.5}: {score:+.1} robust deviations."
                )
            }
            Kind::ExactDuplicate => {
                let labels = self.other_label(finding, &row);
                format!("Byte for byte the image of {other}; {} hold it.{labels}", counted(score as u64, "row"))
            }
            Kind::NearDuplicate => {
                let labels = self.other_label(finding, &row);
                format!("Nearly the image of {other}: the perceptual hashes differ in {score} of 121 bits.{labels}")
            }
            Kind::Leaked => {
                format!("Byte for byte the image of {other} in the reference, where {} it.", holds(score as u64))
            }
            Kind::LeakedNear => {
                format!(
                    "Nearly the image of {other} in the reference: the perceptual hashes differ in {score} of 121 bits."
                )
            }
        })
    }

    /// Says so where the two rows of a pair have different labels.
    fn other_label(&self, finding: &Finding, row: &Row<'_>) -> String {
        let Some(Related::Audited(other)) = finding.related else { return String::new() };
        let other = self.collected.row(other as usize).and_then(|other| self.label(&other));
        match (self.label(row), other) {
            (Some(label), Some(other)) if label != other => {
                format!(" The labels differ: {} here, {} there.", quoted(label), quoted(other))
            }
            _ => String::new(),
        }
    }
}

fn holds(rows: u64) -> String {
    format!("{} {}", counted(rows, "row"), if rows == 1 { "holds" } else { "hold" })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", shown(name))
}

/// Columns of the table. Their descriptions stand in the fields' metadata.
fn schema(changed: bool) -> SchemaRef {
    let meanings: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("{}: {}", kind.name(), kind.score_meaning())).collect();
    let field = |name: &str, data_type: DataType, nullable: bool, description: &str| {
        let metadata = HashMap::from([("description".to_owned(), description.to_owned())]);
        Field::new(name, data_type, nullable).with_metadata(metadata)
    };
    let mut fields = vec![
        field("file", DataType::Utf8, false, "file of the row, as it was named"),
        field("row", DataType::UInt64, false, "number of the row in its file, from 0"),
        field("kind", DataType::Utf8, false, "what was found"),
        field("severity", DataType::Utf8, false, "high, medium or low"),
        field("score", DataType::Float64, false, &meanings.join("; ")),
        field("evidence", DataType::Utf8, false, "what speaks for it, in a sentence"),
        field(
            "related_file",
            DataType::Utf8,
            true,
            "file of the other row of a pair; of the reference for leaked rows",
        ),
        field("related_row", DataType::UInt64, true, "number of that row in its file"),
        field("predicted", DataType::Utf8, true, "name of the predicted class"),
        field("confidence", DataType::Float32, true, "its calibrated probability"),
        field("p_value", DataType::Float64, true, "conformal p-value; small is unknown"),
        field("label", DataType::Utf8, true, "name of the label's class"),
        field(
            "image_digest",
            DataType::Utf8,
            false,
            "equal where the images are: 128 bits of a SHA-256 over what is stored of the image, in hexadecimal",
        ),
    ];
    if changed {
        fields.push(field("change", DataType::Utf8, false, "new: only in the newer audit; gone: only in the older"));
    }
    Arc::new(Schema::new(fields))
}

/// Columns of findings, as they are written and as a comparison reads them back.
#[derive(Debug, Default, Clone)]
pub(super) struct Table {
    pub file: Vec<String>,
    pub row: Vec<u64>,
    pub kind: Vec<String>,
    pub severity: Vec<String>,
    pub score: Vec<f64>,
    pub evidence: Vec<String>,
    pub related_file: Vec<Option<String>>,
    pub related_row: Vec<Option<u64>>,
    pub predicted: Vec<Option<String>>,
    pub confidence: Vec<Option<f32>>,
    pub p_value: Vec<Option<f64>>,
    pub label: Vec<Option<String>>,
    pub image_digest: Vec<String>,
    /// Empty but in a comparison.
    pub change: Vec<&'static str>,
}

impl Table {
    /// The rows whose flag is set.
    pub fn kept(self, keep: &[bool]) -> Self {
        fn of<T>(values: Vec<T>, keep: &[bool]) -> Vec<T> {
            values.into_iter().zip(keep).filter(|(_, keep)| **keep).map(|(value, _)| value).collect()
        }
        Self {
            file: of(self.file, keep),
            row: of(self.row, keep),
            kind: of(self.kind, keep),
            severity: of(self.severity, keep),
            score: of(self.score, keep),
            evidence: of(self.evidence, keep),
            related_file: of(self.related_file, keep),
            related_row: of(self.related_row, keep),
            predicted: of(self.predicted, keep),
            confidence: of(self.confidence, keep),
            p_value: of(self.p_value, keep),
            label: of(self.label, keep),
            image_digest: of(self.image_digest, keep),
            change: of(self.change, keep),
        }
    }

    fn into_batch(self, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(self.file)),
            Arc::new(UInt64Array::from(self.row)),
            Arc::new(StringArray::from(self.kind)),
            Arc::new(StringArray::from(self.severity)),
            Arc::new(Float64Array::from(self.score)),
            Arc::new(StringArray::from(self.evidence)),
            Arc::new(StringArray::from(self.related_file)),
            Arc::new(UInt64Array::from(self.related_row)),
            Arc::new(StringArray::from(self.predicted)),
            Arc::new(Float32Array::from(self.confidence)),
            Arc::new(Float64Array::from(self.p_value)),
            Arc::new(StringArray::from(self.label)),
            Arc::new(StringArray::from(self.image_digest)),
        ];
        if schema.fields().len() > columns.len() {
            columns.push(Arc::new(StringArray::from(self.change)));
        }
        RecordBatch::try_new(Arc::clone(schema), columns)
            .map_err(|source| Error::Arrow { origin: "table of findings".into(), source })
    }
}

/// Writes `findings.parquet`, piece by piece.
pub(super) struct TableWriter {
    schema: SchemaRef,
    writer: DatasetWriter,
}

impl TableWriter {
    /// With `changed`, the table has the column `change`.
    pub fn create(path: &Path, changed: bool) -> Result<Self> {
        let schema = schema(changed);
        let writer = DatasetWriter::create(&path.display().to_string(), &schema, &WriteOptions::default())?;
        Ok(Self { schema, writer })
    }

    pub fn write(&mut self, table: Table) -> Result<()> {
        self.writer.write(&table.into_batch(&self.schema)?)
    }

    pub fn finish(self) -> Result<()> {
        self.writer.finish()
    }
}

/// Writes all findings in their order.
pub(super) fn write(path: &Path, findings: &[Finding], evidence: &Evidence) -> Result<()> {
    let mut writer = TableWriter::create(path, false)?;
    for findings in findings.chunks(BATCH) {
        let mut table = Table::default();
        for finding in findings {
            let row = evidence.row(finding)?;
            let (file, number) = evidence.collected.place(finding.row as usize);
            let related = evidence.related(finding);
            table.file.push(file.to_owned());
            table.row.push(number);
            table.kind.push(finding.kind.name().to_owned());
            table.severity.push(finding.severity.name().to_owned());
            table.score.push(finding.score);
            table.evidence.push(evidence.sentence(finding)?);
            table.related_file.push(related.map(|(file, _)| file.to_owned()));
            table.related_row.push(related.map(|(_, row)| row));
            let prediction = row.prediction;
            table.predicted.push(prediction.map(|prediction| evidence.class(prediction.class).to_owned()));
            table.confidence.push(prediction.map(|prediction| prediction.confidence));
            table.p_value.push(prediction.map(|prediction| prediction.p_value));
            table.label.push(evidence.label(&row).map(str::to_owned));
            table.image_digest.push(row.digest.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        writer.write(table)?;
    }
    writer.finish()
}
