//! A dataset into a folder of parts, each written by a worker.

use std::collections::HashMap;
use std::sync::Arc;

use dismax::dataset::{Dataset, LoadOptions};
use dismax::model::Model;
use dismax::run::{Progress, Run};
use dismax::score_file::{PartCounts, PartOptions, PartsRun, PartsSettings, ScoreOptions, ScoreSummary};
use dismax::{Columns, Error as CoreError};

use crate::cluster::{Cluster, or_cancelled};
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::work::{Answer, Needed, Part, Work};

/// Scores `dataset` into the folder `target` as [`dismax::score_file::score_to_parts`] does, with the same bytes, on
/// workers. Inputs and folder must be places that the workers reach under the same names.
///
/// A part whose worker is lost is given to another one, and a worker that comes back is used again. Where no worker is
/// left, the run waits ten minutes for one. What is written stays; the next run goes on from it.
///
/// # Errors
/// As [`dismax::score_file::score_to_parts`]; [`Error::NoWorkers`]; [`Error::Piece`] for a part that no worker can do.
pub async fn score_to_parts(
    cluster: &Cluster,
    model: (&str, &Model),
    dataset: &Dataset,
    target: &str,
    load: (Option<&str>, LoadOptions),
    options: &ScoreOptions,
    run: &mut Run<'_>,
) -> Result<ScoreSummary> {
    let (column, load) = load;
    let needed = Needed {
        name: model.0.into(),
        digest: model.1.digest().into(),
        column: column.map(str::to_owned),
        max_pixels: Some(load.limits.max_pixels),
    };
    let model = Arc::new(model.1.clone());
    let columns = Columns::of_model(&model, &options.prefix)?.with_alphas(options.alpha, options.prediction_set)?;
    model.input_column(dataset, column, &load)?;
    columns.schema(dataset.schema())?;
    or_cancelled(&run.cancel, cluster.prepare(std::slice::from_ref(&needed))).await?;
    let precision = cluster.workers().precision()?;
    let settings =
        PartsSettings { model_digest: &needed.digest, alpha: columns.alpha(), load, column, precision: &precision };
    let parts = PartsRun::begin(dataset, target, &settings, options, run)?;
    let asked = PartOptions {
        prefix: options.prefix.clone(),
        alpha: columns.alpha(),
        prediction_set: options.prediction_set,
        on_error: options.on_error,
        column: column.map(str::to_owned),
        max_pixels: load.limits.max_pixels,
        row_group_rows: options.write.row_group_rows,
        row_group_bytes: options.write.row_group_bytes,
        compression: options.write.compression,
    };
    let count = parts.len();
    let mut job = PartsJob {
        model: &needed.digest,
        asked,
        options,
        parts,
        run,
        counted: HashMap::new(),
        under_way: HashMap::new(),
    };
    let outcome = jobs::carry_out(cluster, &needed, count, &mut job).await;
    // What is complete is noted, also when the run ends early.
    let written = job.parts.finish(options);
    outcome?;
    written?;
    Ok(job.parts.score_summary(&settings, columns.score(), target))
}

/// A run in progress.
struct PartsJob<'a, 'b> {
    model: &'a str,
    asked: PartOptions,
    options: &'a ScoreOptions,
    parts: PartsRun,
    run: &'a mut Run<'b>,
    /// Of parts that are written.
    counted: HashMap<usize, PartCounts>,
    /// Rows, and failed ones, of parts that are being written.
    under_way: HashMap<usize, (u64, u64)>,
}

impl Job for PartsJob<'_, '_> {
    fn work(&self, piece: usize) -> Result<Work> {
        Ok(Work::Part(Box::new(Part {
            model: self.model.to_owned(),
            dataset: self.parts.dataset_of(piece).to_portable()?,
            target: absolute(&self.parts.target_of(piece))?,
            options: self.asked.clone(),
        })))
    }

    fn name(&self, piece: usize) -> String {
        self.parts.name_of(piece).to_owned()
    }

    fn may_begin(&self, _: usize) -> bool {
        true
    }

    fn take(&mut self, piece: usize, answer: Answer) {
        match answer {
            Answer::Progress { rows, failed } => drop(self.under_way.insert(piece, (rows, failed))),
            Answer::Part(counts) => drop(self.counted.insert(piece, counts)),
            _ => {}
        }
    }

    fn forget(&mut self, piece: usize) {
        self.under_way.remove(&piece);
        self.counted.remove(&piece);
    }

    fn done(&mut self, piece: usize) -> Result<()> {
        self.under_way.remove(&piece);
        let counts = self.counted.remove(&piece);
        let counts = counts.ok_or_else(|| Error::Config(format!("{}: nothing was counted", self.name(piece))))?;
        Ok(self.parts.done(piece, counts, self.options)?)
    }

    fn tick(&mut self) -> Result<()> {
        let (rows, failed) = self.parts.progress();
        let (rows, failed) = self.under_way.values().fold((rows, failed), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let of = self.parts.dataset().rows();
        self.run.report(Progress { task: "scoring", rows, of, failed })?;
        Ok(self.run.cancel.check()?)
    }
}

/// A name that means the same to the workers.
fn absolute(target: &str) -> Result<String> {
    if dismax::location::is_remote(target) {
        return Ok(target.to_owned());
    }
    let path = std::path::absolute(target).map_err(|source| CoreError::Io { path: target.into(), source })?;
    match path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => Err(Error::Config(format!("{target}: its name is no UTF-8, so that no worker can be told of it"))),
    }
}
