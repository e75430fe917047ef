//! A session with models, in which files are tables.

use datafusion::error::DataFusionError;
use datafusion::execution::config::SessionConfig;
use datafusion::prelude::SessionContext;
use dismax::stage::StageOptions;
use dismax::{Error, Result};
use dismax_udfs::{Models, NoModel};
use tokio::runtime::Runtime;

use super::args::Args;
use crate::args::ImageArgs;
use crate::models;

/// The session that the flags ask for.
pub fn open(
    args: &Args,
    #[cfg_attr(not(feature = "cluster"), expect(unused_variables))] runtime: &Runtime,
) -> Result<SessionContext> {
    let images = ImageArgs { image: None, embedding: None, max_pixels: args.max_pixels, read_paths: false };
    let options: StageOptions = args.stage.options(&images);
    let mut models = Models::new().with_options(options);
    let named = models::named(&args.models)?;
    for (name, model) in models::in_folders(&args.model_folders, &named)? {
        models = models.with_on_demand(name, model);
    }
    for (name, model) in named {
        models = models.with(name, model);
    }
    #[cfg(feature = "cluster")]
    let cluster = args.cluster.connect(runtime)?;
    #[cfg(feature = "cluster")]
    if cluster.is_some() {
        if args.max_pixels != dismax::image::Limits::default().max_pixels {
            return Err(Error::Config("--max-pixels is the workers' own: give it to dismax worker".into()));
        }
        models = models.started_late();
    }
    let mut config = SessionConfig::new().with_information_schema(true);
    // Predicates decide which images are read at all, not only which are kept.
    config.options_mut().execution.parquet.pushdown_filters = true;
    config.options_mut().execution.parquet.reorder_filters = true;
    // As nanoseconds, times before 1677 and after 2262 would silently become others.
    config.options_mut().execution.parquet.coerce_int96 = Some("us".into());
    let session = dismax_udfs::with_file_tables(SessionContext::new_with_config(config));
    dismax_udfs::register(&session, models)?;
    #[cfg(feature = "cluster")]
    if let Some(cluster) = &cluster {
        dismax_cluster::join(&session, cluster)?;
    }
    Ok(session)
}

/// A failed query as this program reports failures.
pub fn failure(error: DataFusionError) -> Error {
    #[cfg(feature = "cluster")]
    let place = dismax_cluster::worker_of(&error).map(|worker| format!(" (on worker {worker})"));
    #[cfg(not(feature = "cluster"))]
    let place: Option<String> = None;
    let place = place.unwrap_or_default();
    let root = error.find_root();
    let message = format!("{root}{place}");
    match root {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(Error::Config(message)) => Error::Config(message.clone()),
            Some(Error::Cancelled) => Error::Cancelled,
            _ if inner.is::<NoModel>() => {
                Error::Config(format!("{NoModel}; give one with --model, or CREATE MODEL name FROM 'folder'"))
            }
            _ => Error::data("query", format!("{inner}{place}")),
        },
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Diagnostic(..)
        | DataFusionError::Collection(_) => Error::Config(message),
        _ => Error::data("query", message),
    }
}
