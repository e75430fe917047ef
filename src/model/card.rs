//! The model card: what a person should know before using the model.

use minijinja::{Environment, context};
use serde_json::Value;

use super::Model;
use crate::calibration::CalibrationScores;
use crate::error::{Error, Result};

pub(super) fn render(model: &Model) -> Result<String> {
    let fault = |error: minijinja::Error| Error::Internal(format!("model card: {error:#}"));
    let mut environment = Environment::new();
    environment.add_filter("percent", |share: f64| format!("{:.2} %", share * 100.0));
    environment.add_filter("four", |value: f64| format!("{value:.4}"));
    environment.add_filter("code", |text: String| format!("`{}`", text.replace('`', "'").replace('\n', " ")));
    environment.add_template("card", include_str!("card.md.jinja")).map_err(fault)?;
    let calibration = model.calibration().map(|calibration| {
        // The list of scores is for programs.
        let mut value = serde_json::to_value(calibration).unwrap_or(Value::Null);
        if let Some(map) = value.as_object_mut() {
            map.remove("scores");
        }
        let fallback: Vec<&str> = match &calibration.scores {
            CalibrationScores::AllRows(_) => Vec::new(),
            CalibrationScores::PerClass(scores) => scores
                .fallback_classes()
                .into_iter()
                .filter_map(|class| Some(model.classes().get(class)?.as_str()))
                .collect(),
        };
        let per_class = matches!(calibration.scores, CalibrationScores::PerClass(_));
        context! { per_class, fallback, threshold => calibration.scores.all().threshold(calibration.alpha), ..value }
    });
    environment
        .get_template("card")
        .and_then(|template| {
            template.render(context! {
                config => model.config(),
                calibration,
                metrics => model.metrics(),
                epochs => model.history().len(),
                last => model.history().last(),
            })
        })
        .map_err(fault)
}
