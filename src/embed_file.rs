//! A dataset through a [`Stage`] into a file of embeddings: what the network's last stage gives of each image.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field};
use serde::Serialize;

use crate::columns::{DIGEST_KEY, embedding_type, embeddings, extended, metadata_key, with_columns};
use crate::dataset::{Dataset, PairWriter, WriteOptions};
use crate::error::{Error, Result, RowErrorCode};
use crate::run::{Progress, Run};
use crate::stage::{Stage, WithFeatures};

/// What is written.
#[derive(Debug, Clone, Default)]
pub struct EmbedOptions {
    /// Stands in front of the names of the new columns.
    pub prefix: String,
    /// Whether the column of images is kept beside it.
    pub keep_images: bool,
    /// How the file is written; the format follows from its name unless it is given.
    pub write: WriteOptions,
}

/// Figures of a finished run. As JSON it has these fields under these names; they stay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbedSummary {
    /// Rows read and written.
    pub rows: u64,
    /// Rows with an embedding.
    pub embedded: u64,
    /// Rows with a reason in `error` instead.
    pub failed: u64,
    /// The failed rows by code.
    pub errors: BTreeMap<String, u64>,
    /// Numbers of an embedding.
    pub dimensions: usize,
    /// From the first row read to the output finished.
    pub seconds: f64,
    /// Rows for each of these seconds.
    pub images_per_second: f64,
    /// Where the rows went.
    pub output: String,
    /// Damaged files of which rows are left out, with the reason of each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bad_files: BTreeMap<String, String>,
    /// Digest of the model's files.
    pub model_digest: String,
}

/// Writes `dataset` with a column of embeddings to `target`: a file name, or `-` for an Arrow IPC stream on standard
/// output. The model need not be calibrated.
///
/// The output has the input's rows in their order, and its columns, without that of the images unless it is to be kept.
/// Behind them come `embedding`, a fixed-size list of f32, and `error`, utf8, of which one is null. The schema's
/// metadata get `dismax.model_digest`, with the prefix before the last word.
///
/// # Errors
/// A column name that is taken, an output that exists, cannot be written or is among the inputs, damaged input;
/// [`Error::Cancelled`].
pub fn embed_to(
    stage: &Stage,
    dataset: &Dataset,
    target: &str,
    options: &EmbedOptions,
    run: &mut Run<'_>,
) -> Result<EmbedSummary> {
    let (start, model, input) = (Instant::now(), stage.model(), stage.input_column(dataset)?);
    // Its images would be gone.
    dataset.require_not_read(target)?;
    let all = dataset.schema();
    let kept: Vec<usize> =
        (0..all.fields().len()).filter(|column| options.keep_images || *column != input.index()).collect();
    let fault = |source| Error::Arrow { origin: "leaving the images out".into(), source };
    let kept_schema = all.project(&kept).map_err(fault)?;
    let prefix = &options.prefix;
    let added = [("embedding", embedding_type(model)), ("error", DataType::Utf8)];
    let added = added.map(|(name, data_type)| Field::new(format!("{prefix}{name}"), data_type, true));
    let metadata = HashMap::from([(metadata_key(prefix, DIGEST_KEY), model.digest().to_owned())]);
    let schema = extended(&kept_schema, &added, &metadata)?;
    let mut file = PairWriter::create((target, &schema), None, ["all rows", "no rows"], &options.write)?;
    // Columns are read in the order of the dataset, the images at their place.
    let without_images: Vec<usize> = (0..all.fields().len()).filter(|column| *column != input.index()).collect();
    let (mut rows, mut errors) = (0, BTreeMap::<RowErrorCode, u64>::new());
    for scored in stage.scan_observed(dataset, Some(&kept), run.cancel.clone(), Arc::new(WithFeatures))? {
        let (chunk, scored) = scored?;
        let outcomes = || (0..scored.rows().len()).map(|row| scored.output(row).err());
        outcomes().flatten().for_each(|error| *errors.entry(error.code).or_default() += 1);
        let reasons: StringArray = outcomes().map(|error| error.map(ToString::to_string)).collect();
        let columns: Vec<ArrayRef> = vec![embeddings(&scored)?, Arc::new(reasons)];
        // The images are among the columns that were read.
        let record_batch = match options.keep_images {
            true => chunk.record_batch,
            false => chunk.record_batch.project(&without_images).map_err(fault)?,
        };
        file.write(&with_columns(&record_batch, &columns, &schema)?)?;
        rows += scored.rows().len() as u64;
        let failed = errors.values().sum();
        run.report(Progress { task: "embedding", rows, of: dataset.rows(), failed })?;
    }
    run.cancel.check()?;
    file.finish()?;
    let failed = errors.values().sum();
    let seconds = start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(EmbedSummary {
        rows,
        embedded: rows - failed,
        failed,
        errors: errors.into_iter().map(|(code, count)| (code.as_str().to_owned(), count)).collect(),
        dimensions: model.input().stages().last().copied().expect("a network has stages"),
        seconds,
        images_per_second: rows as f64 / seconds,
        output: target.to_owned(),
        bad_files: dataset.bad_files().into_iter().map(|bad| (bad.file.to_string(), bad.reason)).collect(),
        model_digest: model.digest().to_owned(),
    })
}
