//! Logits of a whole dataset.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::features::{Digests, KeptFeatures, is_among};
use super::given::Given;
use crate::calibration::{CalibrationFeatures, CalibrationRow, FeatureStatistics};
use crate::dataset::{ClassMap, Dataset, LabelColumn};
use crate::error::{ColumnRole, Error, Result, RowErrorCode};
use crate::metrics::LabelledLogits;
use crate::model::{HeldOutFeatures, Model};
use crate::run::{Progress, Run};
use crate::score::{RowOutput, Score};
use crate::stage::{Observer, Stage, WithFeatures};

/// The logits of every row of a dataset that could be scored, with labels where there are any, and a count of the
/// others.
///
/// All logits stay in memory: 4 bytes for each class of each row, 40 MB for a million rows of ten classes. Images do
/// not.
#[derive(Debug, Clone)]
pub struct DatasetLogits {
    model: Arc<Model>,
    /// `[L, C]` of the rows with a label.
    labelled: Vec<f32>,
    /// `[L]`.
    labels: Vec<i64>,
    /// `[U, C]` of the rows without.
    unlabelled: Vec<f32>,
    /// Scores that need features.
    feature_scores: Vec<Given>,
    /// Features of rows with a label, where they are kept.
    kept: Option<KeptFeatures>,
    has_labels: bool,
    errors: BTreeMap<RowErrorCode, u64>,
    /// Rows that were left out as the model's examples of unknown images.
    examples: u64,
}

impl DatasetLogits {
    /// Streams `dataset` through `stage`, reading only the image column and, where given, the label column.
    ///
    /// Labels are names of the model's classes or their numbers; numbers that the dataset itself names (Hugging Face's
    /// metadata) go by these names as soon as one of them is a class of the model. A row without a label keeps its
    /// logits.
    ///
    /// Rows that the model keeps as examples of unknown images are left out: it has learnt from them.
    ///
    /// # Errors
    /// A label outside the model's classes (the message has file and row), no image column, a damaged file,
    /// [`Error::Cancelled`].
    pub fn read(stage: &Stage, dataset: &Dataset, labels: Option<&LabelColumn>, run: &mut Run<'_>) -> Result<Self> {
        let collected = Self::new(Arc::clone(stage.model()), labels.is_some());
        let Some(statistics) = stage.model().feature_statistics() else {
            return collected.collect(stage, dataset, labels, (), |()| false, run);
        };
        let collected = Self { feature_scores: Given::all(statistics)?, ..collected };
        match statistics.unknown() {
            Some(unknown) => collected.collect(stage, dataset, labels, Digests, is_among(Some(unknown)), run),
            None => collected.collect(stage, dataset, labels, WithFeatures, |()| false, run),
        }
    }

    /// As [`DatasetLogits::read`] for rows that a model is to be calibrated on: keeps features of them as well.
    /// `statistics` are what the model will know of its training rows, and its examples of unknown images.
    ///
    /// # Errors
    /// As [`DatasetLogits::read`].
    pub fn read_held_out(
        stage: &Stage,
        dataset: &Dataset,
        labels: &LabelColumn,
        statistics: Option<&FeatureStatistics>,
        run: &mut Run<'_>,
    ) -> Result<Self> {
        let (labels, collected) = (Some(labels), Self::new(Arc::clone(stage.model()), true));
        let Some(statistics) = statistics else {
            return collected.collect(stage, dataset, labels, (), |()| false, run);
        };
        let feature_scores = Given::all(statistics)?;
        let collected = Self { feature_scores, kept: Some(KeptFeatures::default()), ..collected };
        collected.collect(stage, dataset, labels, Digests, is_among(statistics.unknown()), run)
    }

