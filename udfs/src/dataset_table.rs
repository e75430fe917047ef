//! Datasets that DataFusion has no reader for, folders of images and tar files, as tables.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use dismax::Dataset;
use dismax::dataset::BatchSize;

/// Record batches that are read before they are asked for.
const AHEAD: usize = 2;

/// A dataset as a table. A query reads the columns that it needs.
#[derive(Debug)]
pub(crate) struct DatasetTable {
    dataset: Arc<Dataset>,
}

impl DatasetTable {
    pub fn new(dataset: Dataset) -> Self {
        Self { dataset: Arc::new(dataset) }
    }
}

#[async_trait]
impl TableProvider for DatasetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.dataset.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            None => self.schema(),
            Some(columns) => Arc::new(self.dataset.schema().project(columns)?),
        };
        let rows = session.config().batch_size();
        let rows = Rows { dataset: Arc::clone(&self.dataset), columns: projection.cloned(), schema, rows };
        let schema = Arc::clone(&rows.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(rows)], None, [], false, limit)?))
    }
}

/// One reading.
#[derive(Debug)]
struct Rows {
    dataset: Arc<Dataset>,
    columns: Option<Vec<usize>>,
    schema: SchemaRef,
    rows: usize,
}

impl Rows {
    /// A record batch with the columns in the order that was asked for: a reading gives them in the dataset's.
    fn in_order(&self, read: RecordBatch) -> Result<RecordBatch> {
        if read.schema_ref() == &self.schema {
            return Ok(read);
        }
        let columns = self.columns.as_deref().unwrap_or_default();
        let mut sorted = columns.to_vec();
        sorted.sort_unstable();
        let positions: Vec<usize> =
            columns.iter().map(|column| sorted.binary_search(column).expect("it is one of them")).collect();
        Ok(read.project(&positions)?.with_schema(Arc::clone(&self.schema))?)
    }
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), AHEAD);
        let sender = builder.tx();
        let this = Self {
            dataset: Arc::clone(&self.dataset),
            columns: self.columns.clone(),
            schema: Arc::clone(&self.schema),
            rows: self.rows,
        };
        builder.spawn_blocking(move || {
            let outer = |error: dismax::Error| DataFusionError::External(Box::new(error));
            for chunk in this.dataset.read(BatchSize::from(this.rows), this.columns.as_deref()).map_err(outer)? {
                let rows = chunk.map_err(outer).and_then(|chunk| this.in_order(chunk.record_batch));
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
