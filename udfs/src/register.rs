//! One call that adds everything to a session.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::{TableFunction, TableFunctionImpl};
use datafusion::common::DataFusionError;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionContext;

use crate::aggregates;
use crate::exec::{LateFilters, SharedFeatures, SmallBatches};
use crate::function::Function;
use crate::functions::{self, ScoreFunction};
use crate::model_tables::{Kind, ModelTable};
use crate::models::{Models, Registry};
use crate::plan::{ScoreOnce, ScoringQueryPlanner};
use crate::table::{self, ScoreTable};
use crate::window;

/// Adds the models and all functions to a session. A second call replaces the models of the first.
///
/// Networks are built and their workers started here; the models' folders are not needed afterwards.
///
/// # Errors
/// A model that is not calibrated or gives other outputs here than where it was made, a device that is not there.
pub fn register(session: &SessionContext, models: Models) -> Result<(), dismax::Error> {
    let models = Arc::new(models.start()?);
    session.remove_optimizer_rule(ScoreOnce::NAME);
    let builder = SessionStateBuilder::new_from_existing(session.state());
    *session.state_ref().write() = install(builder, &models).build();
    Ok(())
}

/// The same for a session that is still being built.
///
/// # Errors
/// As [`register`].
pub fn extend(builder: SessionStateBuilder, models: Models) -> Result<SessionStateBuilder, dismax::Error> {
    Ok(install(builder, &Arc::new(models.start()?)))
}

/// The functions on their own, for a session that only takes functions: one behind DataFusion's C interface. Its plans
/// have no scoring nodes; that an image is scored once is left to the models' cache.
#[derive(Debug)]
pub struct Functions {
    /// Those of images.
    pub scalar: Vec<Arc<ScalarUDF>>,
    /// Those that measure: `ece`, `auroc` and so on.
    pub aggregate: Vec<Arc<AggregateUDF>>,
    /// `bh_reject`.
    pub window: Vec<Arc<WindowUDF>>,
}

impl Functions {
    /// All functions, which score with these models.
    ///
    /// # Errors
    /// As [`register`].
    pub fn try_new(models: Models) -> Result<Self, dismax::Error> {
        let models = Arc::new(models.start()?);
        Ok(Self {
            scalar: functions::all(&models).map(Arc::new).collect(),
            aggregate: aggregates::all().map(Arc::new).collect(),
            window: vec![Arc::new(window::bh_reject())],
        })
    }
}

/// The models of a session: those of the last [`register`] and what statements changed since.
pub(crate) fn registry_of(functions: &HashMap<String, Arc<ScalarUDF>>) -> Option<Arc<Registry>> {
    let function = functions.get(Function::Prediction.name())?.inner().downcast_ref::<ScoreFunction>()?;
    Some(Arc::clone(&function.models))
}

/// Puts the functions of these models in the place of those that the session has.
pub(crate) fn replace(session: &SessionContext, models: &Arc<Registry>) -> Result<(), DataFusionError> {
    let state = session.state_ref();
    let mut state = state.write();
    for function in functions::all(models) {
        state.register_udf(Arc::new(function))?;
    }
    for (name, table) in tables(models) {
        state.register_udtf(name, table);
    }
    Ok(())
}

/// The table functions.
fn tables(models: &Arc<Registry>) -> impl Iterator<Item = (&'static str, Arc<dyn TableFunctionImpl>)> {
    let score = Arc::new(ScoreTable { models: Arc::clone(models) }) as Arc<dyn TableFunctionImpl>;
    let about_models = Kind::ALL.map(|kind| {
        let table = ModelTable { kind, models: Arc::clone(models) };
        (kind.name(), Arc::new(table) as Arc<dyn TableFunctionImpl>)
    });
    about_models.into_iter().chain([(table::NAME, score)])
}

fn install(mut builder: SessionStateBuilder, models: &Arc<Registry>) -> SessionStateBuilder {
    let scalar = builder.scalar_functions().get_or_insert_default();
    scalar.extend(functions::all(models).map(Arc::new));
    builder.aggregate_functions().get_or_insert_default().extend(aggregates::all().map(Arc::new));
    builder.window_functions().get_or_insert_default().push(Arc::new(window::bh_reject()));
    for (name, table) in tables(models) {
        let function = Arc::new(TableFunction::new(name.into(), table));
        builder.table_functions().get_or_insert_default().insert(name.into(), function);
    }
    let others = builder.query_planner().take();
    let planner = Arc::new(ScoringQueryPlanner::beside(others));
    builder
        .with_query_planner(planner)
        .with_optimizer_rule(Arc::new(ScoreOnce))
        .with_physical_optimizer_rule(Arc::new(LateFilters))
        .with_physical_optimizer_rule(Arc::new(SmallBatches))
        .with_physical_optimizer_rule(Arc::new(SharedFeatures))
}
