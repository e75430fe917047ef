//! The logical node.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::models::ScoringModel;
use crate::output::Output;

/// Its input's columns, then one for each output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScoreNode {
    pub input: Arc<LogicalPlan>,
    pub image: Expr,
    pub model: Arc<ScoringModel>,
    pub outputs: Vec<Output>,
    /// Begins the names of the output columns; no other node of the query has it.
    prefix: String,
    schema: DFSchemaRef,
}

impl ScoreNode {
    pub fn try_new(
        input: Arc<LogicalPlan>,
        image: Expr,
        model: Arc<ScoringModel>,
        outputs: Vec<Output>,
        prefix: String,
    ) -> Result<Self> {
        let fields =
            outputs.iter().map(|output| (None, Arc::new(output.field(&model.columns, name(&prefix, *output)))));
        let inputs = input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let schema = DFSchema::new_with_metadata(inputs.chain(fields).collect(), input.schema().metadata().clone())?
            // Rows are neither added nor removed.
            .with_functional_dependencies(input.schema().functional_dependencies().clone())?;
        Ok(Self { input, image, model, outputs, prefix, schema: Arc::new(schema) })
    }

    /// The same with these outputs as well.
    pub fn with_outputs(&self, more: &[Output]) -> Result<Self> {
        let mut outputs = self.outputs.clone();
        for output in more {
            if !outputs.contains(output) {
                outputs.push(*output);
            }
        }
        let (input, model) = (Arc::clone(&self.input), Arc::clone(&self.model));
        Self::try_new(input, self.image.clone(), model, outputs, self.prefix.clone())
    }

    /// The column of an output, which the node must have.
    pub fn column(&self, output: Output) -> Column {
        Column::new_unqualified(name(&self.prefix, output))
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    /// The node that a plan is, if it is one.
    pub fn of(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(Extension { node }) => node.as_any().downcast_ref(),
            _ => None,
        }
    }
}

fn name(prefix: &str, output: Output) -> String {
    format!("{prefix}_{output}")
}

impl UserDefinedLogicalNodeCore for ScoreNode {
    fn name(&self) -> &str {
        "DisMaxScore"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.image.clone()]
    }

    /// Predicates on other columns are cheap and go below.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.outputs.iter().map(|output| name(&self.prefix, *output)).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let outputs: Vec<_> = self.outputs.iter().map(|output| name(&self.prefix, *output)).collect();
        write!(f, "DisMaxScore: model={}, image={}, columns=[{}]", self.model.name, self.image, outputs.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Ok([image]), Ok([input])) = (<[Expr; 1]>::try_from(exprs), <[LogicalPlan; 1]>::try_from(inputs)) else {
            return internal_err!("DisMaxScore has one image and one input");
        };
        Self::try_new(Arc::new(input), image, Arc::clone(&self.model), self.outputs.clone(), self.prefix.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // The columns of the image are added by the caller.
        let inputs = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|column| *column < inputs).collect()])
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }
}

impl Hash for ScoreNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.input, &self.image, &self.model, &self.outputs, &self.prefix).hash(state);
    }
}

impl PartialOrd for ScoreNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |node: &Self| (node.prefix.clone(), node.outputs.clone(), node.model.name.clone());
        let order = key(self).cmp(&key(other));
        match order.is_eq() {
            true => self.input.partial_cmp(&other.input).filter(|order| !order.is_eq() || self == other),
            false => Some(order),
        }
    }
}
