//! `dismax_score('FILE or glob' [, model])`: files as a table with the scored columns appended.

use std::sync::Arc;
use std::thread;

use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::Expr;
use tokio::runtime::Handle;

use crate::dataset_table::DatasetTable;
use crate::files::{self, Named};
use crate::models::Registry;
use crate::scored::{self, ScoredOptions};

/// Name of the function.
pub(crate) const NAME: &str = "dismax_score";

/// The table function.
#[derive(Debug)]
pub(crate) struct ScoreTable {
    pub models: Arc<Registry>,
}

impl TableFunctionImpl for ScoreTable {
    fn call_with_args(&self, arguments: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let texts: Option<Vec<&str>> = arguments.exprs().iter().map(text).collect();
        let (files, model) = match texts.as_deref() {
            Some([files]) => (*files, None),
            Some([files, model]) => (*files, Some(*model)),
            _ => return plan_err!("{NAME}('FILE or glob' [, 'model']) takes one or two constant strings"),
        };
        let scoring = self.models.get(model)?;
        let table = open(files, arguments.session())?;
        let schema = table.schema();
        let input = scoring.model().input_column_in(&schema, None).map_err(|error| {
            plan_datafusion_err!(
                "{NAME}('{files}'): {error}; score a column yourself: SELECT *, dismax(COLUMN) FROM '{files}'"
            )
        })?;
        scored::require_free_names(&schema, scoring)?;
        let plan =
            scored::plan(table, &self.models, scoring, input.name(), (&ScoredOptions::default(), &scoring.columns))?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

fn text(argument: &Expr) -> Option<&str> {
    match argument {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// The files as a table. Finding out their schema is asynchronous and planning is not, so a thread waits for it.
fn open(name: &str, session: &dyn Session) -> Result<Arc<dyn TableProvider>> {
    let Some(state) = session.as_any().downcast_ref::<datafusion::execution::SessionState>() else {
        return plan_err!("{NAME} needs a session of DataFusion's own kind");
    };
    let runtime = Handle::try_current().ok();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            // Object stores over a network need the runtime of the caller.
            let _runtime = runtime.as_ref().map(Handle::enter);
            futures::executor::block_on(async {
                let url = match files::named(name).await? {
                    Named::Dataset(dataset) => {
                        return Ok(Arc::new(DatasetTable::new(dataset)) as Arc<dyn TableProvider>);
                    }
                    Named::Files(url) => url,
                };
                if files::is_missing(&url, state).await {
                    return plan_err!("{NAME}('{name}'): there is no such file");
                }
                Ok(Arc::new(files::open(url, state).await?) as Arc<dyn TableProvider>)
            })
        });
        waiting.join().map_err(|_| exec_datafusion_err!("reading the schema of '{name}' failed"))?
    })
}
