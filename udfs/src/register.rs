//! One call that adds everything to a session.

use std::sync::Arc;

use datafusion::catalog::TableFunction;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionContext;

use crate::aggregates;
use crate::exec::{LateFilters, SmallBatches};
use crate::functions;
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
    /// Those that score images.
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

fn install(mut builder: SessionStateBuilder, models: &Arc<Registry>) -> SessionStateBuilder {
    let scalar = builder.scalar_functions().get_or_insert_default();
    scalar.extend(functions::all(models).map(Arc::new));
    builder.aggregate_functions().get_or_insert_default().extend(aggregates::all().map(Arc::new));
    builder.window_functions().get_or_insert_default().push(Arc::new(window::bh_reject()));
    let score = Arc::new(TableFunction::new(table::NAME.into(), Arc::new(ScoreTable { models: Arc::clone(models) })));
    builder.table_functions().get_or_insert_default().insert(table::NAME.into(), score);
    let others = builder.query_planner().take();
    let planner = Arc::new(ScoringQueryPlanner::beside(others));
    builder
        .with_query_planner(planner)
        .with_optimizer_rule(Arc::new(ScoreOnce))
        .with_physical_optimizer_rule(Arc::new(LateFilters))
        .with_physical_optimizer_rule(Arc::new(SmallBatches))
}
