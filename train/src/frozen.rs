//! A model of images whose network stays as it is: a head fitted in closed form to the features that it gives.

use std::sync::Arc;

use dismax::calibration::FeatureMoments;
use dismax::dataset::{Dataset, RowLabels};
use dismax::embedding::{EmbeddingHead, EmbeddingMoments, EmbeddingScorer, EmbeddingSpace, to_unit_length};
use dismax::error::{Error, Result};
use dismax::evaluate::KeptFeatures;
use dismax::image::Preprocessing;
use dismax::loss::Loss;
use dismax::model::{FORMAT_VERSION, ImageInput, Model, ModelConfig, ModelInput};
use dismax::run::{Progress, Run};
use dismax::score::RowOutput;
use dismax::stage::{Stage, StageOptions, WithFeatures};

use super::collector::LeftOut;
use super::error::TrainError;
use super::fitted::{HeadFit, MOST_HELD_OUT, at_most, calibrate, with_scale};
use super::held_out::{HeldOutFiles, HeldOutPlan, fraction_of_rows};
use super::job::TrainJob;
use super::labelled_dataset::LabelledDataset;
use super::labels::require_two_classes;
use super::pretrained::Pretrained;
use super::row_use::RowUse;

/// Rows whose products are added at a time. The same on every machine, as sums are rounded there.
const ROWS: usize = 1024;

/// Fits `head` to the features that the network `job.init` gives of labelled images, in one pass over them, calibrates
/// it on the held-out rows, and writes the bundle. Nothing is trained: of the recipe only architecture, size, channel
/// statistics and seed may be given.
///
/// # Errors
/// A job without weights to begin with, weights of another architecture; no column of images or labels; fewer than two
/// classes, or a class with fewer than two usable rows; whatever reading and writing say.
pub fn fit_head(job: &TrainJob, head: EmbeddingHead, run: &mut Run<'_>) -> Result<HeadFit> {
    if job.calibration.score.needs_unknown() {
        return Err(Error::NoUnknownExamples { score: job.calibration.score.name() });
    }
    if let Some(option) = job.recipe.first_of_training().or(job.resume.then_some("resume")) {
        return Err(TrainError::NothingTrained { option }.into());
    }
    if !job.calibration.tta.is_none() {
        return Err(TrainError::FittedToSingleImages.into());
    }
    Model::check_place(&job.out, job.force)?;
    let init = job.init.as_deref().ok_or(TrainError::NothingToFreeze)?;
    let architecture = job.recipe.architecture;
    let pretrained = Pretrained::read(init, architecture)?;
    let recipe = job.recipe.clone().continuing(pretrained.preprocessing.as_ref());
    let job = TrainJob { recipe, ..job.clone() };
    let source = LabelledDataset::open(&job.inputs, &job, &run.cancel)?;
    let labels = RowLabels::read(&source.dataset, &source.label, None)?;
    require_two_classes(&labels, &source.dataset, &source.label)?;
    let job = TrainJob { held_out: at_most(&job.held_out, labels.classes.len())?, ..job };
    let plan = HeldOutPlan::try_new(&job, &source.dataset, &labels, &run.cancel)?;

    require_two_rows(&labels, &plan.uses, &job.inputs)?;

    let mut preprocessing = source.preprocessing(&job)?;
    if let Some((mean, std)) = job.recipe.normalization {
        preprocessing = Preprocessing { mean, std, ..preprocessing };
    }
    let config = |loss, classes: &[String], origin| ModelConfig {
        format_version: FORMAT_VERSION,
        input: ModelInput::Images(ImageInput { architecture, loss, preprocessing: preprocessing.clone() }),
        classes: classes.to_vec(),
        origin,
    };
    let stage = {
        let dimensions = architecture.stages().last().copied().expect("a network has stages");
        let weights = pretrained.with_empty_head(dimensions, labels.names.len())?;
        let model = Model::try_new(config(Loss::Softmax, &labels.names, String::new()), &weights, None)?;
        let options =
            StageOptions { device: job.device, column: job.image.clone(), load: job.load, ..StageOptions::default() };
        Stage::try_new(model, &options)?
    };
    let mut pass = Pass::new(&stage);
    let use_of = |row: usize| Some(plan.uses[row]);
    pass.read(&stage, &source.dataset, &labels, use_of, run)?;
    let mut bad_files = source.dataset.bad_files();
    if let Some(files) = &plan.files {
        let rows = files.labels.classes.len();
        let share = MOST_HELD_OUT as f64 / rows as f64;
        let chosen = (share < 1.0).then(|| fraction_of_rows(&files.labels, share, job.recipe.seed));
        let use_of = |row: usize| match &chosen {
            Some(chosen) if !chosen[row] => None,
            _ => Some(RowUse::HeldOut),
        };
        pass.read(&stage, files.dataset(), &files.labels, use_of, run)?;
        bad_files.extend(HeldOutFiles::bad_files(files));
    }
    // The network's memory is wanted for the next one.
    drop(stage);
    if pass.held_out.labels.is_empty() {
        return Err(TrainError::NothingHeldOut { example: pass.left_out.example }.into());
    }

    let Pass { kept, held_out, left_out, moments, .. } = pass.finish();
    let classes = moments.finish(&labels.names)?;
    let rows = classes.rows().iter().sum();
    let scorer = with_scale(EmbeddingSpace::of(&classes)?, head, &held_out.embeddings(), &held_out.labels)?;
    let origin = format!(
        "{head} fitted with dismax {} on {rows} images to the features of {} (seed {})",
        env!("CARGO_PKG_VERSION"),
        pretrained.name,
        job.recipe.seed
    );
    let weights = pretrained.with_fitted_head(&scorer)?;
    let mut model = Model::try_new(config(Loss::fitted(head), &labels.names, origin), &weights, None)?;
    let logits = scorer.logits(&held_out.embeddings());
    let held_out_rows = (logits.as_slice(), held_out.features.as_slice(), held_out.labels.as_slice());
    let statistics = training_moments(&model, &scorer, &kept).finish();
    let calibrated = statistics
        .and_then(|statistics| model.set_feature_statistics(statistics))
        .and_then(|()| calibrate(&mut model, held_out_rows, &job.calibration, &plan.source));
    model.write(&job.out, job.force)?;
    Ok(HeadFit {
        model,
        rows,
        held_out_rows: held_out.labels.len(),
        left_out,
        bad_files,
        uncalibrated: calibrated.err(),
    })
}

