//! A table with the scored columns appended: a view, so that what a query does not need is neither read nor computed,
//! and predicates and limits go where they belong.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result, plan_datafusion_err};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF, lit};
use dismax::columns::{Columns, ScoredColumn};
use dismax::dataset::InputColumn;
use dismax::stage::Stage;

use crate::function::{Alpha, Parameter};
use crate::functions::ScoreFunction;
use crate::models::{Models, Registry, ScoringModel, external};
use crate::output::Output;
use crate::scoring::ScoreCache;

/// What is appended to a table, and how the images in it are found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScoredOptions {
    /// Column that the model scores; the only one that fits where none is named.
    pub column: Option<String>,
    /// Goes in front of the names of the appended columns.
    pub prefix: String,
    /// Share of in-distribution rows that `is_ood` may flag, in (0, 1); the model's own where none is given.
    pub alpha: Option<f64>,
    /// Share of rows of each class whose true class may be missing in the column `prediction_set`; there is no such
    /// column where none is given.
    pub prediction_set: Option<f64>,
}

/// A plan that reads a table and appends what [`Columns`] appends, and the schema of its rows with the model's
/// metadata.
///
/// Each reading scores each image that is needed once, and remembers nothing. Plan it in a session that
/// [`register`](crate::register) has been called for, if only without models.
///
/// # Errors
/// A table without one column that the model scores, or with columns of the appended names; a model that is not
/// calibrated; an alpha that it has too few calibration rows for.
pub fn scored(
    table: Arc<dyn TableProvider>,
    stage: Arc<Stage>,
    options: &ScoredOptions,
) -> Result<(LogicalPlan, SchemaRef)> {
    let below = table.schema();
    let columns = Columns::try_new(&stage, &options.prefix).map_err(external)?;
    let columns = columns.with_alphas(options.alpha, options.prediction_set).map_err(external)?;
    let schema = columns.schema(&below).map_err(external)?;
    let input = stage.model().input_column_in(&below, options.column.as_deref()).map_err(external)?;
    if let InputColumn::Image(image) = &input {
        stage.load_options().require_paths(image).map_err(external)?;
    }
    let models = Models::new().with_cache(Arc::new(ScoreCache::new(0))).with_stage("model", stage);
    let models = Arc::new(models.start().map_err(external)?);
    let plan = plan(table, &models, models.get(None)?, input.name(), (options, &columns))?;
    Ok((plan, schema))
}

/// The plan for one of several models.
pub(crate) fn plan(
    table: Arc<dyn TableProvider>,
    models: &Arc<Registry>,
    model: &ScoringModel,
    image: &str,
    (options, columns): (&ScoredOptions, &Columns),
) -> Result<LogicalPlan> {
    let schema = table.schema();
    let plan = LogicalPlanBuilder::scan("files", provider_as_source(table), None)?;
    let column = |name: &str| Expr::Column(Column::new(Some("files"), name));
    // The names alone, by which messages and conditions speak of them.
    let mut exprs: Vec<Expr> = schema.fields().iter().map(|field| column(field.name()).alias(field.name())).collect();
    let outputs = ScoredColumn::all().map(|column| match (column, options.alpha) {
        (ScoredColumn::IsOod, Some(alpha)) => Output::IsOodAt(Alpha::new(alpha)),
        (column, _) => Output::Column(column),
    });
    let sets = options.prediction_set.map(|alpha| Output::PredictionSet(Alpha::new(alpha)));
    for (output, field) in outputs.chain(sets).zip(columns.fields()) {
        let function = ScoreFunction::new(output.function(), Arc::clone(models));
        let parameter = output.parameter().map(|parameter| match parameter {
            Parameter::Alpha(alpha) => lit(alpha.get()),
            Parameter::Count(count) => lit(count),
        });
        let arguments = [column(image)].into_iter().chain(parameter).chain([lit(model.name.clone())]);
        exprs.push(ScalarUDF::new_from_impl(function).call(arguments.collect()).alias(field.name()));
    }
    plan.project(exprs)?.build()
}

/// Columns that the files have already.
pub(crate) fn require_free_names(schema: &arrow::datatypes::Schema, model: &ScoringModel) -> Result<()> {
    let taken = model.columns.fields().iter().find(|field| schema.column_with_name(field.name()).is_some());
    match taken {
        None => Ok(()),
        Some(field) => Err(plan_datafusion_err!(
            "the files already have a column \"{}\"; name the new ones yourself: \
             SELECT *, dismax_prediction(image) AS mine FROM 'FILE'",
            field.name()
        )),
    }
}
