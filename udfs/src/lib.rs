//! DisMax inside SQL: [DataFusion](datafusion) functions that score images, each once per query.
//!
//! ```no_run
//! use datafusion::prelude::SessionContext;
//! use dismax::model::Model;
//! use dismax_udfs::Models;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let session = dismax_udfs::with_file_tables(SessionContext::new());
//! dismax_udfs::register(&session, Models::new().with("cifar10", Model::read("models/cifar10-resnet20")?))?;
//! let sql = "SELECT img['path'], dismax_prediction(img), dismax_ood_score(img) FROM 'photos.parquet' \
//!            WHERE dismax_is_ood(img) ORDER BY 3";
//! session.sql(sql).await?.show().await?;
//! # Ok(())
//! # }
//! ```
//!
//! | function | gives |
//! | --- | --- |
//! | `dismax_prediction(image [, model])` | name of the most probable class |
//! | `dismax_confidence(image [, model])` | its calibrated probability |
//! | `dismax_probabilities(image [, model])` | calibrated probability of every class |
//! | `dismax_top_k(image, k [, model])` | the k most probable classes with their probabilities |
//! | `dismax_prediction_set(image, alpha [, model])` | classes that it may be of: at most a share of alpha lacks its own |
//! | `dismax_embedding(image [, model])` | what the network's last stage gives |
//! | `dismax_ood_score(image [, model])` | out-of-distribution score: higher is more out-of-distribution |
//! | `dismax_ood_p_value(image [, model])` | conformal p-value: small is out-of-distribution |
//! | `dismax_is_ood(image [, alpha] [, model])` | whether the p-value is at most alpha |
//! | `dismax_error(image [, model])` | why the image could not be scored |
//! | `dismax(image [, model])` | all of these as a struct |
//! | `dismax_score('FILE or glob' [, model])` | table: the files' columns and all of these |
//! | `dismax_models()`, `dismax_metrics()` | tables: the models and their figures |
//! | `dismax_image_info(image)` | size, format, light, sharpness, hashes and more as a struct, without a model |
//! | `dismax_hash_distance(a, b)` | in how many bits two perceptual hashes differ |
//! | `ece(correct, confidence [, bins])`, `brier(is_positive, probability)` | aggregates: calibration error, Brier score |
//! | `auroc`, `average_precision`, `fpr_at_tpr` of `(is_positive, score)` | aggregates: how well a score ranks |
//! | `bh_reject(p_value, q) OVER (...)` | window: which rows Benjamini-Hochberg rejects |
//!
//! However often and wherever a query mentions an image, its plan has one scoring node for it and the model: above
//! predicates and limits that need no score, below joins that repeat rows. Nodes that read the same images share
//! scores. Where such a node cannot stand (an image that is a constant or from an outer query) the functions score what
//! they are given, with the same answer.
//!
//! [`sql`] and [`parse_statements`] know `CREATE MODEL name FROM 'folder'` and `DROP MODEL name` besides.
//!
//! [`SqlPredicate`] brings conditions in SQL to [`dismax::filter`].

mod aggregates;
mod chunks;
#[cfg(feature = "codec")]
mod codec;
mod constant;
mod dataset_table;
mod exec;
mod files;
mod function;
mod functions;
mod model_tables;
mod models;
mod output;
mod plan;
mod predicate;
mod projected;
mod reader_table;
mod register;
#[cfg(feature = "codec")]
mod row_ranges;
mod scored;
mod scoring;
mod seen;
mod statements;
mod stores;
mod table;
mod used;
mod window;

#[cfg(feature = "codec")]
pub use self::codec::ScoreCodec;
pub use self::dataset_table::{DatasetExec, DatasetTable, Spread};
pub use self::exec::{ScoreExec, sized_for_stages};
pub use self::files::with_file_tables;
pub use self::models::{ModelName, Models, NoModel, StageSource};
pub use self::plan::{FinalPlanner, ScorePlanner, scoring_planner};
pub use self::predicate::SqlPredicate;
pub use self::reader_table::{ReaderTable, Reading};
pub use self::register::{Functions, extend, register};
#[cfg(feature = "codec")]
pub use self::row_ranges::RowRangesExec;
pub use self::scored::{ScoredOptions, scored};
pub use self::scoring::ScoreCache;
pub use self::statements::{ModelStatement, SessionStatement, parse_statements, sql};
pub use self::stores::with_stores;
pub use self::used::{models_of, models_used};

// Compiles the programs of the page.
#[cfg(doctest)]
#[doc = include_str!("../../docs/sql.md")]
struct SqlPage;
