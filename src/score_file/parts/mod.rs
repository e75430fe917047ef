//! A dataset through a [`Stage`] into a folder: one part for each input or slice of a large one, each whole or not at all.
//! A run that was interrupted goes on where it stopped.

mod folder;
mod manifest;
mod plan;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;

pub(super) use self::folder::PartsFolder;
pub(super) use self::manifest::Manifest;
use self::plan::Plan;
use super::counts::Counts;
use super::{Clock, PartsSummary, ScoreOptions, ScoreSummary, bad_files_of, check_failures, columns_of};
use crate::columns::with_columns;
use crate::dataset::{BackgroundWriter, Dataset, DatasetWriter, Finishing, Format, WriteOptions};
use crate::error::{Error, Result};
use crate::run::{Progress, Run};
use crate::stage::Stage;

/// Parts that get their names while the next one is written: the disk takes its time.
const ENDING_AT_A_TIME: usize = 8;
/// How often the manifest is written. What was finished since is done again after a kill.
const MANIFEST_EVERY: Duration = Duration::from_secs(2);

/// Scores `dataset` into the folder `target`, a path or an address. Parts that are there already, of inputs that did not
/// change, stay as they are.
///
/// The parts have the dataset's rows in its order, and are the same bytes whether or not the run was interrupted. Where
/// the run ends early, for whatever reason, the parts that are complete stay. Parts of inputs that are not named stay as
/// well.
///
/// # Errors
/// As [`score_to`](super::score_to); [`Error::PartsDiffer`] for a folder of another model or other settings, unless
/// `options.write` says that it may be overwritten: then the run starts over.
pub fn score_to_parts(
    stage: &Stage,
    dataset: &Dataset,
    target: &str,
    options: &ScoreOptions,
    run: &mut Run<'_>,
) -> Result<ScoreSummary> {
    let columns = columns_of(stage, options)?;
    stage.image_column(dataset)?;
    let schema = columns.schema(dataset.schema())?;
    let dataset = dataset.in_slices();
    let slices = dataset.slices()?;
    let folder = PartsFolder::open(target, &run.cancel)?;
    folder.require_not_read(slices.iter().map(|slice| slice.input.as_str()))?;
    let settings = settings_of(stage, options, columns.alpha());
    let manifest = begin(&folder, stage.model().digest(), settings, options.write.overwrite, run)?;
    let plan = Plan::new(&slices, &manifest, &folder.files(&run.cancel)?)?;
    if plan.others > 0 {
        log::warn!(
            "{target}: {} parts of inputs that are not named here stay as they are, also where these inputs are gone; start over to leave \
             them out",
            plan.others
        );
    }
    let numbers: Vec<usize> = plan.todo.iter().map(|(slice, _)| *slice).collect();
    let dataset = dataset.only(&numbers);
    let write = WriteOptions { format: Some(Format::Parquet), overwrite: true, ..options.write.clone() };
    let entries: Vec<usize> = plan.todo.iter().map(|(_, part)| *part).collect();
    let (kept, removed) = (plan.kept, plan.removed.len());
    let manifest = manifest.with_parts(plan.parts);
    let mut parts =
        Parts { folder, manifest, entries, schema, write, next: 0, ending: VecDeque::new(), saved: Instant::now() };
    // Whatever is there under a part's name stands in the manifest, also after a kill.
    plan.removed.iter().try_for_each(|part| parts.folder.remove(part))?;
    parts.save()?;

    let clock = Clock::start(stage);
    let noted = parts.manifest.parts.iter().filter_map(|part| Some((part.failed, part.rows?)));
    let earlier = noted.fold((0, 0), |(failed, rows), part| (failed + part.0, rows + part.1));
    let mut counts = Counts::after(earlier);
    let outcome = parts.score(stage, &dataset, &columns, options, run, &mut counts);
    // What is complete is noted, also when the run ends early.
    let written = parts.finish();
    outcome?;
    written?;
    let mut summary = clock.summary(stage, &counts, (columns.alpha(), columns.score()), target);
    summary.bad_files = bad_files_of(&dataset);
    let done = |part: usize| parts.manifest.parts[part].rows.is_some();
    summary.parts = Some(PartsSummary {
        written: parts.entries.iter().filter(|part| done(**part)).count(),
        kept,
        removed,
        rows: parts.manifest.parts.iter().filter_map(|part| part.rows).sum(),
    });
    Ok(summary)
}

/// The manifest to go on from.
fn begin(
    folder: &PartsFolder,
    model_digest: &str,
    settings: BTreeMap<String, String>,
    start_over: bool,
    run: &Run<'_>,
) -> Result<Manifest> {
    let Some(found) = folder.manifest(&run.cancel)? else { return Ok(Manifest::new(model_digest, settings)) };
    if start_over {
        found.parts.iter().try_for_each(|entry| folder.remove(&entry.part))?;
        return Ok(Manifest::new(model_digest, settings));
    }
    let differences = found.differences(model_digest, &settings);
    match differences.is_empty() {
        true => Ok(found),
        false => Err(Error::PartsDiffer { path: folder.name_of("").into(), differences: differences.join("; ") }),
    }
}

