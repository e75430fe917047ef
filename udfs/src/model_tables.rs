//! `dismax_models()` and `dismax_metrics()`: the models of a session, and the figures in their bundles, as tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::MemTable;
use dismax::calibration::Calibration;
use dismax::model::ImageInput;
use serde_json::Value;

use crate::models::{Registry, ScoringModel};

/// A table function without arguments.
#[derive(Debug)]
pub(crate) struct ModelTable {
    pub kind: Kind,
    pub models: Arc<Registry>,
}

/// What the rows are about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A row for each model.
    Models,
    /// A row for each figure of each model.
    Metrics,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Models, Self::Metrics];

    /// Name of the function.
    pub fn name(self) -> &'static str {
        match self {
            Self::Models => "dismax_models",
            Self::Metrics => "dismax_metrics",
        }
    }
}

impl TableFunctionImpl for ModelTable {
    fn call_with_args(&self, arguments: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        if !arguments.exprs().is_empty() {
            return plan_err!("{}() takes no arguments", self.kind.name());
        }
        let rows = match self.kind {
            Kind::Models => models(self.models.models())?,
            Kind::Metrics => metrics(self.models.models())?,
        };
        let schema: SchemaRef = rows.schema();
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
    }
}

fn models(models: &[Arc<ScoringModel>]) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&ScoringModel) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(models.iter().map(|model| of(model))))
    };
    let count = |of: &dyn Fn(&ScoringModel) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(models.iter().map(|model| of(model))))
    };
    let images = |model: &Arc<ScoringModel>| model.model().input().images().cloned();
    let optional = |of: &dyn Fn(ImageInput) -> String| -> ArrayRef {
        Arc::new(models.iter().map(|model| images(model).map(of)).collect::<StringArray>())
    };
    let size = |of: fn(ImageInput) -> u32| -> ArrayRef {
        Arc::new(models.iter().map(|model| images(model).map(of).map(i64::from)).collect::<Int64Array>())
    };
    let embeddings = models.iter().map(|model| model.model().input().embeddings().cloned());
    let dimensions = embeddings.map(|input| input.and_then(|input| i64::try_from(input.dimensions).ok()));
    let calibration = |of: fn(&Calibration) -> f64| -> ArrayRef {
        let values = models.iter().map(|model| model.model().calibration().map(of));
        Arc::new(values.collect::<Float64Array>())
    };
    let temperatures = models.iter().map(|model| model.model().calibration().map(|found| found.temperature));
    let sets = models.iter().map(|model| model.model().calibration().map(|found| found.prediction_sets.is_some()));
    let loaded = models.iter().map(|model| Some(model.stage_if_started().is_some()));
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("name", text(&|model| model.name.clone()), false),
        ("path", text(&|model| model.model().path().display().to_string()), false),
        ("digest", text(&|model| model.digest().to_owned()), false),
        ("architecture", optional(&|images| images.architecture.to_string()), true),
        ("loss", optional(&|images| images.loss.to_string()), true),
        ("classes", count(&|model| model.columns.classes() as i64), false),
        ("width", size(|images| images.preprocessing.width), true),
        ("height", size(|images| images.preprocessing.height), true),
        ("dimensions", Arc::new(dimensions.collect::<Int64Array>()), true),
        ("score", text(&|model| model.columns.score().to_string()), false),
        ("alpha", calibration(|found| found.alpha), true),
        ("temperature", Arc::new(temperatures.collect::<Float32Array>()), true),
        ("ece", calibration(|found| found.ece_after.value), true),
        ("calibration_rows", calibration_rows(models), true),
        ("prediction_sets", Arc::new(sets.collect::<BooleanArray>()), true),
        ("loaded", Arc::new(loaded.collect::<BooleanArray>()), false),
    ])?)
}

fn calibration_rows(models: &[Arc<ScoringModel>]) -> ArrayRef {
    let rows = models.iter().map(|model| i64::try_from(model.model().calibration()?.rows).ok());
    Arc::new(rows.collect::<Int64Array>())
}

fn metrics(models: &[Arc<ScoringModel>]) -> Result<RecordBatch> {
    let (mut names, mut sets, mut figures, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for model in models {
        for (set, value) in model.model().metrics() {
            each_figure(value, String::new(), &mut |figure, value| {
                names.push(model.name.clone());
                sets.push(set.clone());
                figures.push(figure);
                values.push(value);
            });
        }
    }
    let text = |values: Vec<String>| Arc::new(StringArray::from(values)) as ArrayRef;
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("model", text(names), false),
        ("set", text(sets), false),
        ("metric", text(figures), false),
        ("value", Arc::new(Float64Array::from(values)) as ArrayRef, false),
    ])?)
}

/// The numbers in a value; those of objects within it under both names, `outer.inner`. Lists are no figures.
fn each_figure(value: &Value, name: String, take: &mut impl FnMut(String, f64)) {
    match value {
        Value::Number(number) => take(name, number.as_f64().unwrap_or(f64::NAN)),
        Value::Object(inner) => inner.iter().for_each(|(key, value)| {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            each_figure(value, name, take);
        }),
        _ => {}
    }
}
