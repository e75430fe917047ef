//! How large the rows of a plan are.

use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};

/// Mean bytes of a row, at least 1, where statistics or the sizes of files tell.
///
/// DataFusion knows no sizes of columns with images. What such a row weighs in its file is near what it weighs in
/// memory: images are compressed already.
pub(super) fn mean(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    let known = statistics.total_byte_size.get_value().zip(statistics.num_rows.get_value());
    let known = known.and_then(|(bytes, rows)| bytes.checked_div(*rows)).map(|mean| mean as u64);
    known.into_iter().chain(of_files(plan)).max().map(|mean| mean.max(1))
}

/// The heaviest rows of the files below.
fn of_files(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let Some(scan) = plan.downcast_ref::<DataSourceExec>() else {
        return plan.children().into_iter().filter_map(of_files).max();
    };
    let files = scan.data_source().downcast_ref::<FileScanConfig>()?.file_groups.iter().flat_map(|group| group.iter());
    let (mut bytes, mut rows) = (0, 0);
    for file in files {
        rows += *file.statistics.as_ref()?.num_rows.get_value()? as u64;
        bytes += file.object_meta.size;
    }
    bytes.checked_div(rows)
}
