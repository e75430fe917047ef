//! A run over the parts of a folder: which are missing, which were written, what the manifest says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::folder::PartsFolder;
use super::manifest::Manifest;
use super::part::PartCounts;
use super::plan::Plan;
use crate::dataset::{Dataset, LoadOptions};
use crate::error::{Error, Result};
use crate::run::Run;
use crate::score::Score;
use crate::score_file::counts::Counts;
use crate::score_file::{PartsSummary, ScoreOptions, ScoreSummary, summary};

/// How often the manifest is written. What was finished since is done again after a kill.
const MANIFEST_EVERY: Duration = Duration::from_secs(2);

/// What changes the rows of parts besides their inputs and the options of scoring.
#[derive(Debug, Clone, Copy)]
pub struct PartsSettings<'a> {
    /// Digest of the model.
    pub model_digest: &'a str,
    /// Share of in-distribution rows that may be flagged.
    pub alpha: f64,
    /// How images are loaded.
    pub load: LoadOptions,
    /// The column that is scored, where one is named.
    pub column: Option<&'a str>,
    /// Arithmetic of the network: `f32` or `f16`.
    pub precision: &'a str,
}

impl PartsSettings<'_> {
    fn named(&self, options: &ScoreOptions) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::from([
            ("prefix".into(), options.prefix.clone()),
            ("alpha".into(), self.alpha.to_string()),
            ("limit of pixels".into(), self.load.limits.max_pixels.to_string()),
            ("reading of paths".into(), self.load.read_paths.to_string()),
            ("precision".into(), self.precision.into()),
        ]);
        if let Some(column) = self.column {
            settings.insert("column".into(), column.to_owned());
        }
        if let Some(alpha) = options.prediction_set {
            settings.insert("alpha of prediction sets".into(), alpha.to_string());
        }
        settings
    }
}

/// A run over the parts of a folder, which no other run of this machine writes to meanwhile.
///
/// Whoever scores the parts takes them from [`dataset`](Self::dataset), writes each to its
/// [target](Self::target_of), and says when one is [done](Self::done).
#[derive(Debug)]
pub struct PartsRun {
    folder: PartsFolder,
    manifest: Manifest,
    dataset: Dataset,
    /// For each part of the run its number in the manifest.
    entries: Vec<usize>,
    kept: usize,
    removed: usize,
    counts: Counts,
    bad_files: BTreeMap<String, String>,
    start: Instant,
    saved: Instant,
}

impl PartsRun {
    /// Opens the folder, and plans which parts of `dataset` are to be written into it.
    ///
    /// # Errors
    /// As [`score_to_parts`](super::score_to_parts), but for what scoring says.
    pub fn begin(
        dataset: &Dataset,
        target: &str,
        settings: &PartsSettings<'_>,
        options: &ScoreOptions,
        run: &Run<'_>,
    ) -> Result<Self> {
        let dataset = dataset.in_slices();
        let slices = dataset.slices()?;
        let folder = PartsFolder::open(target, &run.cancel)?;
        folder.require_not_read(slices.iter().map(|slice| slice.input.as_str()))?;
        let manifest = manifest_of(&folder, settings, options, run)?;
        let plan = Plan::new(&slices, &manifest, &folder.files(&run.cancel)?)?;
        if plan.others > 0 {
            log::warn!(
                "{target}: {} parts of inputs that are not named here stay as they are, also where these inputs are gone; start over to leave \
                 them out",
                plan.others
            );
        }
        let numbers: Vec<usize> = plan.todo.iter().map(|(slice, _)| *slice).collect();
        let entries = plan.todo.iter().map(|(_, part)| *part).collect();
        let manifest = manifest.with_parts(plan.parts);
        let noted = manifest.parts.iter().filter_map(|part| Some((part.failed, part.rows?)));
        let earlier = noted.fold((0, 0), |(failed, rows), part| (failed + part.0, rows + part.1));
        let mut this = Self {
            folder,
            manifest,
            dataset: dataset.only(&numbers),
            entries,
            kept: plan.kept,
            removed: plan.removed.len(),
            counts: Counts::after(earlier),
            bad_files: BTreeMap::new(),
            start: Instant::now(),
            saved: Instant::now(),
        };
        // Whatever is there under a part's name stands in the manifest, also after a kill.
        plan.removed.iter().try_for_each(|part| this.folder.remove(part))?;
        this.save()?;
        Ok(this)
    }

