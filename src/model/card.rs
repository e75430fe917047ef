//! The model card: what a person should know before using the model.

use minijinja::Environment;
use serde_json::{Value, json};

use super::contents::Contents;
use super::history::TrainingHistory;
use crate::calibration::{CalibrationScores, UnknownExamples};
use crate::error::{Error, Result};

pub(super) fn render(model: &Contents) -> Result<String> {
    let fault = |error: minijinja::Error| Error::Internal(format!("model card: {error:#}"));
    let mut environment = Environment::new();
    environment.add_filter("percent", |share: f64| format!("{:.2} %", share * 100.0));
    environment.add_filter("four", |value: f64| format!("{value:.4}"));
    environment.add_filter("code", |text: String| {
        format!("`{}`", text.replace('`', "'").replace('\n', " ").replace('|', "\\|"))
    });
    environment.add_template("card", include_str!("card.md.jinja")).map_err(fault)?;
    let calibration = model.calibration.as_ref().map(|calibration| {
        let mut value = serde_json::to_value(calibration).unwrap_or(Value::Null);
        if let Some(map) = value.as_object_mut() {
            // The list of scores is for programs.
            map.remove("scores");
            map.insert("threshold".into(), json!(calibration.scores.all().threshold(calibration.alpha)));
            if let CalibrationScores::PerClass(scores) = &calibration.scores {
                let fallback =
                    scores.fallback_classes().into_iter().filter_map(|class| model.config.classes.get(class));
                map.insert("fallback".into(), json!(fallback.collect::<Vec<_>>()));
                map.insert("per_class".into(), json!(true));
            }
        }
        value
    });
    let context = json!({
        "config": &model.config,
        "calibration": calibration,
        "epochs": model.history.as_ref().map_or(0, |history| history.epochs.len()),
        "unknown": model.features.as_ref().and_then(|features| features.unknown()).map_or(0, UnknownExamples::len),
        "kept": model.history.as_ref().and_then(TrainingHistory::kept),
    });
    let template = environment.get_template("card").map_err(fault)?;
    let card = template.render(minijinja::value::Serde(context)).map_err(fault)?;
    // The template engine drops the last line's end.
    Ok(card + "\n")
}
