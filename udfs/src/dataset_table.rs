//! Datasets that DataFusion has no reader for, as tables: folders of images, tar files, Delta tables.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use dismax::Dataset;
use dismax::dataset::{BatchSize, PortableDataset};

use crate::models::external;
use crate::projected::Projected;

/// Record batches that are read before they are asked for.
const AHEAD: usize = 2;

/// A dataset as a table. On one machine it is read from its beginning, in order; a session with [`Spread`] reads it in
/// pieces that others may take.
#[derive(Debug)]
pub struct DatasetTable {
    dataset: Dataset,
}

/// Extension of a session's configuration: tables are cut into as many partitions as the session has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread;

impl DatasetTable {
    /// The table of a dataset.
    pub fn new(dataset: Dataset) -> Self {
        Self { dataset }
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
        let spread = session.config().get_extension::<Spread>().is_some();
        let pieces = match spread {
            true => self.dataset.divided(session.config().target_partitions()),
            false => vec![self.dataset.clone()],
        };
        Ok(Arc::new(DatasetExec::try_new(pieces, projection.cloned(), limit)?))
    }
}

/// Reads datasets, one for each partition, each by one thread that may block.
#[derive(Debug, Clone)]
pub struct DatasetExec {
    /// At least one, all with one schema.
    pieces: Vec<Dataset>,
    projected: Projected,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DatasetExec {
    /// Of each piece at most `limit` rows are read.
    pub(crate) fn try_new(pieces: Vec<Dataset>, columns: Option<Vec<usize>>, limit: Option<usize>) -> Result<Self> {
        let Some(first) = pieces.first() else { return internal_err!("a dataset has at least one piece") };
        let projected = Projected::try_new(first.schema(), columns)?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&projected.schema)),
            Partitioning::UnknownPartitioning(pieces.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Self { pieces, projected, limit, properties: Arc::new(properties), metrics })
    }

    /// The same rows as `tasks` plans, each of which has as many partitions as this one.
    ///
    /// # Errors
    /// None so far: as [`DatasetTable::scan`].
    pub fn divided(&self, tasks: usize) -> Result<Vec<Self>> {
        let partitions = self.pieces.len();
        let mut pieces = self.pieces.iter().flat_map(|piece| piece.divided(tasks)).collect::<Vec<_>>().into_iter();
        (0..tasks)
            .map(|_| {
                let pieces = pieces.by_ref().take(partitions).collect();
                Self::try_new(pieces, self.projected.columns.clone(), self.limit)
            })
            .collect()
    }

    /// The files that are read: absolute paths and addresses.
    ///
    /// # Errors
    /// Inputs that only this process can read.
    pub fn places(&self) -> Result<Vec<String>> {
        let pieces = self.portable()?;
        Ok(pieces.iter().flat_map(PortableDataset::places).collect())
    }

    /// What another process needs to open the pieces.
    ///
    /// # Errors
    /// Inputs that only this process can read.
    pub(crate) fn portable(&self) -> Result<Vec<PortableDataset>> {
        self.pieces.iter().map(|piece| piece.to_portable().map_err(external)).collect()
    }

    /// Which columns are read, and how many rows at most.
    #[cfg(feature = "codec")]
    pub(crate) fn reads(&self) -> (Option<&[usize]>, Option<usize>) {
        (self.projected.columns.as_deref(), self.limit)
    }
}

impl DisplayAs for DatasetExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let inputs: usize = self.pieces.iter().map(|piece| piece.files().count()).sum();
        let columns: Vec<&str> = self.projected.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "DatasetExec: inputs={inputs}, partitions={}, columns=[{}]", self.pieces.len(), columns.join(", "))?;
        self.limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl ExecutionPlan for DatasetExec {
    fn name(&self) -> &'static str {
        "DatasetExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("DatasetExec has no inputs"),
        }
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Self { limit, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(dataset) = self.pieces.get(partition).cloned() else {
            return internal_err!("DatasetExec has no partition {partition}");
        };
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.projected.schema), AHEAD);
        let (sender, projected) = (builder.tx(), self.projected.clone());
        let (mut left, rows) = (self.limit.unwrap_or(usize::MAX), context.session_config().batch_size());
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        builder.spawn_blocking(move || {
            if left == 0 {
                return Ok(());
            }
            let chunks = dataset.read(BatchSize::from(rows), projected.columns.as_deref()).map_err(external)?;
            for chunk in chunks {
                let read = chunk.map_err(external).and_then(|chunk| projected.in_order(chunk.record_batch));
                let read = read.map(|read| read.slice(0, read.num_rows().min(left)));
                left -= read.as_ref().map_or(left, |read| read.num_rows());
                metrics.record_output(read.as_ref().map_or(0, |read| read.num_rows()));
                if sender.blocking_send(read).is_err() || left == 0 {
                    break;
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }
}

/// Opens the pieces that another process described.
///
/// # Errors
/// An input that is not there or not the same.
#[cfg(feature = "codec")]
pub(crate) fn opened(pieces: &[PortableDataset]) -> Result<Vec<Dataset>> {
    pieces.iter().map(|piece| piece.open(&dismax::cancel::Cancel::default()).map_err(external)).collect()
}
