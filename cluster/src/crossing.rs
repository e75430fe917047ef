//! What crosses the network between the pieces of a plan.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::NetworkBoundaryExt;
use dismax::dataset::ImageColumn;
use dismax_udfs::ScoreExec;

/// Rows that go from one stage of a plan to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crossing {
    /// The stage that sends them.
    stage: usize,
    columns: Vec<String>,
    /// Those of the columns that may hold images.
    images: Vec<String>,
    /// Whether they are sent to be scored.
    to_be_scored: bool,
}

impl Crossing {
    /// A warning, where images are sent to be scored that could have been scored where they lie.
    pub fn warning(&self) -> Option<String> {
        (self.to_be_scored && !self.images.is_empty()).then(|| {
            format!(
                "images cross the network before they are scored (stage {}, {}); compute the scores in a subquery on the \
                 files, and join its result",
                self.stage,
                quoted(&self.images)
            )
        })
    }
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network: stage {} sends {}", self.stage, quoted(&self.columns))?;
        match (self.warning(), self.images.is_empty()) {
            (Some(warning), _) => write!(f, "\nwarning: {warning}"),
            (None, false) => write!(f, "; images among them: {}", quoted(&self.images)),
            (None, true) => Ok(()),
        }
    }
}

/// Whether a column has a type of images. A text column of paths has another one.
pub(crate) fn may_hold_images(field: &Field) -> bool {
    ImageColumn::from_field(field).is_ok_and(|column| !column.holds_paths())
}

/// All crossings of a plan, from the first stage on.
pub(crate) fn crossings(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<Crossing>> {
    let mut found = Vec::new();
    walk(plan, false, &mut found)?;
    found.sort_by_key(|crossing| crossing.stage);
    Ok(found)
}

fn walk(plan: &Arc<dyn ExecutionPlan>, below_score: bool, found: &mut Vec<Crossing>) -> Result<()> {
    if let Some(boundary) = plan.as_network_boundary() {
        let stage = boundary.input_stage();
        let schema = plan.schema();
        let name = |field: &FieldRef| field.name().clone();
        found.push(Crossing {
            stage: stage.num(),
            columns: schema.fields().iter().map(name).collect(),
            images: schema.fields().iter().filter(|field| may_hold_images(field)).map(name).collect(),
            to_be_scored: below_score,
        });
    }
    let below_score = below_score || plan.is::<ScoreExec>();
    plan.children().into_iter().try_for_each(|child| walk(child, below_score, found))
}

fn quoted(names: &[String]) -> String {
    match names.is_empty() {
        true => "row counts".into(),
        false => names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "),
    }
}

/// Whether a plan scores on this machine: outside of what is sent to workers.
pub(crate) fn scores_here(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut scores = false;
    plan.apply(|node| {
        if node.as_network_boundary().is_some() {
            return Ok(TreeNodeRecursion::Jump);
        }
        scores |= node.is::<ScoreExec>();
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(scores)
}
