//! Work that goes to a certain worker, as a leaf of a plan that is carried out there.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as PlanResult, internal_err, not_impl_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use dismax::RowErrorCode;
use dismax::cancel::Cancel;
use dismax::dataset::PortableDataset;
use dismax::score_file::{PartCounts, PartOptions};
use dismax_udfs::ModelName;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;
use url::Url;

use crate::error::{Error, Result};
use crate::remote::run_on;

/// Answers that wait to be sent.
const AHEAD: usize = 2;

/// What a worker is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Work {
    /// To have a model at work.
    Prepare(Needed),
    /// To score a part of a dataset, and to write it where it belongs.
    Part(Box<Part>),
    /// To score a piece of a dataset, and to send the scores.
    Scan(Box<Scan>),
}

/// A model at work, as queries or runs need it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Needed {
    /// What messages call it.
    pub name: String,
    /// SHA-256 of its files.
    pub digest: String,
    /// The column that is scored, where a run names one.
    pub column: Option<String>,
    /// Most pixels of an image; the worker's own limit for queries.
    pub max_pixels: Option<u64>,
}

impl Needed {
    /// For queries.
    pub fn for_queries(model: &ModelName) -> Self {
        Self { name: model.name.clone(), digest: model.digest.clone(), column: None, max_pixels: None }
    }

    /// The model alone.
    pub fn model(&self) -> ModelName {
        ModelName { name: self.name.clone(), digest: self.digest.clone() }
    }
}

/// A piece of a dataset whose scores come back, in its order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Scan {
    /// Digest of the model.
    pub model: String,
    pub dataset: PortableDataset,
    /// The column that is scored, where one is named.
    pub column: Option<String>,
    /// Most pixels of an image.
    pub max_pixels: u64,
    /// Name of the observer that looks at the images.
    pub observer: String,
}

/// Scores of rows that follow each other.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ScanRows {
    /// For each row why it has no logits; none where it has.
    pub errors: Vec<Option<(RowErrorCode, String)>>,
    /// Logits `[N, C]`, or with features `[N, C + F]`, row-major.
    pub values: Vec<f32>,
    /// What the observer kept of each row, as bytes.
    pub observed: Vec<Vec<u8>>,
}

/// A part of a dataset.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Digest of the model.
    pub model: String,
    pub dataset: PortableDataset,
    /// The file to write: an absolute path or an address.
    pub target: String,
    pub options: PartOptions,
}

/// What a worker says about its work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// So many rows are done, and so many of them failed.
    Progress { rows: u64, failed: u64 },
    /// A part is whole.
    Part(PartCounts),
    /// The scores of some rows.
    Scan(ScanRows),
    /// All is done.
    End,
    /// It cannot be done. `elsewhere` says whether another worker may fare better.
    Failed { reason: String, elsewhere: bool },
}

/// Who carries work out.
pub(crate) trait Bench: fmt::Debug + Send + Sync {
    /// Does the work on the calling thread, and tells about it.
    fn work(&self, work: &Work, cancel: &Cancel, tell: &mut dyn FnMut(Answer));
}

/// Gives work to a worker, and hands its answers on as they come.
pub(crate) async fn carry_out(
    worker: &Url,
    work: Work,
    context: &Arc<TaskContext>,
    take: &mut impl FnMut(Answer),
) -> Result<()> {
    let mut answers = run_on(worker, Arc::new(WorkExec::new(work, None)), context).await?;
    while let Some(rows) = answers.next().await {
        for bytes in rows?.column(0).as_binary::<i32>().iter().flatten() {
            take(
                postcard::from_bytes(bytes)
                    .map_err(|error| Error::Config(format!("an answer was altered: {error}")))?,
            );
        }
    }
    Ok(())
}

/// A leaf that does work. Each answer is one row.
#[derive(Debug, Clone)]
pub(crate) struct WorkExec {
    work: Work,
    bench: Option<Arc<dyn Bench>>,
    properties: Arc<PlanProperties>,
}

impl WorkExec {
    fn new(work: Work, bench: Option<Arc<dyn Bench>>) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("answer", DataType::Binary, false)]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { work, bench, properties: Arc::new(properties) }
    }
}

/// Tells the coordinator, and notes when nobody listens any more.
struct Teller {
    schema: SchemaRef,
    sender: Sender<PlanResult<RecordBatch>>,
    cancel: Cancel,
}

impl Teller {
    fn tell(&self, answer: &Answer) {
        let bytes = postcard::to_stdvec(answer).expect("answers have no unknown lengths");
        let array = BinaryArray::from_vec(vec![bytes.as_slice()]);
        let row = RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(array)]);
        if self.sender.blocking_send(row.map_err(DataFusionError::from)).is_err() {
            self.cancel.cancel();
        }
    }
}

impl DisplayAs for WorkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.work {
            Work::Prepare(needed) => write!(f, "WorkExec: prepare model {}", needed.name),
            Work::Part(part) => write!(f, "WorkExec: write {}", part.target),
            Work::Scan(_) => write!(f, "WorkExec: score a piece of a dataset"),
        }
    }
}

impl ExecutionPlan for WorkExec {
    fn name(&self) -> &'static str {
        "WorkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => internal_err!("WorkExec has no inputs"),
        }
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let Some(bench) = self.bench.clone() else {
            return internal_err!("this process carries out no work of others");
        };
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), AHEAD);
        let teller = Teller { schema: self.schema(), sender: builder.tx(), cancel: Cancel::default() };
        let (work, cancel, listening) = (self.work.clone(), teller.cancel.clone(), builder.tx());
        // Work that says nothing for a while notices as well that nobody listens.
        let watched = teller.cancel.clone();
        let watch = tokio::spawn(async move {
            listening.closed().await;
            watched.cancel();
        });
        builder.spawn_blocking(move || {
            bench.work(&work, &cancel, &mut |answer| teller.tell(&answer));
            watch.abort();
            Ok(())
        });
        Ok(builder.build())
    }
}

/// Work as bytes.
#[derive(Debug, Clone)]
pub(crate) struct WorkCodec {
    bench: Option<Arc<dyn Bench>>,
}

impl WorkCodec {
    /// For coordinators.
    pub fn writing() -> Self {
        Self { bench: None }
    }

    /// For workers.
    pub fn reading(bench: Arc<dyn Bench>) -> Self {
        Self { bench: Some(bench) }
    }
}

impl PhysicalExtensionCodec for WorkCodec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> PlanResult<()> {
        let Some(exec) = node.downcast_ref::<WorkExec>() else { return not_impl_err!("{} is no work", node.name()) };
        serde_json::to_writer(bytes, &exec.work).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn try_decode(
        &self,
        bytes: &[u8],
        _: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let work = serde_json::from_slice(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Arc::new(WorkExec::new(work, self.bench.clone())))
    }
}