    /// The rows of the parts that are to be written; each part is one input of it.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The rows of one part.
    pub fn dataset_of(&self, part: usize) -> Dataset {
        self.dataset.only(&[part])
    }

    /// How many parts are to be written.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether all parts are there.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name of a part's file in the folder.
    pub fn name_of(&self, part: usize) -> &str {
        &self.manifest.parts[self.entries[part]].part
    }

    /// The file to write a part to, a path or an address.
    pub fn target_of(&self, part: usize) -> String {
        self.folder.name_of(self.name_of(part))
    }

    /// Rows that were scored in this run so far, and how many of them failed.
    pub fn progress(&self) -> (u64, u64) {
        (self.counts.rows, self.counts.failed)
    }

    /// A part is whole, or was left out because its input is damaged.
    ///
    /// # Errors
    /// [`Error::TooManyRowErrors`](crate::Error::TooManyRowErrors); a manifest that cannot be written.
    pub fn done(&mut self, part: usize, counted: PartCounts, options: &ScoreOptions) -> Result<()> {
        match counted.bad_file {
            Some((file, reason)) => drop(self.bad_files.insert(file, reason)),
            None => {
                self.note(part, counted.counts.rows, counted.counts.failed);
                self.counts.merge(counted.counts);
            }
        }
        self.save_now_and_then()?;
        options.max_errors.map_or(Ok(()), |limit| self.counts.check(limit, false))
    }

    /// Writes the manifest for the last time, and removes what processes left that were killed meanwhile.
    ///
    /// # Errors
    /// As [`done`](Self::done).
    pub fn finish(&mut self, options: &ScoreOptions) -> Result<()> {
        self.save()?;
        self.folder.tidy();
        options.max_errors.map_or(Ok(()), |limit| self.counts.check(limit, true))
    }

    /// What the run did, for parts that were scored elsewhere.
    pub fn score_summary(&self, settings: &PartsSettings<'_>, score: Score, target: &str) -> ScoreSummary {
        let mut summary = summary(self.start, &self.counts, (settings.alpha, score), target, settings.model_digest);
        summary.bad_files = self.bad_files.clone();
        summary.parts = Some(self.summary());
        summary
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    pub(super) fn note(&mut self, part: usize, rows: u64, failed: u64) {
        let entry = &mut self.manifest.parts[self.entries[part]];
        (entry.rows, entry.failed) = (Some(rows), failed);
    }

    pub(super) fn save_now_and_then(&mut self) -> Result<()> {
        if self.saved.elapsed() >= MANIFEST_EVERY { self.save() } else { Ok(()) }
    }

    /// Writes the manifest.
    ///
    /// # Errors
    /// A manifest that cannot be written.
    pub fn save(&mut self) -> Result<()> {
        self.folder.write_manifest(&self.manifest)?;
        self.saved = Instant::now();
        Ok(())
    }

    pub(super) fn summary(&self) -> PartsSummary {
        let done = |part: usize| self.manifest.parts[part].rows.is_some();
        PartsSummary {
            written: self.entries.iter().filter(|part| done(**part)).count(),
            kept: self.kept,
            removed: self.removed,
            rows: self.manifest.parts.iter().filter_map(|part| part.rows).sum(),
        }
    }
}

/// The manifest to go on from.
fn manifest_of(
    folder: &PartsFolder,
    settings: &PartsSettings<'_>,
    options: &ScoreOptions,
    run: &Run<'_>,
) -> Result<Manifest> {
    let (model, named) = (settings.model_digest, settings.named(options));
    let Some(found) = folder.manifest(&run.cancel)? else { return Ok(Manifest::new(model, named)) };
    if options.write.overwrite {
        found.parts.iter().try_for_each(|entry| folder.remove(&entry.part))?;
        return Ok(Manifest::new(model, named));
    }
    let differences = found.differences(model, &named);
    match differences.is_empty() {
        true => Ok(found),
        false => Err(Error::PartsDiffer { path: folder.name_of("").into(), differences: differences.join("; ") }),
    }
}
