//! Which data a plan reads.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};

/// What the leaves of a plan read: files by their names, everything else by its kind, which says less.
#[derive(Debug, Default)]
pub(super) struct Sources {
    names: HashSet<String>,
    repeated: bool,
}

impl Sources {
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let children = plan.children();
        if children.is_empty() {
            return Self { names: names(plan), repeated: false };
        }
        let is_union = plan.is::<UnionExec>() || plan.is::<InterleaveExec>();
        let mut sources = Self::default();
        for child in children {
            let more = Self::of(child);
            sources.repeated |= more.repeated || is_union && sources.overlap(&more);
            sources.names.extend(more.names);
        }
        sources
    }

    /// Whether both may read the same rows.
    pub fn overlap(&self, other: &Self) -> bool {
        !self.names.is_disjoint(&other.names)
    }

    /// Whether a union reads the same rows more than once.
    pub fn repeated(&self) -> bool {
        self.repeated
    }
}

fn names(leaf: &Arc<dyn ExecutionPlan>) -> HashSet<String> {
    let scan = leaf.downcast_ref::<DataSourceExec>();
    let Some(files) = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>()) else {
        return HashSet::from([leaf.name().to_owned()]);
    };
    let store = &files.object_store_url;
    let locations = files.file_groups.iter().flat_map(|group| group.iter());
    locations.map(|file| format!("{store}{}", file.object_meta.location)).collect()
}
