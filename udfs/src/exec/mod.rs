//! Scoring as an operator of the execution plan.

mod late_filters;
mod metrics;
mod row_bytes;
mod shared_features;
mod small_batches;
mod stream;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionMapping;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
    PushedDown,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, StatisticsArgs,
};
use dismax::dataset::InputColumn;

pub(crate) use self::late_filters::LateFilters;
use self::metrics::ScoreMetrics;
pub(crate) use self::shared_features::SharedFeatures;
pub(crate) use self::small_batches::SmallBatches;
pub use self::small_batches::sized_for_stages;
use self::stream::{PartitionStream, Scoring};
use crate::models::{ModelName, ScoringModel};
use crate::output::Output;

/// Streams its input through the model's stage and appends the outputs.
///
/// All partitions, and all other queries on the model, share its workers. Order and partitioning are the input's. A
/// partition keeps its share of what the stage can hold in flight, so that memory depends neither on rows nor on
/// partitions.
#[derive(Debug, Clone)]
pub struct ScoreExec {
    input: Arc<dyn ExecutionPlan>,
    image: Arc<dyn PhysicalExpr>,
    image_field: FieldRef,
    input_column: InputColumn,
    model: Arc<ScoringModel>,
    outputs: Vec<(Output, String)>,
    /// Whether pooled features are asked for, by an output or because another node of the plan needs those of the same
    /// images.
    with_features: bool,
    /// What nodes above will know while they run of the input's columns; `LateFilters` makes a filter of it.
    late_filters: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether the input is such a filter.
    filters_late: bool,
    schema: SchemaRef,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl ScoreExec {
    /// `outputs` with the names of their columns.
    pub(crate) fn try_new(
        input: Arc<dyn ExecutionPlan>,
        image: Arc<dyn PhysicalExpr>,
        model: Arc<ScoringModel>,
        outputs: Vec<(Output, String)>,
    ) -> Result<Self> {
        let image_field = image.return_field(&input.schema())?;
        let input_column = model.input_column(&image_field)?;
        let below = input.schema();
        let mut fields: Vec<FieldRef> = below.fields().to_vec();
        fields.extend(outputs.iter().map(|(output, name)| Arc::new(output.field(&model.columns, name.clone()))));
        let schema = Arc::new(Schema::new_with_metadata(fields, below.metadata().clone()));

        let columns: Vec<usize> = (0..below.fields().len()).collect();
        let mapping = ProjectionMapping::from_indices(&columns, &below)?;
        let order = input.equivalence_properties();
        let properties = PlanProperties::new(
            order.project(&mapping, Arc::clone(&schema)),
            input.output_partitioning().project(&mapping, order),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        let with_features = outputs.iter().any(|(output, _)| output.needs_features());
        Ok(Self {
            input,
            image,
            image_field,
            input_column,
            model,
            outputs,
            with_features,
            late_filters: Vec::new(),
            filters_late: false,
            schema,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: Arc::new(properties),
        })
    }

    /// What scores the images: a model by its name in the query and its digest.
    pub fn model(&self) -> ModelName {
        self.model.name()
    }

    /// The same, which asks for pooled features besides what its outputs need.
    pub(crate) fn asking_for_features(self, too: bool) -> Self {
        Self { with_features: self.with_features || too, ..self }
    }

    /// The images that are scored, the columns that their scores become, and whether pooled features are asked for.
    #[cfg(feature = "codec")]
    pub(crate) fn scores(&self) -> (&Arc<dyn PhysicalExpr>, &[(Output, String)], bool) {
        (&self.image, &self.outputs, self.with_features)
    }

    /// Columns of the input that a filter from above may speak of. Filters are moved by the names of their columns, so
    /// that of two columns with one name neither can be meant.
    fn movable_columns(&self) -> HashSet<usize> {
        let below = self.input.schema();
        let is_unique = |name: &str| below.fields().iter().filter(|field| field.name() == name).count() == 1;
        (0..below.fields().len()).filter(|column| is_unique(below.field(*column).name())).collect()
    }

    fn scoring(&self) -> Scoring {
        Scoring {
            image: Arc::clone(&self.image),
            image_field: Arc::clone(&self.image_field),
            input_column: self.input_column.clone(),
            model: Arc::clone(&self.model),
            outputs: self.outputs.clone(),
            with_features: self.with_features,
            schema: Arc::clone(&self.schema),
        }
    }

    /// Rows of a record batch that the stage takes at once; any number where none was started.
    fn batch_rows(&self) -> usize {
        let Some(stage) = self.model.stage_if_started() else { return usize::MAX };
        let fitting = row_bytes::mean(&self.input).map_or(u64::MAX, |mean| stage.max_chunk_bytes() as u64 / mean);
        usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, stage.max_chunk_rows())
    }
}

impl DisplayAs for ScoreExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let outputs: Vec<&str> = self.outputs.iter().map(|(_, name)| name.as_str()).collect();
        let outputs = outputs.join(", ");
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "ScoreExec: model={}, image={}, columns=[{outputs}]", self.model.name, self.image)
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "model={}", self.model.name)?;
                writeln!(f, "image={}", self.image)?;
                writeln!(f, "columns={outputs}")
            }
        }
    }
}

