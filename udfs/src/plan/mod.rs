//! Scoring as a node of the query's plan.
//!
//! DataFusion shares equal expressions within one plan node, not between a filter, a projection and an aggregate, so
//! each mention of an image would be decoded and scored again. [`ScoreOnce`] replaces all calls on one image and model
//! by columns of one [`ScoreNode`], placed above what removes rows and below what multiplies them. [`placement`] says
//! where,
//! [`ScorePlanner`] makes it an execution plan.

mod calls;
mod node;
mod placement;
mod planner;
mod rule;
mod top_k;

pub(crate) use self::planner::ScoringQueryPlanner;
pub use self::planner::{FinalPlanner, ScorePlanner, scoring_planner};
pub(crate) use self::rule::ScoreOnce;
