//! `findings.parquet`: the table of all findings.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::checks;
use super::collect::Prediction;
use super::digest;
use super::evidence::Evidence;
use super::findings::{Finding, Standing};
use super::kind::Kind;
use super::observer::ShortDigest;
use super::thumbnails::Thumbnails;
use dismax::dataset::{DatasetWriter, WriteOptions};
use dismax::error::{Error, Result};

/// Name of the table in an audit's folder.
pub(super) const FINDINGS: &str = "findings.parquet";
/// Findings that are written at once.
const BATCH_ROWS: usize = 4096;

/// Columns of the table. Their descriptions stand in the fields' metadata.
pub(super) fn schema() -> SchemaRef {
    let meanings: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("{}: {}", kind.name(), kind.score_meaning())).collect();
    let field = |name: &str, data_type: DataType, nullable: bool, description: &str| {
        let metadata = HashMap::from([("description".to_owned(), description.to_owned())]);
        Field::new(name, data_type, nullable).with_metadata(metadata)
    };
    let fields = vec![
        field("file", DataType::Utf8, false, "file of the row, as it was named"),
        field("row", DataType::UInt64, false, "number of the row in its file, from 0"),
        field(
            "path",
            DataType::Utf8,
            true,
            "path or name that the dataset gives the image, at most 200 characters of it",
        ),
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
        field("p_value", DataType::Float64, true, "conformal p-value of the model's score; small is unknown"),
        field(
            "q_value",
            DataType::Float32,
            true,
            "smallest false discovery rate at which the image counts as unknown; null where it is not under test",
        ),
        field("label", DataType::Utf8, true, "label: the name of its class, or as it stands where it is no class"),
        field(
            "image_digest",
            DataType::Utf8,
            false,
            "equal where the images are: the first 32 hexadecimal digits of the SHA-256 of the encoded image",
        ),
        field("accepted", DataType::Utf8, true, "who accepted the finding and why; null for the others"),
        field("new", DataType::Boolean, true, "whether the baseline lacks the finding; null without a baseline"),
    ];
    Arc::new(Schema::new(fields))
}

/// Writes all findings in their order; `standing` says how each stands, by kind and image.
pub(super) fn write(
    path: &Path,
    findings: &[Finding],
    evidence: &Evidence<'_>,
    thumbnails: &Thumbnails,
    mut standing: impl FnMut(Kind, &ShortDigest) -> Standing,
) -> Result<()> {
    let schema = schema();
    let mut writer = DatasetWriter::create(&path.display().to_string(), &schema, &WriteOptions::default())?;
    for findings in findings.chunks(BATCH_ROWS) {
        let standings = findings.iter().map(|finding| standing(finding.kind, evidence.row(finding).digest)).collect();
        let paths = findings.iter().map(|finding| thumbnails.name(finding.row as usize)).collect::<Result<_>>()?;
        writer.write(&record_batch(findings, paths, standings, evidence, &schema)?)?;
    }
    writer.finish()
}

fn record_batch(
    findings: &[Finding],
    paths: Vec<Option<String>>,
    standings: Vec<Standing>,
    evidence: &Evidence<'_>,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let places = || findings.iter().map(|finding| evidence.collected.place(finding.row as usize));
    let related = || findings.iter().map(|finding| evidence.related(finding));
    let rows = || findings.iter().map(|finding| evidence.row(finding));
    let predictions = || rows().map(|row| row.prediction);
    let class = |prediction: &Prediction| evidence.class(prediction.class);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(places().map(|(file, _)| file))),
        Arc::new(UInt64Array::from_iter_values(places().map(|(_, row)| row))),
        Arc::new(StringArray::from(paths)),
        Arc::new(StringArray::from_iter_values(findings.iter().map(|finding| finding.kind.name()))),
        Arc::new(StringArray::from_iter_values(findings.iter().map(|finding| finding.severity.name()))),
        Arc::new(Float64Array::from_iter_values(findings.iter().map(|finding| finding.score))),
        Arc::new(StringArray::from_iter_values(
            findings.iter().map(|finding| checks::describe(finding, evidence).sentence),
        )),
        Arc::new(related().map(|related| related.map(|(file, _)| file)).collect::<StringArray>()),
        Arc::new(related().map(|related| related.map(|(_, row)| row)).collect::<UInt64Array>()),
        Arc::new(predictions().map(|prediction| prediction.map(class)).collect::<StringArray>()),
        Arc::new(predictions().map(|prediction| prediction.map(|found| found.confidence)).collect::<Float32Array>()),
        Arc::new(predictions().map(|prediction| prediction.map(|found| found.p_value)).collect::<Float64Array>()),
        Arc::new(rows().map(|row| evidence.q_value(&row)).collect::<Float32Array>()),
        Arc::new(findings.iter().map(|finding| evidence.label(finding.row)).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(rows().map(|row| digest::hex(row.digest)))),
        Arc::new(standings.iter().map(|standing| standing.accepted.as_deref()).collect::<StringArray>()),
        Arc::new(standings.iter().map(|standing| standing.new).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|source| Error::Arrow { origin: "table of findings".into(), source })
}
