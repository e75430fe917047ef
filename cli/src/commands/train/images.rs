//! `dismax train` on images.

use std::collections::BTreeMap;
use std::time::Instant;

use dismax::calibration::CalibrationOptions;
use dismax::model::{EpochRecord, TrainingHistory};
use dismax::{Error, Result};
use dismax_train::{Recipe, RecipeFile, TrainEvent, TrainJob, TrainingPlan, architecture_of, checkpoint_path, train};
use serde::Serialize;

use super::args::{Args, held_out};
use super::outcome::describe;
use crate::args;
use crate::context::Context;
use crate::exit::Outcome;
use crate::report::CalibrationReport;
use crate::{text, ui};

#[derive(Debug, Serialize)]
struct Summary<'a> {
    model: &'a str,
    model_digest: &'a str,
    epochs: usize,
    last_epoch: Option<&'a EpochRecord>,
    /// The epoch whose weights the model has.
    kept_epoch: Option<&'a EpochRecord>,
    calibration: Option<CalibrationReport>,
    uncalibrated_because: Option<&'a str>,
    /// Damaged files that were left out, with the reason of each.
    bad_files: &'a BTreeMap<String, String>,
}

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let job = job(args)?;
    let mut narrator = Narrator::new(context);
    let result = context.watch(|run| train(&job, run, &mut |event| narrator.tell(event)));
    let checkpoint = checkpoint_path(&job.out);
    if matches!(result, Err(Error::Cancelled)) && checkpoint.exists() {
        let checkpoint = checkpoint.display();
        context.ui.note(format!("{checkpoint} has the last checkpoint; continue with the same command and --resume"));
    }
    let model = result?;
    let kept = model.history().and_then(TrainingHistory::kept);
    if let Some((kept, accuracy)) = kept.and_then(|kept| Some((kept, kept.selection_accuracy?))) {
        let accuracy = text::percent(accuracy);
        context.ui.note(format!("the weights of epoch {} are kept: {accuracy} on the rows set apart", kept.epoch));
    }
    describe(&model, &job.out, context);
    if args.json {
        let name = job.out.display().to_string();
        ui::print(&ui::json(&Summary {
            model: &name,
            model_digest: model.digest(),
            epochs: model.history().map_or(0, |history| history.epochs.len()),
            last_epoch: model.history().and_then(|history| history.epochs.last()),
            kept_epoch: model.history().and_then(TrainingHistory::kept),
            calibration: CalibrationReport::of(&model),
            uncalibrated_because: narrator.uncalibrated_because.as_deref(),
            bad_files: &narrator.bad_files,
        })?)?;
    }
    Ok(if model.calibration().is_some() { Outcome::Done } else { Outcome::Incomplete })
}

/// What the flags ask for.
pub fn job(args: &Args) -> Result<TrainJob> {
    let file = args.recipe.as_deref().map(RecipeFile::read).transpose()?.unwrap_or_default();
    let mut asked = args.recipe().or(file);
    if let Some(init) = args.init.as_deref().filter(|_| asked.arch.is_none()) {
        asked.arch = architecture_of(init)?;
    }
    let recipe = Recipe { workers: args.workers, ..asked.recipe()? };
    Ok(TrainJob {
        image: args.images.image.clone(),
        label: args.labels.label.clone(),
        held_out: held_out(&args.validation)?,
        init: args.init.clone(),
        calibration: args
            .calibration
            .options(CalibrationOptions { seed: recipe.seed, ..CalibrationOptions::default() }),
        recipe,
        device: args.device,
        resume: args.resume,
        force: args.force,
        on_bad_file: args.input.on_bad_file(),
        load: args.images.load(),
        memory_bytes: args.memory,
        ..TrainJob::new(args.inputs.iter().map(String::as_str), &args.out)
    })
}

/// Tells people what happens while it trains.
struct Narrator<'a> {
    context: &'a Context,
    start: Instant,
    epochs: usize,
    finished_before: usize,
    uncalibrated_because: Option<String>,
    bad_files: BTreeMap<String, String>,
}

impl<'a> Narrator<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            start: Instant::now(),
            epochs: 0,
            finished_before: 0,
            uncalibrated_because: None,
            bad_files: BTreeMap::new(),
        }
    }

    fn tell(&mut self, event: TrainEvent<'_>) {
        match event {
            TrainEvent::Begin(plan) => self.begin(&plan),
            TrainEvent::Epoch(record) => self.epoch(record),
            TrainEvent::Uncalibrated(error) => {
                self.context.ui.incomplete(format!("the model is written without calibration: {error}"));
                self.uncalibrated_because = Some(error.to_string());
            }
        }
    }

    fn begin(&mut self, plan: &TrainingPlan<'_>) {
        let TrainingPlan { options, train_rows, held_out_rows, min_calibration_rows, finished_epochs, .. } = *plan;
        let ui = &self.context.ui;
        let held_out = text::rows(held_out_rows as u64);
        let choosing = match plan.selection_rows {
            0 => String::new(),
            rows => format!(", {} to choose the best epoch by", text::count(rows as u64)),
        };
        self.bad_files = args::reasons(plan.bad_files);
        if let Some(example) = &plan.left_out.example {
            ui.warn(format!("{} left out; the first: {example}", text::rows(plan.left_out.rows)));
        }
        if !plan.unseen_classes.is_empty() {
            let names = args::listing(plan.unseen_classes, 10);
            ui.warn(format!("no training rows for these classes: {names}; the model will hardly ever predict them"));
        }
        if held_out_rows < min_calibration_rows {
            ui.warn(format!(
                "{held_out} held out, but thresholds need {min_calibration_rows}: the model will not be calibrated; raise \
                 --validation or --alpha"
            ));
        }
        ui.note(format!(
            "training {} with {} on {} of {}x{} pixels{}; {held_out} held out{choosing}",
            options.architecture,
            options.loss,
            text::rows(train_rows as u64),
            options.size.0,
            options.size.1,
            if plan.streaming { ", read again in every epoch" } else { "" },
        ));
        if finished_epochs > 0 {
            ui.note(format!("continuing after epoch {finished_epochs} of {}", options.epochs));
        }
        (self.epochs, self.finished_before) = (options.epochs, finished_epochs);
        self.start = Instant::now();
    }

    fn epoch(&self, record: &EpochRecord) {
        let done = (record.epoch - self.finished_before).max(1) as f64;
        let left = self.start.elapsed().as_secs_f64() / done * (self.epochs - record.epoch) as f64;
        self.context.ui.note(format!(
            "epoch {:>3}/{}  loss {:.4}  accuracy {:>6}  held out {:>6} (nll {:.4})  lr {:.5}  {} images/s  {} left",
            record.epoch,
            self.epochs,
            record.train_objective,
            text::percent(record.train_accuracy),
            text::percent(record.validation_accuracy),
            record.validation_nll,
            record.learning_rate,
            text::rate(record.images_per_second),
            text::clock(left)
        ));
    }
}