    /// `is_example` says of what was observed whether the row is left out.
    fn collect<O: Observer>(
        mut self,
        stage: &Stage,
        dataset: &Dataset,
        labels: Option<&LabelColumn>,
        observer: O,
        is_example: impl Fn(&O::Value) -> bool,
        run: &mut Run<'_>,
    ) -> Result<Self> {
        let map = labels.map(|column| ClassMap::new(column, stage.model().classes()));
        let columns: Vec<usize> = labels.map(LabelColumn::index).into_iter().collect();
        for scored in stage.scan_observed(dataset, Some(&columns), run.cancel.clone(), Arc::new(observer))? {
            let (chunk, scored) = scored?;
            let classes = match &map {
                Some(map) => map.classes_of(&chunk)?,
                None => vec![None; scored.rows().len()],
            };
            for (row, class) in classes.into_iter().enumerate() {
                match scored.output(row) {
                    Ok(_) if is_example(&scored.observed()[row]) => self.examples += 1,
                    Ok(output) => self.push(output, class),
                    Err(error) => self.fail(error.code),
                }
            }
            let (rows, failed) = (self.rows(), self.failed());
            run.report(Progress { task: "scoring", rows, of: dataset.rows(), failed })?;
        }
        Ok(self)
    }

    /// An empty collection for rows scored by `model`.
    fn new(model: Arc<Model>, has_labels: bool) -> Self {
        Self {
            model,
            labelled: Vec::new(),
            labels: Vec::new(),
            unlabelled: Vec::new(),
            feature_scores: Vec::new(),
            kept: None,
            has_labels,
            errors: BTreeMap::new(),
            examples: 0,
        }
    }

