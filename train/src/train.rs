//! A whole training: datasets in, a calibrated bundle out.

use std::io::ErrorKind;
use std::path::Path;

use dismax::calibration::{CalibrationFeatures, CalibrationRow, FeatureMoments, rows_to_flag};
use dismax::device::{on_device, training_kind};
use dismax::error::{Error, Result};
use dismax::image::Preprocessing;
use dismax::metrics::LabelledLogits;
use dismax::model::{
    EpochRecord, FORMAT_VERSION, HeldOutFeatures, ImageInput, Model, ModelConfig, ModelInput, TrainingHistory,
};
use dismax::network::Scorer;
use dismax::run::Run;
use dismax::score::{RowOutput, class_and_confidence};
use half::f16;

use super::checkpoint::{Checkpoint, TrainingState};
use super::data::{Examples, LabelledImages};
use super::device_fit::fit_on_device;
use super::error::TrainError;
use super::host_fit::fit_on_host;
use super::job::{TrainEvent, TrainJob, TrainingPlan, checkpoint_path};
use super::metrics_file::metrics_path;
use super::normalization::for_scoring;
use super::options::TrainOptions;
use super::pretrained::Pretrained;
use super::recipe_file::RecipeFile;
use super::session::{Inputs, Trained, progress};
use super::training_set::TrainingSet;

/// Images of a batch that the finished model scores.
const SCORING_ROWS: usize = 128;
/// Training images whose features are looked at: a random part of more.
const FEATURE_ROWS: usize = 50_000;

/// Trains, calibrates on the held-out rows and writes the bundle to `job.out`. `run` is told how many images are read
/// and trained on, `events` what else happens.
///
/// # Errors
/// Data that cannot be learnt from, options that do not fit, a bundle or checkpoint in the way, and
/// [`Error::Cancelled`] after a stop, which leaves the checkpoint of the last whole epoch.
pub fn train(job: &TrainJob, run: &mut Run<'_>, events: &mut dyn FnMut(TrainEvent<'_>)) -> Result<Model> {
    let device = job.device.resolve()?;
    let (checkpoint_file, metrics_file) = (checkpoint_path(&job.out), metrics_path(&job.out));
    check_places(job, [&checkpoint_file, &metrics_file])?;
    // Impossible options are refused before the images are decoded.
    if job.calibration.score.needs_unknown() {
        return Err(Error::NoUnknownExamples { score: job.calibration.score.name() });
    }
    if job.recipe.whitening && job.init.is_some() {
        let message = "whitening would replace the first of the weights that the training begins with; leave it out";
        return Err(TrainError::Options(message.into()).into());
    }
    // What follows from the weights to begin with is no part of a recipe, which does not name them.
    let backbone_rate = job.recipe.backbone_rate;
    let initial = job.init.as_deref().map(|init| Pretrained::read(init, job.recipe.architecture)).transpose()?;
    let continuing;
    let job = match &initial {
        None => job,
        Some(initial) => {
            let recipe = job.recipe.clone().continuing(initial.preprocessing.as_ref());
            continuing = TrainJob { recipe, ..job.clone() };
            &continuing
        }
    };
    job.recipe.options(&job.recipe.preprocessing(None)?, device, 0)?;
    let set = TrainingSet::read(job, run)?;
    let state = TrainingState {
        options: TrainOptions {
            initial_weights: initial.as_ref().map(|initial| initial.digest.clone()),
            ..job.recipe.options(&set.stored, device, set.fingerprint.train_rows)?
        },
        classes: set.classes.clone(),
        data: set.fingerprint.clone(),
        history: Vec::new(),
    };
    // What can be known now must not be found out after hours of training.
    let begun = initial.as_ref().map(|initial| format!(", begun with {}", initial.name)).unwrap_or_default();
    config(&state, &set.scoring, &begun).validate()?;
    let resume = take_checkpoint(job, &state, [&checkpoint_file, &metrics_file])?;
    let finished_epochs = resume.as_ref().map_or(0, |checkpoint| checkpoint.state.history.len());
    let train_rows = set.fingerprint.train_rows;
    run.report(progress(finished_epochs * train_rows, state.options.epochs * train_rows))?;
    events(TrainEvent::Begin(TrainingPlan {
        options: &state.options,
        train_rows,
        held_out_rows: set.held_out.len(),
        selection_rows: set.selection.len(),
        min_calibration_rows: rows_to_flag(job.calibration.alpha),
        left_out: &set.left_out,
        bad_files: &set.bad_files,
        unseen_classes: &set.unseen_classes,
        streaming: set.fingerprint.shuffle_buffer.is_some(),
        finished_epochs,
    }));
    if let Some(parent) = checkpoint_file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|error| Error::io(parent, error))?;
    }
    let class_weights = state.options.class_weights.of(&set.class_rows);
    let TrainingSet { examples, held_out, selection, scoring, patches, .. } = set;
    let whitening = patches.map(|patches| patches.whitening(state.options.std));
    let inputs = Inputs {
        examples: examples.as_ref(),
        held_out: &held_out,
        selection: Some(&selection).filter(|selection| !selection.is_empty()),
        initial: initial.as_ref(),
        whitening,
        class_weights,
        device,
        checkpoint: &checkpoint_file,
        metrics: &metrics_file,
    };
    let trained = match device.is_cuda() && state.options.workers == 1 {
        true => {
            let kind = training_kind(device);
            on_device(device, || fit_on_device(&inputs, state.clone(), resume, kind, run, events))?
        }
        false => fit_on_host(&inputs, state.clone(), resume, run, events)?,
    };
    let source = state.data.held_out.as_str();
    let recipe = RecipeFile { backbone_rate, ..RecipeFile::of(&job.recipe, &state.options) };
    let recipe = serde_json::to_value(recipe).map_err(|error| Error::Internal(format!("a recipe as JSON: {error}")))?;
    let model = finish(
        job,
        (config(&state, &scoring, &begun), recipe),
        trained,
        (examples.as_ref(), &held_out, source),
        device,
        events,
    )?;
    remove([&checkpoint_file, &metrics_file])?;
    Ok(model)
}

