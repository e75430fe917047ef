//! A dataset through a [`Stage`] into a folder: one part for each input or slice of a large one, each whole or not at
//! all. A run that was interrupted goes on where it stopped.

mod folder;
mod manifest;
mod part;
mod plan;
mod run;

use std::collections::VecDeque;

use arrow::datatypes::SchemaRef;

pub(super) use self::folder::PartsFolder;
pub use self::part::{PartCounts, PartOptions, score_part};
pub use self::run::{PartsRun, PartsSettings};
use super::counts::Counts;
use super::{Clock, ScoreOptions, ScoreSummary, bad_files_of, check_failures, columns_of};
use crate::columns::with_columns;
use crate::dataset::{BackgroundWriter, Dataset, DatasetWriter, Finishing, WriteOptions};
use crate::error::Result;
use crate::run::{Progress, Run};
use crate::stage::Stage;

/// Parts that get their names while the next one is written: the disk takes its time.
const ENDING_AT_A_TIME: usize = 8;

/// Scores `dataset` into the folder `target`, a path or an address. Parts that are there already, of inputs that did
/// not change, stay as they are.
///
/// The parts have the dataset's rows in its order, and are the same bytes whether or not the run was interrupted. Where
/// the run ends early, for whatever reason, the parts that are complete stay. Parts of inputs that are not named stay
/// as well.
///
/// # Errors
/// As [`score_to`](super::score_to); [`Error::PartsDiffer`](crate::Error::PartsDiffer) for a folder of another model or
/// other settings, unless `options.write` says that it may be overwritten: then the run starts over.
pub fn score_to_parts(
    stage: &Stage,
    dataset: &Dataset,
    target: &str,
    options: &ScoreOptions,
    run: &mut Run<'_>,
) -> Result<ScoreSummary> {
    let columns = columns_of(stage.model(), options)?;
    stage.input_column(dataset)?;
    let schema = columns.schema(dataset.schema())?;
    let settings = PartsSettings {
        model_digest: stage.model().digest(),
        alpha: columns.alpha(),
        load: stage.load_options(),
        column: stage.wanted_column(),
        precision: if stage.gpus() > 0 { "f16" } else { "f32" },
    };
    let parts = PartsRun::begin(dataset, target, &settings, options, run)?;
    let dataset = parts.dataset().clone();
    let write = part::write_options(&options.write);
    let clock = Clock::start(stage);
    let mut parts = Parts { run: parts, schema, write, next: 0, ending: VecDeque::new() };
    let outcome = parts.score(stage, &dataset, &columns, options, run);
    // What is complete is noted, also when the run ends early.
    let written = parts.finish();
    outcome?;
    written?;
    let mut summary = clock.summary(stage, parts.run.counts(), (columns.alpha(), columns.score()), target);
    summary.bad_files = bad_files_of(&dataset);
    summary.parts = Some(parts.run.summary());
    Ok(summary)
}

/// The parts of a run, one after the other through one stage.
struct Parts {
    run: PartsRun,
    schema: SchemaRef,
    write: WriteOptions,
    /// The input that no part was begun for.
    next: usize,
    ending: VecDeque<(usize, Counts, Finishing)>,
}

impl Parts {
    fn score(
        &mut self,
        stage: &Stage,
        dataset: &Dataset,
        columns: &crate::Columns,
        options: &ScoreOptions,
        run: &mut Run<'_>,
    ) -> Result<()> {
        let mut open: Option<(usize, Counts, BackgroundWriter)> = None;
        for scored in stage.scan(dataset, None, run.cancel.clone())? {
            let (chunk, scored) = scored?;
            if let Some((_, part, writer)) = open.take_if(|(input, ..)| *input != chunk.source) {
                self.end(part, writer, dataset)?;
            }
            // Inputs without rows have parts as well.
            while open.is_none() && self.next <= chunk.source {
                let (input, writer) = self.begin_next()?;
                match input == chunk.source {
                    true => open = Some((input, Counts::default(), writer)),
                    false => self.end(Counts::default(), writer, dataset)?,
                }
            }
            let columns = columns.build(&scored)?;
            let (_, part, writer) = open.as_mut().expect("the chunk's part was begun");
            part.add(&chunk, &columns);
            let counts = self.run.counts_mut();
            counts.add(&chunk, &columns);
            check_failures(&chunk, &columns, counts, options)?;
            let (rows, failed) = (counts.rows, counts.failed);
            writer.write(&with_columns(&chunk.record_batch, &columns.arrays, &self.schema)?)?;
            run.report(Progress { task: "scoring", rows, of: dataset.rows(), failed })?;
        }
        run.cancel.check()?;
        if let Some((_, part, writer)) = open {
            self.end(part, writer, dataset)?;
        }
        while self.next < self.run.len() {
            let (_, writer) = self.begin_next()?;
            self.end(Counts::default(), writer, dataset)?;
        }
        match options.max_errors {
            None => Ok(()),
            Some(limit) => self.run.counts().check(limit, true),
        }
    }

    fn begin_next(&mut self) -> Result<(usize, BackgroundWriter)> {
        let input = self.next;
        self.next += 1;
        let name = self.run.target_of(input);
        Ok((input, BackgroundWriter::try_new(DatasetWriter::create_part(&name, &self.schema, &self.write)?)?))
    }

    /// The part that was begun last has all its rows. That of a damaged file gets no name, and its rows do not count.
    fn end(&mut self, part: Counts, writer: BackgroundWriter, dataset: &Dataset) -> Result<()> {
        let input = self.next - 1;
        if dataset.is_bad(input) {
            self.run.counts_mut().remove(&part);
            return Ok(());
        }
        self.ending.push_back((input, part, writer.finish_later()?));
        while self.ending.len() > ENDING_AT_A_TIME {
            self.note_oldest()?;
        }
        self.run.save_now_and_then()
    }

    fn note_oldest(&mut self) -> Result<()> {
        let Some((input, counts, part)) = self.ending.pop_front() else { return Ok(()) };
        part.wait()?;
        self.run.note(input, counts.rows, counts.failed);
        Ok(())
    }

    /// Waits for the parts that have all their rows, and notes them.
    fn finish(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        while !self.ending.is_empty() {
            outcome = outcome.and(self.note_oldest());
        }
        outcome.and(self.run.save())
    }
}
