//! Training.

use std::path::PathBuf;

use dismax::Error;
use dismax::calibration::CalibrationOptions;
use dismax::embedding::EmbeddingHead;
use dismax_train::{Flip, HeldOut, Recipe, RecipeFile, TrainEvent, TrainJob, TrainingPlan, architecture_of, fit_head};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::json;

use crate::error::from_dismax;
use crate::runtime::watch;
use crate::source::paths;

/// Trains a model into a folder. `dismax.train` says what the arguments are. `on_event` is given JSON.
#[pyfunction]
#[pyo3(name = "_train")]
pub fn train(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    out: PathBuf,
    options: &Bound<'_, PyDict>,
    on_event: &Bound<'_, PyAny>,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let inputs = paths(data)?.ok_or_else(|| {
        PyTypeError::new_err(
            "training reads its data many times, so give paths, addresses or patterns; write tables to a \
                              Parquet file first",
        )
    })?;
    let job = job(inputs, out, options)?;
    let frozen = given(options, "freeze")?.unwrap_or(false);
    let head = named::<EmbeddingHead>(options, "head")?;
    if head.is_some() && !frozen {
        return Err(PyValueError::new_err("head is what freeze fits; loss chooses that of a training"));
    }
    watch(py, progress, Some(on_event), |run, tell| match frozen {
        false => dismax_train::train(&job, run, &mut |event| tell(describe(&event))).map(drop),
        true => {
            let fit = fit_head(&job, head.unwrap_or_default(), run)?;
            fit.uncalibrated.iter().for_each(|error| tell(describe(&TrainEvent::Uncalibrated(error))));
            Ok(())
        }
    })
}

/// An option by its name, none where it is left out.
fn given<T: for<'a, 'py> FromPyObject<'a, 'py>>(options: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<T>> {
    let Some(value) = options.get_item(name)?.filter(|value| !value.is_none()) else { return Ok(None) };
    match value.extract() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(PyTypeError::new_err(format!("{name}: {} is not of its type", value.repr()?))),
    }
}

fn named<T: std::str::FromStr>(options: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<T>>
where
    T::Err: std::fmt::Display,
{
    let text: Option<String> = given(options, name)?;
    text.map(|text| text.parse().map_err(|error| PyValueError::new_err(format!("{name}: {error}")))).transpose()
}

fn job(inputs: Vec<String>, out: PathBuf, options: &Bound<'_, PyDict>) -> PyResult<TrainJob> {
    let defaults = TrainJob::new(inputs, out);
    let held_out = match options.get_item("validation")?.filter(|value| !value.is_none()) {
        None => defaults.held_out.clone(),
        Some(value) => match paths(&value)? {
            Some(files) => HeldOut::Files(files),
            None => HeldOut::Fraction(value.extract()?),
        },
    };
    let size = match options.get_item("image_size")?.filter(|value| !value.is_none()) {
        None => None,
        Some(value) => Some(match value.extract::<u32>() {
            Ok(side) => (side, side),
            Err(_) => value.extract::<(u32, u32)>()?,
        }),
    };
    let init: Option<PathBuf> = given(options, "init")?;
    let asked = RecipeFile {
        arch: named(options, "arch")?,
        loss: named(options, "loss")?,
        epochs: given(options, "epochs")?,
        batch_size: given(options, "batch_size")?,
        lr: given(options, "lr")?,
        backbone_rate: given(options, "backbone_rate")?,
        weight_decay: given(options, "weight_decay")?,
        schedule: named(options, "schedule")?,
        image_size: size,
        crop: given(options, "crop")?,
        flip: flip(options)?,
        mean: given(options, "mean")?,
        std: given(options, "std")?,
        seed: given(options, "seed")?,
        ..RecipeFile::default()
    };
    let mut asked = asked.or(recipe(options)?);
    if let Some(init) = init.as_deref().filter(|_| asked.arch.is_none()) {
        asked.arch = architecture_of(init).map_err(|error| from_dismax(&error))?;
    }
    let recipe = asked.recipe().map_err(|error| from_dismax(&error))?;
    let recipe = Recipe { workers: given(options, "workers")?, ..recipe };
    let calibration = CalibrationOptions { seed: recipe.seed, ..CalibrationOptions::default() };
    Ok(TrainJob {
        image: given(options, "image")?,
        label: given(options, "label")?,
        held_out,
        init,
        recipe,
        calibration: CalibrationOptions {
            alpha: given(options, "alpha")?.unwrap_or(calibration.alpha),
            tta: named(options, "tta")?.unwrap_or(calibration.tta),
            ..calibration
        },
        device: named(options, "device")?.unwrap_or(defaults.device),
        resume: given(options, "resume")?.unwrap_or(false),
        force: given(options, "overwrite")?.unwrap_or(false),
        memory_bytes: given(options, "memory")?.unwrap_or(defaults.memory_bytes),
        ..defaults
    })
}

/// What a recipe file says, or a dict with its keys.
fn recipe(options: &Bound<'_, PyDict>) -> PyResult<RecipeFile> {
    let Some(value) = options.get_item("recipe")?.filter(|value| !value.is_none()) else {
        return Ok(RecipeFile::default());
    };
    let Ok(keys) = value.cast::<PyDict>() else {
        return RecipeFile::read(&value.extract::<PathBuf>()?).map_err(|error| from_dismax(&error));
    };
    let text: String = keys.py().import("json")?.call_method1("dumps", (keys,))?.extract()?;
    serde_json::from_str(&text).map_err(|error| PyValueError::new_err(format!("recipe: {error}")))
}

/// A name, or whether images are mirrored at random.
fn flip(options: &Bound<'_, PyDict>) -> PyResult<Option<Flip>> {
    let Some(value) = options.get_item("flip")?.filter(|value| !value.is_none()) else { return Ok(None) };
    if let Ok(random) = value.extract::<bool>() {
        return Ok(Some(if random { Flip::Random } else { Flip::None }));
    }
    let name: String = value.extract()?;
    name.parse().map(Some).map_err(|error: Error| PyValueError::new_err(format!("flip: {error}")))
}

/// An event as JSON.
fn describe(event: &TrainEvent<'_>) -> String {
    let value = match event {
        TrainEvent::Begin(plan) => {
            let TrainingPlan { options, train_rows, held_out_rows, selection_rows, left_out, finished_epochs, .. } =
                plan;
            json!({
                "event": "begin",
                "architecture": options.architecture.to_string(),
                "loss": options.loss.to_string(),
                "epochs": options.epochs,
                "finished_epochs": finished_epochs,
                "rows": train_rows,
                "held_out_rows": held_out_rows,
                "selection_rows": selection_rows,
                "left_out_rows": left_out.rows,
            })
        }
        TrainEvent::Epoch(record) => {
            let mut value = serde_json::to_value(record).expect("a record of numbers is JSON");
            if let Some(fields) = value.as_object_mut() {
                fields.insert("event".into(), "epoch".into());
            }
            value
        }
        TrainEvent::Uncalibrated(error) => json!({"event": "uncalibrated", "reason": reason(error)}),
    };
    value.to_string()
}

fn reason(error: &Error) -> String {
    Python::attach(|py| from_dismax(error).value(py).to_string())
}
