//! Scans of Parquet files that read some of the rows, told by their numbers.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err, plan_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::object_store::path::Path;
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, StatisticsArgs,
};

/// The rows to read of a file, and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileRows {
    pub read: Range<u64>,
    pub of: u64,
}

/// A scan of Parquet files of which only some rows are read. So a file with one row group can be read by several
/// workers, each of which reads its rows.
#[derive(Debug, Clone)]
pub struct RowRangesExec {
    /// Its files say nothing of rows, so that it can be written as bytes.
    scan: Arc<dyn ExecutionPlan>,
    /// For each file of each partition of the scan.
    rows: Vec<Vec<FileRows>>,
    /// The scan that reads these rows.
    reads: Arc<dyn ExecutionPlan>,
}

impl RowRangesExec {
    pub(crate) fn try_new(scan: Arc<dyn ExecutionPlan>, rows: Vec<Vec<FileRows>>) -> Result<Self> {
        let Some(config) = config_of(&scan) else { return plan_err!("only scans of files are read by rows") };
        let lengths = |groups: &[FileGroup]| groups.iter().map(FileGroup::len).collect::<Vec<_>>();
        if lengths(&config.file_groups) != rows.iter().map(Vec::len).collect::<Vec<_>>() {
            return internal_err!("each file of a scan has its rows");
        }
        let mut reads = config.clone();
        for (group, rows) in reads.file_groups.iter_mut().zip(&rows) {
            let files = group.iter().cloned().zip(rows).map(|(file, rows)| match rows.read == (0..rows.of) {
                true => file,
                false => file.with_extension(ParquetRowSelection::new(selection(rows))),
            });
            *group = FileGroup::new(files.collect());
        }
        let reads = DataSourceExec::from_data_source(reads);
        Ok(Self { scan, rows, reads })
    }

    /// A scan as `tasks` plans with as many partitions as it has, each of which reads about as many rows. None for
    /// scans that must be read as they are: of other files, of files whose rows are unknown, or whose order or limit
    /// counts.
    ///
    /// # Errors
    /// None so far: as [`RowRangesExec`] is built.
    pub fn divided(scan: &Arc<dyn ExecutionPlan>, tasks: usize) -> Result<Option<Vec<Arc<dyn ExecutionPlan>>>> {
        let Some(config) = config_of(scan) else { return Ok(None) };
        let is_plain = config.output_ordering.is_empty() && config.output_partitioning.is_none();
        if config.file_source.file_type() != "parquet" || !is_plain || config.preserve_order || config.limit.is_some() {
            return Ok(None);
        }
        let Some(files) = whole_files(config) else { return Ok(None) };
        let all: u64 = files.iter().map(|(_, rows)| *rows).sum();
        let partitions = config.file_groups.len();
        let share = |number: usize, of: usize, rows: u64| {
            let at = |number: usize| u64::try_from(u128::from(rows) * number as u128 / of as u128).unwrap_or(rows);
            at(number)..at(number + 1)
        };
        let plans = (0..tasks).map(|task| {
            let mine = within(&files, &share(task, tasks, all));
            // One partition keeps all workers of a stage busy; a file is read in one piece.
            let mut groups = vec![Vec::new(); partitions];
            let count = mine.len();
            for (number, piece) in mine.into_iter().enumerate() {
                groups[number * partitions / count].push(piece);
            }
            let rows = groups.iter().map(|group| group.iter().map(|(_, rows)| rows.clone()).collect()).collect();
            let mut config = config.clone();
            let files = |group: Vec<_>| FileGroup::new(group.into_iter().map(|(file, _)| file).collect());
            config.file_groups = groups.into_iter().map(files).collect();
            let scan = DataSourceExec::from_data_source(config) as Arc<dyn ExecutionPlan>;
            Ok(Arc::new(Self::try_new(scan, rows)?) as Arc<dyn ExecutionPlan>)
        });
        plans.collect::<Result<Vec<_>>>().map(Some)
    }

    /// The rows of each file of each partition.
    pub(crate) fn rows(&self) -> &[Vec<FileRows>] {
        &self.rows
    }

    /// The scan.
    pub fn scan(&self) -> &Arc<dyn ExecutionPlan> {
        &self.scan
    }
}

fn config_of(scan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    scan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

/// The files of a scan with their rows, where these are known. DataFusion may have cut files by bytes: such pieces are
/// one file.
fn whole_files(config: &FileScanConfig) -> Option<Vec<(PartitionedFile, u64)>> {
    let mut files = Vec::new();
    let mut read: HashMap<&Path, u64> = HashMap::new();
    for file in config.file_groups.iter().flat_map(FileGroup::iter) {
        let Precision::Exact(rows) = file.statistics.as_ref()?.num_rows else { return None };
        if !file.extensions.is_empty() {
            return None;
        }
        let bytes = file.range.as_ref().map_or(file.object_meta.size, |range| range.end.abs_diff(range.start));
        let before = read.entry(&file.object_meta.location).or_default();
        if *before == 0 {
            files.push((PartitionedFile { range: None, ..file.clone() }, rows as u64));
        }
        *before += bytes;
    }
    // A file that is read twice has its rows twice.
    files.iter().all(|(file, _)| read[&file.object_meta.location] == file.object_meta.size).then_some(files)
}

/// The parts of files whose rows are numbered together.
fn within<F: Clone>(files: &[(F, u64)], wanted: &Range<u64>) -> Vec<(F, FileRows)> {
    let mut first = 0;
    let mut found = Vec::new();
    for (file, rows) in files {
        let (start, end) = (wanted.start.clamp(first, first + rows), wanted.end.clamp(first, first + rows));
        if start < end {
            found.push((file.clone(), FileRows { read: start - first..end - first, of: *rows }));
        }
        first += rows;
    }
    found
}

fn selection(rows: &FileRows) -> RowSelection {
    let count = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
    let (before, read) = (count(rows.read.start), count(rows.read.end - rows.read.start));
    let behind = count(rows.of - rows.read.end);
    vec![RowSelector::skip(before), RowSelector::select(read), RowSelector::skip(behind)].into()
}

impl DisplayAs for RowRangesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let groups = config_of(&self.scan).map(|config| config.file_groups.as_slice()).unwrap_or_default();
        let of_file = |(file, rows): (&PartitionedFile, &FileRows)| {
            let name = file.object_meta.location.filename().unwrap_or_default();
            format!("{name} {}..{} of {}", rows.read.start, rows.read.end, rows.of)
        };
        let of_partition = |(files, rows): (&FileGroup, &Vec<FileRows>)| {
            format!("[{}]", files.iter().zip(rows).map(of_file).collect::<Vec<_>>().join(", "))
        };
        let rows: Vec<String> = groups.iter().zip(&self.rows).map(of_partition).collect();
        write!(f, "RowRangesExec: rows=[{}]", rows.join(", "))
    }
}

impl ExecutionPlan for RowRangesExec {
    fn name(&self) -> &'static str {
        "RowRangesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.scan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.scan]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(scan), true) => Ok(Arc::new(Self::try_new(scan, self.rows.clone())?)),
            _ => internal_err!("RowRangesExec has one input"),
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.reads.metrics()
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.reads.execute(partition, context)
    }

    /// Those of the scan are of all its rows.
    fn child_stats_requests(&self, _: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::Skip]
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(Arc::new(Statistics::new_unknown(&self.schema())))
    }
}
