//! Statements, one after the other, into what was asked for.

use std::io;
use std::time::{Duration, Instant};

use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use dismax::cancel::Cancel;
use dismax::dataset::{DatasetWriter, WriteOptions};
use dismax::{Error, Result};
use dismax_udfs::{SessionStatement, parse_statements};
use futures::StreamExt;
use tokio::runtime::Runtime;

use super::args::{Args, Format};
use super::missing;
use super::print::Printer;
use super::session::failure;
use crate::context::Context;
use crate::text;
use crate::ui::Ui;

/// How often a running query looks whether it should stop.
const CANCEL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs statements in a session.
pub struct Runner {
    pub session: SessionContext,
    runtime: Runtime,
    pub ui: Ui,
    pub cancel: Cancel,
}

impl Runner {
    pub fn new(session: SessionContext, runtime: Runtime, context: &Context) -> Self {
        Self { session, runtime, ui: context.ui.clone(), cancel: context.cancel.clone() }
    }

    /// All statements of a script. With `--out` there must be rows of one statement, the last.
    pub fn script(&self, script: &str, args: &Args) -> Result<()> {
        let mut statements = parse_statements(script).map_err(failure)?;
        let last = statements.pop_back();
        for statement in statements {
            self.print(statement, args.format)?;
        }
        match (last, &args.out) {
            (None, _) => Err(Error::Config("there is no query; see --help for examples".into())),
            (Some(last), None) => self.print(last, args.format),
            (Some(last), Some(out)) => self.write(last, out, args.force),
        }
    }

    /// Prints the rows of a statement.
    pub fn print(&self, statement: SessionStatement, format: Format) -> Result<()> {
        self.wait(async {
            let mut rows = self.start(statement).await?;
            let mut printer = Printer::new(format, &rows.schema(), io::stdout());
            while let Some(batch) = rows.next().await {
                if !printer.write(batch.map_err(failure)?)? {
                    break;
                }
            }
            printer.finish()
        })
    }

    fn write(&self, statement: SessionStatement, out: &str, force: bool) -> Result<()> {
        let start = Instant::now();
        let written = self.wait(async {
            let mut rows = self.start(statement).await?;
            let options = WriteOptions { overwrite: force, ..WriteOptions::default() };
            let mut writer = DatasetWriter::create(out, &rows.schema(), &options)?;
            let mut written = 0;
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(failure)?;
                written += batch.num_rows() as u64;
                writer.write(&batch)?;
            }
            writer.finish()?;
            Ok(written)
        })?;
        self.ui.note(format!("{} in {}: {out}", text::rows(written), text::duration(start.elapsed().as_secs_f64())));
        Ok(())
    }

    async fn start(&self, statement: SessionStatement) -> Result<SendableRecordBatchStream> {
        let statement = match statement {
            SessionStatement::Sql(statement) => *statement,
            SessionStatement::Model(statement) => {
                return statement.run(&self.session).map_err(failure)?.execute_stream().await.map_err(failure);
            }
        };
        let state = self.session.state();
        let plan = state.statement_to_plan(statement.clone()).await;
        let plan = plan.map_err(|error| missing::file(&state, &statement, &error).unwrap_or_else(|| failure(error)))?;
        let frame = self.session.execute_logical_plan(plan).await.map_err(failure)?;
        frame.execute_stream().await.map_err(failure)
    }

    /// Waits for a query, or for the user to stop it; dropping it stops its workers.
    fn wait<T>(&self, query: impl Future<Output = Result<T>>) -> Result<T> {
        let stopped = async {
            while !self.cancel.is_cancelled() {
                tokio::time::sleep(CANCEL_INTERVAL).await;
            }
        };
        self.runtime.block_on(async {
            let (query, stopped) = (std::pin::pin!(query), std::pin::pin!(stopped));
            match futures::future::select(query, stopped).await {
                futures::future::Either::Left((result, _)) => result,
                futures::future::Either::Right(_) => Err(Error::Cancelled),
            }
        })
    }
}