/// Whether each class has the two rows that its spread takes, before any image is read.
fn require_two_rows(labels: &RowLabels, uses: &[RowUse], inputs: &[String]) -> Result<()> {
    let mut rows = vec![0; labels.names.len()];
    for (class, _) in labels.classes.iter().zip(uses).filter(|(_, used)| **used == RowUse::Train) {
        class.iter().for_each(|class| rows[*class as usize] += 1);
    }
    match rows.iter().zip(&labels.names).find(|(rows, _)| **rows < 2) {
        None => Ok(()),
        Some((rows, class)) => {
            let message = format!("class {class:?} has {rows} of the two rows for training that it needs");
            Err(Error::data(inputs.join(", "), message))
        }
    }
}

/// What a model keeps of its training rows, of those that are at hand.
fn training_moments(model: &Model, scorer: &EmbeddingScorer, kept: &KeptFeatures) -> FeatureMoments {
    let mut moments = FeatureMoments::new(model.input().stages(), model.classes().len());
    for rows in kept.rows.chunks(ROWS) {
        let features: Vec<Vec<f32>> =
            rows.iter().map(|(_, row)| row.iter().map(|value| value.to_f32()).collect()).collect();
        let embeddings = features.iter().flat_map(|row| embedding(row, scorer.space().dimensions()));
        let logits = scorer.logits(&embeddings.collect::<Vec<f32>>());
        for (logits, features) in logits.chunks_exact(model.classes().len()).zip(&features) {
            moments.add(RowOutput { logits, features: Some(features) });
        }
    }
    moments
}

