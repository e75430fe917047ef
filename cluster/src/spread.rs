//! Scans of images in partitions, however small they are.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use crate::crossing::may_hold_images;

/// Cuts scans that read images into as many partitions as the session has. DataFusion does that for files of many rows,
/// and above what profits of it on one machine. A scan of one partition is work for one worker. The rules behind this
/// one put together what must be, and sort what must be sorted.
#[derive(Debug)]
pub(crate) struct SpreadScans;

impl PhysicalOptimizerRule for SpreadScans {
    fn name(&self) -> &str {
        "dismax_spread_scans"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if !node.children().is_empty() || !node.schema().fields().iter().any(|field| may_hold_images(field)) {
                return Ok(Transformed::no(node));
            }
            let node = unordered(node);
            let partitions = config.execution.target_partitions;
            if node.data.output_partitioning().partition_count() >= partitions {
                return Ok(node);
            }
            node.transform_data(|node| {
                let cut = node.repartitioned(partitions, config)?;
                Ok(cut.map_or_else(|| Transformed::no(node), Transformed::yes))
            })
        })
        .data()
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A scan that does not tell in which order its files are: to keep it, their rows could not be dealt out.
fn unordered(scan: Arc<dyn ExecutionPlan>) -> Transformed<Arc<dyn ExecutionPlan>> {
    let source = scan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    match source.and_then(|source| source.downcast_ref::<FileScanConfig>()) {
        Some(config) if !config.output_ordering.is_empty() => {
            let mut config = config.clone();
            (config.output_ordering, config.preserve_order) = (Vec::new(), false);
            Transformed::yes(DataSourceExec::from_data_source(config))
        }
        _ => Transformed::no(scan),
    }
}
