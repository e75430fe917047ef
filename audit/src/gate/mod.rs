//! Rules for the findings of an audit, so that a pipeline goes on or stops: `leaked>0`, `unknown>1%`,
//! `label_issue:high>=10`.
//!
//! [`gate`] counts the findings of an audit's folder under each [`Rule`]; what was accepted, or was there already in an
//! earlier audit, does not count ([`ReviewOptions`](crate::ReviewOptions)). The [`GateReport`] can be written for
//! machines ([`GateReport::junit`]) and for people ([`GateReport::markdown`]).

mod count;
mod junit;
mod markdown;
mod report;
mod rule;

pub use self::count::gate;
pub use self::report::{Example, GateReport, KindCount, RuleResult};
pub use self::rule::Rule;