    /// The model that computed the logits.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    fn push(&mut self, output: RowOutput<'_>, class: Option<usize>) {
        let given: Vec<f32> = self.feature_scores.iter().map(|score| score.by.of(output)).collect();
        // The widest of the sums: where it is finite, the logits and all other scores of them are.
        if !Score::Mmleps.of_logits(output.logits).is_finite() || given.iter().any(|score| !score.is_finite()) {
            return self.fail(RowErrorCode::NonFiniteScore);
        }
        match class {
            Some(class) => {
                self.labelled.extend_from_slice(output.logits);
                self.labels.push(class as i64);
                self.kept.iter_mut().zip(output.features).for_each(|(kept, features)| kept.offer(features));
            }
            None => self.unlabelled.extend_from_slice(output.logits),
        }
        for (score, value) in self.feature_scores.iter_mut().zip(given) {
            score.values[usize::from(class.is_none())].push(value);
        }
    }

    fn fail(&mut self, code: RowErrorCode) {
        *self.errors.entry(code).or_default() += 1;
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.model.classes().len()
    }

    /// Rows read, with and without logits.
    pub fn rows(&self) -> u64 {
        self.scored() + self.failed() + self.examples
    }

    /// Rows that were left out because the model keeps them as examples of unknown images.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// Rows with logits.
    pub fn scored(&self) -> u64 {
        self.logits().len() as u64
    }

    /// Rows without logits.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Rows without logits, by reason.
    pub fn errors(&self) -> &BTreeMap<RowErrorCode, u64> {
        &self.errors
    }

    /// Rows with logits whose label is null; all rows with logits where no label column was read.
    pub fn unlabelled(&self) -> u64 {
        self.unlabelled.chunks_exact(self.classes()).len() as u64
    }

    /// Logits `[C]` of each row that has some, before temperature: first those with a label, in the dataset's order,
    /// then the others.
    pub fn logits(&self) -> impl ExactSizeIterator<Item = &[f32]> + Clone {
        let classes = self.classes();
        let rows = (self.labelled.len() + self.unlabelled.len()) / classes;
        (0..rows).map(move |row| {
            let at = row * classes;
            match at.checked_sub(self.labelled.len()) {
                None => &self.labelled[at..at + classes],
                Some(at) => &self.unlabelled[at..at + classes],
            }
        })
    }

    /// One score of every row with logits, in the order of [`DatasetLogits::logits`]. Higher is more in-distribution.
    /// None where it needs what the model does not know: features, or examples of unknown images.
    pub fn scores(&self, score: Score) -> Option<Vec<f32>> {
        match score.needs_features() {
            true => self.given(score).map(|given| given.values.concat()),
            false => Some(self.logits().map(|logits| score.of_logits(logits)).collect()),
        }
    }

    fn given(&self, score: Score) -> Option<&Given> {
        self.feature_scores.iter().find(|given| given.score == score)
    }

    /// What [`Model::calibrate`] keeps of these rows' features for a model with this score; none where they were not
    /// kept.
    pub fn held_out_features(&self, score: Score) -> Option<HeldOutFeatures<'_>> {
        let kept = self.kept.as_ref()?;
        let scores = self.given(score).map(|given| given.values[0].as_slice());
        let classes = self.classes();
        let mut rows = CalibrationFeatures::new(self.model.feature_width());
        for (row, features) in &kept.rows {
            let logits = &self.labelled[row * classes..(row + 1) * classes];
            let class = crate::score::class_and_confidence(logits, 1.0).0;
            let score = scores.map_or_else(|| score.of_logits(logits), |scores| scores[*row]);
            rows.push(features, CalibrationRow { class, score });
        }
        Some(HeldOutFeatures { rows, scores })
    }

    /// The rows with logits and label, in the dataset's order.
    ///
    /// # Errors
    /// [`Error::Data`] where no label column was read, and where no row has both.
    pub fn labelled(&self) -> Result<LabelledLogits<'_>> {
        if !self.has_labels {
            return Err(Error::column(ColumnRole::Label, "accuracy and calibration need one"));
        }
        if self.labels.is_empty() {
            return Err(Error::data(
                "labels",
                format!("none of {} rows can be used and has a label{}", self.rows(), self.most_frequent_error()),
            ));
        }
        LabelledLogits::try_new(&self.labelled, self.classes(), &self.labels)
    }

    /// The most frequent reason of failed rows, and how many were left out, as the end of a sentence.
    pub(super) fn most_frequent_error(&self) -> String {
        let most = self.errors.iter().max_by_key(|(_, count)| **count);
        let failed = most.map(|(code, count)| format!("; {count} failed with {}", code.as_str())).unwrap_or_default();
        match self.examples {
            0 => failed,
            examples => format!("{failed}; {examples} are examples of unknown images that the model keeps"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Preprocessing;
    use crate::loss::Loss;
    use crate::model::{FORMAT_VERSION, ImageInput, ModelConfig, ModelInput};
    use crate::network::{Architecture, Network};

    fn model_of_two_classes() -> Model {
        let preprocessing = Preprocessing::new(8, 8);
        let images = ImageInput { architecture: Architecture::Resnet20, loss: Loss::Dismax, preprocessing };
        let network = Network::try_new(images.architecture, images.loss.head(), 2, tch::Device::Cpu, 1).unwrap();
        let config = ModelConfig {
            format_version: FORMAT_VERSION,
            input: ModelInput::Images(images),
            classes: ["cat", "dog"].map(String::from).to_vec(),
            origin: "random weights".into(),
        };
        let weights = network.weights().iter().map(|weight| (weight.name.clone(), weight.tensor.detach())).collect();
        Model::try_new(config, &weights, None).unwrap()
    }

    #[test]
    fn a_row_that_is_not_finite_is_counted_not_kept() {
        let mut collected = DatasetLogits::new(Arc::new(model_of_two_classes()), true);
        fn output(logits: &[f32]) -> RowOutput<'_> {
            RowOutput { logits, features: None }
        }
        collected.push(output(&[1.0, 2.0]), Some(1));
        for broken in [[f32::NAN, 0.0], [0.0, f32::INFINITY], [f32::NEG_INFINITY, 0.0], [f32::MAX, f32::MAX]] {
            collected.push(output(&broken), Some(0));
        }
        collected.push(output(&[3.0, 4.0]), None);
        collected.push(output(&[5.0, 6.0]), Some(0));
        assert_eq!((collected.rows(), collected.scored(), collected.unlabelled()), (7, 3, 1));
        assert_eq!(collected.errors(), &BTreeMap::from([(RowErrorCode::NonFiniteScore, 4)]));
        assert_eq!(collected.logits().collect::<Vec<_>>(), [[1.0, 2.0], [5.0, 6.0], [3.0, 4.0]]);
        let labelled = collected.labelled().unwrap();
        assert_eq!(labelled.iter().map(|(_, label)| label).collect::<Vec<_>>(), [1, 0]);
    }
}