/// The last `dimensions` of a row's features, at length 1. Features that are all 0 stay so.
fn embedding(features: &[f32], dimensions: usize) -> Vec<f32> {
    let mut embedding = features[features.len() - dimensions..].to_vec();
    to_unit_length(&mut embedding);
    embedding
}

/// Rows that are held out.
struct HeldOutRows {
    /// Numbers of all stages, and of the last.
    width: usize,
    dimensions: usize,
    /// `[N, F]`.
    features: Vec<f32>,
    /// `[N]`.
    labels: Vec<i64>,
}

impl HeldOutRows {
    /// What the head sees of them: `[N, D]`, of length 1.
    fn embeddings(&self) -> Vec<f32> {
        self.features.chunks_exact(self.width).flat_map(|row| embedding(row, self.dimensions)).collect()
    }
}

/// What one pass over the images gives.
struct Pass {
    moments: EmbeddingMoments,
    /// Rows that are not among the moments yet: embeddings `[N, D]` and classes.
    embeddings: Vec<f32>,
    classes: Vec<usize>,
    kept: KeptFeatures,
    held_out: HeldOutRows,
    left_out: LeftOut,
}

impl Pass {
    fn new(stage: &Stage) -> Self {
        let model = stage.model();
        let dimensions = model.input().stages().last().copied().expect("a network has stages");
        Self {
            moments: EmbeddingMoments::new(dimensions, model.classes().len()),
            embeddings: Vec::new(),
            classes: Vec::new(),
            kept: KeptFeatures::default(),
            held_out: HeldOutRows {
                width: model.feature_width(),
                dimensions,
                features: Vec::new(),
                labels: Vec::new(),
            },
            left_out: LeftOut::default(),
        }
    }

    fn read(
        &mut self,
        stage: &Stage,
        dataset: &Dataset,
        labels: &RowLabels,
        use_of: impl Fn(usize) -> Option<RowUse>,
        run: &mut Run<'_>,
    ) -> Result<()> {
        let mut first = 0;
        for scored in stage.scan_observed(dataset, Some(&[]), run.cancel.clone(), Arc::new(WithFeatures))? {
            let (chunk, scored) = scored?;
            for row in 0..scored.rows().len() {
                let class = *labels.classes.get(first + row).ok_or(TrainError::DataChanged)?;
                let features = scored.output(row).map(|output| output.features.expect("features were asked for"));
                match (class, features) {
                    (Some(class), Ok(features)) => match use_of(first + row) {
                        Some(RowUse::Train) => self.fit_on(class, features),
                        Some(RowUse::HeldOut) => self.hold_out(class, features),
                        Some(RowUse::Select) | None => {}
                    },
                    (class, outcome) => {
                        let reason = match (class, outcome) {
                            (None, _) => "the label is null".to_owned(),
                            (_, outcome) => outcome.err().map(|error| error.to_string()).unwrap_or_default(),
                        };
                        let place = format!("{}, row {}: {reason}", chunk.file, chunk.first_row + row as u64);
                        self.left_out.add(LeftOut { rows: 1, example: Some(place) });
                    }
                }
            }
            first += scored.rows().len();
            let failed = self.left_out.rows;
            run.report(Progress { task: "reading features", rows: first as u64, of: dataset.rows(), failed })?;
        }
        if first == labels.classes.len() { Ok(()) } else { Err(TrainError::DataChanged.into()) }
    }

    fn hold_out(&mut self, class: u32, features: &[f32]) {
        self.held_out.features.extend_from_slice(features);
        self.held_out.labels.push(i64::from(class));
    }

    fn fit_on(&mut self, class: u32, features: &[f32]) {
        self.kept.offer(features);
        self.embeddings.extend(embedding(features, self.held_out.dimensions));
        self.classes.push(class as usize);
        if self.classes.len() == ROWS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.moments.add(std::mem::take(&mut self.embeddings), &std::mem::take(&mut self.classes));
    }

    fn finish(mut self) -> Self {
        self.flush();
        self
    }
}
