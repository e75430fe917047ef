//! Scoring on several machines.
//!
//! A worker is a process with models ([`serve`]). A coordinator knows the addresses of workers ([`Cluster`]) and gives
//! them two kinds of work:
//!
//! - **Queries.** [`join`] makes a session's queries run on the workers: datafusion-distributed cuts the finished
//!   execution plan, so that what is scored, and how often, is what the plan for one machine says. Images are read and
//!   scored by the worker that has their piece of the scan; scores cross the network.
//! - **Datasets.** [`score_to_parts`] has workers write the parts of a folder, each a plan for one worker. A part whose
//!   worker is lost goes to another one.
//!
//! ```no_run
//! use datafusion::prelude::SessionContext;
//! use dismax::model::Model;
//! use dismax_cluster::{Cluster, Security, join};
//! use dismax_udfs::Models;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::connect(&["http://127.0.0.1:7070", "http://127.0.0.1:7071"], Security::default()).await?;
//! let session = dismax_udfs::with_file_tables(SessionContext::new());
//! let models = Models::new().with("cifar10", Model::read("models/cifar10-resnet20")?).started_late();
//! dismax_udfs::register(&session, models)?;
//! join(&session, &cluster)?;
//! session.sql("SELECT dismax_prediction(img), count(*) FROM 'photos/*.parquet' GROUP BY 1").await?.show().await?;
//! # Ok(())
//! # }
//! ```

mod channels;
mod cluster;
mod crossing;
mod error;
mod info;
mod jobs;
mod parts;
mod planner;
mod query;
mod remote;
mod scanner;
mod security;
mod session;
mod spread;
mod tasks;
mod token;
mod work;
mod worker;
mod workers;

pub use self::channels::worker_of;
pub use self::cluster::Cluster;
pub use self::error::{Error, Result};
pub use self::info::{RELEASE, WorkerInfo};
pub use self::parts::score_to_parts;
pub use self::scanner::RemoteScanner;
pub use self::security::Security;
pub use self::session::join;
pub use self::token::Token;
pub use self::worker::{WorkerOptions, serve};
