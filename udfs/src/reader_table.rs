//! Whatever gives record batches, one after the other, as a table.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use crate::projected::Projected;

/// Record batches that are read before they are asked for.
const AHEAD: usize = 2;

/// One reading of a table.
pub type Reading = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Begins a reading: of how many rows its record batches should be at most, and of which columns, none meaning all. It
/// may give more rows and other columns than it was asked for.
type Begin = dyn Fn(usize, Option<&[usize]>) -> Result<Reading> + Send + Sync;

/// A table that is read from its beginning, in order, by one thread of the runtime that may block. A query reads the
/// columns that it needs.
pub struct ReaderTable {
    schema: SchemaRef,
    begin: Arc<Begin>,
}

impl ReaderTable {
    /// A table whose rows `begin` reads, every time anew. It is given the most rows that a record batch should have,
    /// and the columns that are wanted (none: all of them). Rows of all columns are fine as well.
    pub fn new(
        schema: SchemaRef,
        begin: impl Fn(usize, Option<&[usize]>) -> Result<Reading> + Send + Sync + 'static,
    ) -> Self {
        Self { schema, begin: Arc::new(begin) }
    }
}

impl fmt::Debug for ReaderTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ReaderTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projected = Projected::try_new(&self.schema, projection.cloned())?;
        let schema = Arc::clone(&projected.schema);
        let rows = Rows { begin: Arc::clone(&self.begin), projected };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(rows)], None, [], false, limit)?))
    }
}

/// The rows of a scan.
#[derive(Clone)]
struct Rows {
    begin: Arc<Begin>,
    projected: Projected,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("projected", &self.projected).finish_non_exhaustive()
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.projected.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.projected.schema), AHEAD);
        let (sender, this) = (builder.tx(), self.clone());
        builder.spawn_blocking(move || {
            for read in (this.begin)(context.session_config().batch_size(), this.projected.columns.as_deref())? {
                let rows = read.and_then(|read| this.projected.in_order(read));
                let failed = rows.is_err();
                if sender.blocking_send(rows).is_err() || failed {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}
