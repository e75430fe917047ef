//! DisMax inside SQL: [DataFusion](datafusion) functions that score images, each once per query.
mod chunks;
mod exec;
mod functions;
mod models;
mod output;
mod plan;
mod register;

pub use self::models::Models;
pub use self::plan::ScorePlanner;
pub use self::register::{extend, register};