fn check_places(job: &TrainJob, of_training: [&Path; 2]) -> Result<()> {
    Model::check_place(&job.out, job.force)?;
    match of_training.into_iter().find(|file| file.exists()) {
        Some(file) if !job.resume && !job.force => Err(TrainError::Unfinished { path: file.to_path_buf() }.into()),
        _ => Ok(()),
    }
}

/// The checkpoint to continue from. One that is not continued is removed, with the figures of its epochs: a stop before
/// the new training's first checkpoint must not offer to continue the old training.
fn take_checkpoint(job: &TrainJob, state: &TrainingState, [file, metrics]: [&Path; 2]) -> Result<Option<Checkpoint>> {
    if !job.resume {
        remove([file, metrics])?;
    }
    if !file.exists() {
        return Ok(None);
    }
    let checkpoint = Checkpoint::read(file)?;
    checkpoint.state.require_same(state, file)?;
    Ok(Some(checkpoint))
}

/// Removes files of which some may not be there.
fn remove(files: [&Path; 2]) -> Result<()> {
    files.into_iter().try_for_each(|file| match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(file, error)),
        _ => Ok(()),
    })
}

/// Calibrates on the held-out rows and writes the bundle.
fn finish(
    job: &TrainJob,
    (config, recipe): (ModelConfig, serde_json::Value),
    mut trained: Trained,
    (examples, held_out, source): (&dyn Examples, &LabelledImages, &str),
    device: tch::Device,
    events: &mut dyn FnMut(TrainEvent<'_>),
) -> Result<Model> {
    let images = config.input.images().expect("a network is trained on images");
    for_scoring(images.loss, images.architecture.head_name(), &mut trained.weights)?;
    let chart_svg = learning_curves(&trained.history);
    let history = TrainingHistory { epochs: trained.history, chart_svg, recipe: Some(recipe) };
    let mut model = Model::try_new(config, &trained.weights, Some(history))?;
    let calibrated = calibrate(job, &mut model, examples, (held_out, source), device);
    // Weights that took hours are kept even so: they can be calibrated later, on more rows.
    if let Err(error) = calibrated {
        events(TrainEvent::Uncalibrated(&error));
    }
    model.write(&job.out, job.force)?;
    Ok(model)
}

fn calibrate(
    job: &TrainJob,
    model: &mut Model,
    examples: &dyn Examples,
    (held_out, source): (&LabelledImages, &str),
    device: tch::Device,
) -> Result<()> {
    model.set_tta(job.calibration.tta)?;
    let scorer = model.scorer(device)?;
    let mut moments = FeatureMoments::new(model.input().stages(), model.classes().len());
    let (mut part, (height, width)) = (LabelledImages::default(), examples.size());
    let mut trained_on = examples.epoch(0).take(FEATURE_ROWS).peekable();
    while let Some(example) = trained_on.next().transpose()? {
        if part.is_empty() {
            part = LabelledImages::with_capacity(SCORING_ROWS, height, width);
        }
        part.push(&example.pixels, example.label);
        if part.len() == SCORING_ROWS || trained_on.peek().is_none() {
            score(model, &scorer, &std::mem::take(&mut part), |output| moments.add(output))?;
        }
    }
    model.set_feature_statistics(moments.finish()?)?;

    let own = job.calibration.score;
    let by_features = model.feature_score(own)?;
    let (mut logits, mut scores) = (Vec::new(), Vec::new());
    let mut rows = CalibrationFeatures::new(model.feature_width());
    score(model, &scorer, held_out, |output| {
        let class = class_and_confidence(output.logits, 1.0).0;
        let score = by_features.as_ref().map_or_else(|| own.of_logits(output.logits), |score| score.of(output));
        let features: Vec<f16> = output.features.into_iter().flatten().map(|value| f16::from_f32(*value)).collect();
        rows.push(&features, CalibrationRow { class, score });
        scores.push(score);
        logits.extend_from_slice(output.logits);
    })?;
    let labels: Vec<i64> = held_out.labels.iter().map(|&label| i64::from(label)).collect();
    let labelled = LabelledLogits::try_new(&logits, model.classes().len(), &labels)?;
    let scores = by_features.is_some().then_some(scores.as_slice());
    model.calibrate(&labelled, Some(HeldOutFeatures { rows, scores }), &job.calibration, source)
}

/// Logits and features of all images by the finished model, row by row.
fn score(model: &Model, scorer: &Scorer, images: &LabelledImages, mut each: impl FnMut(RowOutput<'_>)) -> Result<()> {
    let preprocessing = &model.input().images().expect("a network is trained on images").preprocessing;
    let size = (preprocessing.height, preprocessing.width);
    for start in (0..images.len()).step_by(SCORING_ROWS) {
        let end = images.len().min(start + SCORING_ROWS);
        let values = scorer.values(&images.center_crops(start..end, size), true)?;
        for row in values.chunks_exact(model.values_width(true)) {
            let (logits, features) = row.split_at(model.classes().len());
            each(RowOutput { logits, features: Some(features) });
        }
    }
    Ok(())
}

fn learning_curves(epochs: &[EpochRecord]) -> String {
    let epoch = |record: &EpochRecord| dismax_charts::Epoch {
        number: record.epoch,
        learning_rate: record.learning_rate,
        train_nll: record.train_nll,
        validation_nll: record.validation_nll,
        train_accuracy: record.train_accuracy,
        validation_accuracy: record.validation_accuracy,
        images_per_second: record.images_per_second,
    };
    dismax_charts::training(&epochs.iter().map(epoch).collect::<Vec<_>>())
}

fn config(state: &TrainingState, scoring: &Preprocessing, begun: &str) -> ModelConfig {
    let TrainingState { options, classes, data, .. } = state;
    ModelConfig {
        format_version: FORMAT_VERSION,
        input: ModelInput::Images(ImageInput {
            architecture: options.architecture,
            loss: options.loss,
            preprocessing: Preprocessing { mean: options.mean, std: options.std, ..scoring.clone() },
        }),
        classes: classes.clone(),
        origin: format!(
            "trained with dismax {} on {} images{begun} ({} epochs, batch size {}, {} schedule up to a learning rate of {}, weight \
             decay {}, seed {})",
            env!("CARGO_PKG_VERSION"),
            data.train_rows,
            options.epochs,
            options.batch_size,
            options.schedule,
            options.sgd.learning_rate,
            options.sgd.weight_decay,
            options.seed,
        ),
    }
}
