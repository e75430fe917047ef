//! The nodes of this crate as bytes, for engines that send plans to other processes.
//!
//! A scoring node says which model scores, by name and digest; which process has that model is the business of a
//! [`StageSource`].

use std::fmt;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, internal_datafusion_err, not_impl_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalExprNode;
use dismax::dataset::PortableDataset;
use prost::Message;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use crate::dataset_table::{self, DatasetExec};
use crate::exec::ScoreExec;
use crate::function::{Alpha, Function, Parameter};
use crate::models::{ModelName, ScoringModel, StageSource, external};
use crate::output::Output;
use crate::row_ranges::{FileRows, RowRangesExec};

/// Writes and reads the nodes of this crate. It serves every engine that takes DataFusion's codecs.
#[derive(Debug, Clone)]
pub struct ScoreCodec {
    stages: Option<Arc<dyn StageSource>>,
}

impl ScoreCodec {
    /// For a process that makes plans and carries out none.
    pub fn writing() -> Self {
        Self { stages: None }
    }

    /// For a process that carries plans out.
    pub fn reading(stages: Arc<dyn StageSource>) -> Self {
        Self { stages: Some(stages) }
    }
}

#[derive(Clone, PartialEq, Message)]
struct NodeMessage {
    #[prost(oneof = "Node", tags = "1, 2, 3")]
    node: Option<Node>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Node {
    #[prost(message, boxed, tag = "1")]
    Score(Box<ScoreMessage>),
    #[prost(message, tag = "2")]
    Dataset(DatasetMessage),
    #[prost(message, tag = "3")]
    RowRanges(RowRangesMessage),
}

#[derive(Clone, PartialEq, Message)]
struct ScoreMessage {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "2")]
    model_digest: String,
    #[prost(message, optional, tag = "3")]
    image: Option<PhysicalExprNode>,
    #[prost(message, repeated, tag = "4")]
    outputs: Vec<OutputMessage>,
    /// Whether pooled features are asked for besides what the outputs need.
    #[prost(bool, tag = "5")]
    with_features: bool,
}

#[derive(Clone, PartialEq, Message)]
struct OutputMessage {
    /// Name of the function that gives it.
    #[prost(string, tag = "1")]
    function: String,
    /// Bits of the alpha that it is given.
    #[prost(fixed64, optional, tag = "2")]
    alpha: Option<u64>,
    /// Name of the column.
    #[prost(string, tag = "3")]
    column: String,
    /// How many classes.
    #[prost(uint32, optional, tag = "4")]
    count: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct DatasetMessage {
    /// `Vec<PortableDataset>` as JSON.
    #[prost(bytes, tag = "1")]
    pieces: Vec<u8>,
    #[prost(uint64, repeated, tag = "2")]
    columns: Vec<u64>,
    #[prost(bool, tag = "3")]
    all_columns: bool,
    #[prost(uint64, optional, tag = "4")]
    limit: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct RowRangesMessage {
    #[prost(message, repeated, tag = "1")]
    partitions: Vec<PartitionRows>,
}

/// Of each file the first row, the one behind the last, and the rows in all.
#[derive(Clone, PartialEq, Message)]
struct PartitionRows {
    #[prost(uint64, repeated, tag = "1")]
    rows: Vec<u64>,
}

impl PhysicalExtensionCodec for ScoreCodec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let node = if let Some(score) = node.downcast_ref::<ScoreExec>() {
            Node::Score(Box::new(self.of_score(score, converter)?))
        } else if let Some(dataset) = node.downcast_ref::<DatasetExec>() {
            Node::Dataset(of_dataset(dataset)?)
        } else if let Some(ranges) = node.downcast_ref::<RowRangesExec>() {
            Node::RowRanges(of_ranges(ranges))
        } else {
            return not_impl_err!("{} is none of dismax's nodes", node.name());
        };
        NodeMessage { node: Some(node) }.encode(bytes).map_err(|error| internal_datafusion_err!("{error}"))
    }

    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let message = NodeMessage::decode(bytes).map_err(|error| altered(&error))?;
        let input = || inputs.first().cloned().ok_or_else(|| altered(&"a node has lost its input"));
        match message.node {
            Some(Node::Score(message)) => self.score(&message, input()?, context, converter),
            Some(Node::Dataset(message)) => self.dataset(&message),
            Some(Node::RowRanges(message)) => ranges(&message, input()?),
            None => Err(altered(&"it is a node of another release")),
        }
    }
}