impl ExecutionPlan for ScoreExec {
    fn name(&self) -> &'static str {
        "ScoreExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// One partition keeps all workers busy.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        for expr in std::iter::once(&self.image).chain(&self.late_filters) {
            recursion = recursion.visit_sibling(|| f(expr))?;
        }
        Ok(recursion)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("ScoreExec has one input");
        };
        Ok(Arc::new(match options.children_properties {
            ChildrenPropertiesMode::Keep => {
                Self { input, metrics: ExecutionPlanMetricsSet::new(), ..Self::clone(&self) }
            }
            ChildrenPropertiesMode::Recompute => {
                let (image, model) = (Arc::clone(&self.image), Arc::clone(&self.model));
                let new =
                    Self::try_new(input, image, model, self.outputs.clone())?.asking_for_features(self.with_features);
                Self { late_filters: self.late_filters.clone(), filters_late: self.filters_late, ..new }
            }
        }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.model.working()?;
        // What is below reads no more than the stage takes: with photographs, batches of the session's size would be
        // gigabytes.
        let rows = self.batch_rows().min(context.session_config().batch_size());
        let small = TaskContext::new(
            context.task_id(),
            context.session_id(),
            context.session_config().clone().with_batch_size(rows),
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            context.runtime_env(),
        );
        let input = self.input.execute(partition, Arc::new(small))?;
        let partitions = self.properties.output_partitioning().partition_count();
        let metrics = ScoreMetrics::new(&self.metrics, partition);
        Ok(Box::pin(PartitionStream::try_new(self.scoring(), partitions, input, metrics)?))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let Some(input) = inputs.first() else { return internal_err!("ScoreExec has one input") };
        let mut statistics = input.as_ref().clone();
        statistics.total_byte_size = statistics.total_byte_size.to_inexact();
        statistics.column_statistics.extend(self.outputs.iter().map(|_| ColumnStatistics::new_unknown()));
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    /// Filters on columns of the input go below, those that joins and top-k sorts make while they run as well.
    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let child =
            ChildFilterDescription::from_child_with_allowed_indices(&filters, self.movable_columns(), &self.input)?;
        Ok(FilterDescription::new().with_child(child))
    }

    /// What joins and sorts know only while they run, scans use to leave out what they can. Each row is asked in a
    /// filter right below: an image costs more than any such question. `LateFilters` puts it there.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        results: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let movable = self.movable_columns();
        let is_late = |filter: &Arc<dyn PhysicalExpr>| {
            phase == FilterPushdownPhase::Post
                && !is_volatile(filter)
                && collect_columns(filter).iter().all(|column| movable.contains(&column.index()))
        };
        let open = results.parent_filters.iter().filter(|result| matches!(result.all(), PushedDown::No));
        let late_filters: Vec<_> = open.map(|result| Arc::clone(&result.filter)).filter(is_late).collect();
        let propagation = FilterPushdownPropagation::if_all(results);
        Ok(match late_filters.is_empty() {
            true => propagation,
            false => propagation.with_updated_node(Arc::new(Self { late_filters, ..self.clone() }) as _),
        })
    }

    /// A plan that is run again has new filters above; what the old ones know does not hold any more.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let filter = self.input.downcast_ref::<FilterExec>().filter(|_| self.filters_late);
        let input = filter.map_or(&self.input, FilterExec::input);
        Ok(Arc::new(Self {
            input: Arc::clone(input),
            late_filters: Vec::new(),
            filters_late: false,
            metrics: ExecutionPlanMetricsSet::new(),
            ..Self::clone(&self)
        }))
    }
}