/// What changes the rows of a part.
fn settings_of(stage: &Stage, options: &ScoreOptions, alpha: f64) -> BTreeMap<String, String> {
    let load = stage.load_options();
    let mut settings = BTreeMap::from([
        ("prefix".into(), options.prefix.clone()),
        ("alpha".into(), alpha.to_string()),
        ("limit of pixels".into(), load.limits.max_pixels.to_string()),
        ("reading of paths".into(), load.read_paths.to_string()),
        ("precision".into(), if stage.gpus() > 0 { "f16".into() } else { "f32".into() }),
    ]);
    if let Some(image) = stage.wanted_image_column() {
        settings.insert("image column".into(), image.to_owned());
    }
    settings
}

/// The parts of a run.
struct Parts {
    folder: PartsFolder,
    manifest: Manifest,
    /// For each input of the run the number of its part.
    entries: Vec<usize>,
    schema: SchemaRef,
    write: WriteOptions,
    /// The input that no part was begun for.
    next: usize,
    ending: VecDeque<(usize, Counts, Finishing)>,
    saved: Instant,
}

impl Parts {
    fn score(
        &mut self,
        stage: &Stage,
        dataset: &Dataset,
        columns: &crate::Columns,
        options: &ScoreOptions,
        run: &mut Run<'_>,
        counts: &mut Counts,
    ) -> Result<()> {
        let mut open: Option<(usize, Counts, BackgroundWriter)> = None;
        for scored in stage.scan(dataset, None, run.cancel.clone())? {
            let (chunk, scored) = scored?;
            if let Some((_, part, writer)) = open.take_if(|(input, ..)| *input != chunk.source) {
                self.end(part, writer, dataset, counts)?;
            }
            // Inputs without rows have parts as well.
            while open.is_none() && self.next <= chunk.source {
                let (input, writer) = self.begin_next()?;
                match input == chunk.source {
                    true => open = Some((input, Counts::default(), writer)),
                    false => self.end(Counts::default(), writer, dataset, counts)?,
                }
            }
            let columns = columns.build(&scored)?;
            let (_, part, writer) = open.as_mut().expect("the chunk's part was begun");
            part.add(&chunk, &columns);
            counts.add(&chunk, &columns);
            check_failures(&chunk, &columns, counts, options)?;
            let rows = with_columns(&chunk.record_batch, &columns.arrays, &self.schema)?;
            writer.write(&rows)?;
            let (rows, failed) = (counts.rows, counts.failed);
            run.report(Progress { task: "scoring", rows, of: dataset.rows(), failed })?;
        }
        run.cancel.check()?;
        if let Some((_, part, writer)) = open {
            self.end(part, writer, dataset, counts)?;
        }
        while self.next < self.entries.len() {
            let (_, writer) = self.begin_next()?;
            self.end(Counts::default(), writer, dataset, counts)?;
        }
        match options.max_errors {
            None => Ok(()),
            Some(limit) => counts.check(limit, true),
        }
    }

    fn begin_next(&mut self) -> Result<(usize, BackgroundWriter)> {
        let input = self.next;
        self.next += 1;
        let name = self.folder.name_of(&self.manifest.parts[self.entries[input]].part);
        Ok((input, BackgroundWriter::try_new(DatasetWriter::create_part(&name, &self.schema, &self.write)?)?))
    }

    /// The part that was begun last has all its rows. That of a damaged file gets no name, and `counts` loses its rows.
    fn end(&mut self, part: Counts, writer: BackgroundWriter, dataset: &Dataset, counts: &mut Counts) -> Result<()> {
        let input = self.next - 1;
        if dataset.is_bad(input) {
            counts.remove(&part);
            return Ok(());
        }
        self.ending.push_back((self.entries[input], part, writer.finish_later()?));
        while self.ending.len() > ENDING_AT_A_TIME {
            self.note_oldest()?;
        }
        if self.saved.elapsed() >= MANIFEST_EVERY {
            self.save()?;
        }
        Ok(())
    }

    fn note_oldest(&mut self) -> Result<()> {
        let Some((entry, counts, part)) = self.ending.pop_front() else { return Ok(()) };
        part.wait()?;
        let entry = &mut self.manifest.parts[entry];
        (entry.rows, entry.failed) = (Some(counts.rows), counts.failed);
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        self.folder.write_manifest(&self.manifest)?;
        self.saved = Instant::now();
        Ok(())
    }

    /// Waits for the parts that have all their rows, and notes them.
    fn finish(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        while !self.ending.is_empty() {
            outcome = outcome.and(self.note_oldest());
        }
        outcome.and(self.save())
    }
}
