//! Which rows are held out of training, for validation, calibration and thresholds, or to choose the best epoch by.

use dismax::cancel::Cancel;
use dismax::dataset::{BadFile, Dataset, RowLabels};
use dismax::error::Result;
use dismax::image::Preprocessing;
use dismax::run::Run;

use super::collector::{ImageCollector, LeftOut};
use super::data::LabelledImages;
use super::error::TrainError;
use super::job::{HeldOut, TrainJob};
use super::keep::Keep;
use super::labelled_dataset::{LabelledDataset, require_disjoint};
use super::row_use::RowUse;
use super::split::stratified_split;

/// Share of the training rows of every class that the best epoch is chosen by.
const SELECTION_SHARE: f64 = 0.1;
/// Makes that choice another one than that of the held-out rows.
const SELECTION_SEED: u64 = 0x5E1E_C7ED;

/// The rows that a job holds out. This must be known before images are read: only held-out ones always stay in memory.
pub(super) struct HeldOutPlan {
    /// For each row of the training files, what it is there for.
    pub(super) uses: Vec<RowUse>,
    /// Files of held-out rows.
    pub(super) files: Option<HeldOutFiles>,
    /// Where the held-out rows come from, in words.
    pub(super) source: String,
}

impl HeldOutPlan {
    /// # Errors
    /// A fraction outside (0, 1), files that cannot be used or that are trained on.
    pub(super) fn try_new(job: &TrainJob, training: &Dataset, labels: &RowLabels, cancel: &Cancel) -> Result<Self> {
        let mut plan = Self::of_job(job, training, labels, cancel)?;
        if job.recipe.keep == Keep::Best {
            let left = labels.classes.iter().zip(&plan.uses);
            let left = left.map(|(class, used)| class.filter(|_| *used == RowUse::Train)).collect::<Vec<_>>();
            let chosen = share_of_rows(&left, labels.names.len(), SELECTION_SHARE, job.recipe.seed ^ SELECTION_SEED);
            for (used, _) in plan.uses.iter_mut().zip(chosen).filter(|(_, chosen)| *chosen) {
                *used = RowUse::Select;
            }
        }
        Ok(plan)
    }

    fn of_job(job: &TrainJob, training: &Dataset, labels: &RowLabels, cancel: &Cancel) -> Result<Self> {
        let rows = labels.classes.len();
        let uses = |is_held_out: Vec<bool>| {
            is_held_out.into_iter().map(|held_out| if held_out { RowUse::HeldOut } else { RowUse::Train }).collect()
        };
        match &job.held_out {
            HeldOut::Fraction(fraction) if *fraction > 0.0 && *fraction < 1.0 => Ok(Self {
                uses: uses(fraction_of_rows(labels, *fraction, job.recipe.seed)),
                files: None,
                source: format!("{} % of the training data, held out of training", percent(*fraction)),
            }),
            HeldOut::Fraction(fraction) => Err(TrainError::HeldOutFraction { fraction: *fraction }.into()),
            HeldOut::Files(files) => {
                let source = LabelledDataset::open(files, job, cancel)?;
                require_disjoint(training, &source.dataset)?;
                let labels = RowLabels::read(&source.dataset, &source.label, Some(&labels.names))?;
                Ok(Self {
                    uses: vec![RowUse::Train; rows],
                    files: Some(HeldOutFiles { source, labels }),
                    source: files.join(", "),
                })
            }
        }
    }

    /// Rows held out or chosen by, before any is left out for its image.
    pub(super) fn rows(&self) -> usize {
        let in_files = self.files.as_ref().map_or(0, |files| files.labels.classes.len());
        in_files + self.uses.len() - self.training_rows()
    }

    /// Rows to train on, before any is left out.
    pub(super) fn training_rows(&self) -> usize {
        self.uses.iter().filter(|used| **used == RowUse::Train).count()
    }
}

/// For each row whether it is among the `fraction` that is held out of every class.
pub(super) fn fraction_of_rows(labels: &RowLabels, fraction: f64, seed: u64) -> Vec<bool> {
    share_of_rows(&labels.classes, labels.names.len(), fraction, seed)
}

/// For each row whether it is among the `fraction` of every class; one without a class is not.
fn share_of_rows(classes: &[Option<u32>], count: usize, fraction: f64, seed: u64) -> Vec<bool> {
    let labelled: Vec<(usize, u32)> =
        classes.iter().enumerate().filter_map(|(row, class)| class.map(|class| (row, class))).collect();
    let labels: Vec<u32> = labelled.iter().map(|(_, class)| *class).collect();
    let mut is_chosen = vec![false; classes.len()];
    for index in stratified_split(&labels, count, fraction, seed) {
        is_chosen[labelled[index].0] = true;
    }
    is_chosen
}

/// Held-out rows that lie in files of their own.
pub(super) struct HeldOutFiles {
    source: LabelledDataset,
    pub(super) labels: RowLabels,
}

impl HeldOutFiles {
    pub(super) fn dataset(&self) -> &Dataset {
        &self.source.dataset
    }

    pub(super) fn bad_files(&self) -> Vec<BadFile> {
        self.source.dataset.bad_files()
    }

    pub(super) fn read(
        &self,
        job: &TrainJob,
        stored: &Preprocessing,
        run: &mut Run<'_>,
    ) -> Result<(LabelledImages, LeftOut)> {
        let uses = vec![RowUse::HeldOut; self.labels.classes.len()];
        let mut images = ImageCollector::new(&self.labels, stored, &uses, false);
        images.read(&self.source.dataset, &self.source.decoder(job, stored), run)?;
        Ok((images.held_out, images.left_out))
    }
}

/// A share in percent to four places, without the digits that binary fractions add.
pub(super) fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn shares_are_printed_as_they_were_given() {
        assert_eq!([0.07, 0.1, 0.125, 0.29].map(|share| percent(share).to_string()), ["7", "10", "12.5", "29"]);
    }
}