impl ScoreCodec {
    fn of_score(&self, score: &ScoreExec, converter: &dyn PhysicalProtoConverterExtension) -> Result<ScoreMessage> {
        let ModelName { name, digest } = score.model();
        let (image, outputs, with_features) = score.scores();
        let outputs = outputs.iter().map(|(output, column)| OutputMessage {
            function: output.function().name().into(),
            alpha: match output.parameter() {
                Some(Parameter::Alpha(alpha)) => Some(alpha.bits()),
                _ => None,
            },
            column: column.clone(),
            count: match output.parameter() {
                Some(Parameter::Count(count)) => Some(count),
                _ => None,
            },
        });
        let outputs = outputs.collect();
        let image = Some(converter.physical_expr_to_proto(image, self)?);
        Ok(ScoreMessage { model_name: name, model_digest: digest, image, outputs, with_features })
    }

    fn score(
        &self,
        message: &ScoreMessage,
        input: Arc<dyn ExecutionPlan>,
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(stages) = &self.stages else { return not_impl_err!("this session carries out no plans of others") };
        let name = ModelName { name: message.model_name.clone(), digest: message.model_digest.clone() };
        let stage = blocking(|| stages.stage(&name))?;
        let model = ScoringModel::try_new(name.name.clone(), stage, &stages.cache()).map_err(external)?;
        let image = message.image.as_ref().ok_or_else(|| altered(&"a scoring node has lost its image"))?;
        let decoding = PhysicalPlanDecodeContext::new(context, self);
        let image = converter.proto_to_physical_expr(image, &input.schema(), &decoding)?;
        let outputs = message.outputs.iter().map(output).collect::<Result<Vec<_>>>()?;
        outputs.iter().try_for_each(|(output, _)| output.check(&model.columns))?;
        let score = ScoreExec::try_new(input, image, Arc::new(model), outputs)?;
        Ok(Arc::new(score.asking_for_features(message.with_features)))
    }

    fn dataset(&self, message: &DatasetMessage) -> Result<Arc<dyn ExecutionPlan>> {
        let pieces: Vec<PortableDataset> = serde_json::from_slice(&message.pieces).map_err(|error| altered(&error))?;
        // Opening looks the files up, which says whether they are there.
        if let Some(stages) = &self.stages {
            pieces.iter().flat_map(PortableDataset::places).try_for_each(|place| stages.admit(&place))?;
        }
        let number = |number: &u64| usize::try_from(*number).map_err(|error| altered(&error));
        let columns = message.columns.iter().map(number).collect::<Result<Vec<_>>>()?;
        let limit = message.limit.as_ref().map(number).transpose()?;
        let columns = (!message.all_columns).then_some(columns);
        let opened = blocking(|| dataset_table::opened(&pieces))?;
        Ok(Arc::new(DatasetExec::try_new(opened, columns, limit)?))
    }
}

fn output(message: &OutputMessage) -> Result<(Output, String)> {
    let function = Function::ALL.into_iter().find(|function| function.name() == message.function);
    let parameter = match (message.alpha, message.count) {
        (Some(bits), _) => Some(Parameter::Alpha(Alpha::from_bits(bits))),
        (None, count) => count.map(Parameter::Count),
    };
    let output = function.and_then(|function| Output::of(function, parameter));
    let output = output.ok_or_else(|| altered(&format!("it asks for {}, which is no output", message.function)))?;
    Ok((output, message.column.clone()))
}

fn of_dataset(dataset: &DatasetExec) -> Result<DatasetMessage> {
    let pieces = serde_json::to_vec(&dataset.portable()?).map_err(|error| internal_datafusion_err!("{error}"))?;
    let (columns, limit) = dataset.reads();
    let all_columns = columns.is_none();
    let columns = columns.unwrap_or_default().iter().map(|column| *column as u64).collect();
    Ok(DatasetMessage { pieces, columns, all_columns, limit: limit.map(|limit| limit as u64) })
}

fn of_ranges(ranges: &RowRangesExec) -> RowRangesMessage {
    let of_file = |rows: &FileRows| [rows.read.start, rows.read.end, rows.of];
    let of_partition = |rows: &Vec<FileRows>| PartitionRows { rows: rows.iter().flat_map(of_file).collect() };
    RowRangesMessage { partitions: ranges.rows().iter().map(of_partition).collect() }
}

fn ranges(message: &RowRangesMessage, scan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let of_file = |rows: &[u64; 3]| match rows {
        [start, end, of] if start <= end && end <= of => Ok(FileRows { read: *start..*end, of: *of }),
        _ => Err(altered(&"rows of a file that it does not have")),
    };
    let of_partition = |partition: &PartitionRows| match partition.rows.as_chunks() {
        (files, []) => files.iter().map(of_file).collect::<Result<Vec<_>>>(),
        _ => Err(altered(&"a file has lost its rows")),
    };
    let rows = message.partitions.iter().map(of_partition).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(RowRangesExec::try_new(scan, rows)?))
}

/// Work that waits for a disk, a store or a device. Where the runtime has other threads, they go on meanwhile.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

fn altered(what: &dyn fmt::Display) -> DataFusionError {
    DataFusionError::Execution(format!("a plan from another process cannot be read: {what}"))
}
