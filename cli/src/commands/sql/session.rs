//! A session with models, in which files are tables.

use std::path::Path;

use datafusion::error::DataFusionError;
use datafusion::execution::config::SessionConfig;
use datafusion::prelude::SessionContext;
use dismax::model::Model;
use dismax::stage::StageOptions;
use dismax::{Error, Result};
use dismax_udfs::{Models, NoModel};

use super::args::Args;
use crate::args::ImageArgs;

/// The session that the flags ask for.
pub fn open(args: &Args) -> Result<SessionContext> {
    let images = ImageArgs { image: None, max_pixels: args.max_pixels, read_paths: false };
    let options: StageOptions = args.stage.options(&images);
    let mut models = Models::new().with_options(options);
    let mut names: Vec<String> = Vec::new();
    for argument in &args.models {
        let (name, folder) = named(argument)?;
        if names.contains(&name) {
            return Err(Error::Config(format!(
                "two models are called '{name}'; name them apart: --model first={folder} --model second=..."
            )));
        }
        models = models.with(&name, Model::read(folder)?);
        names.push(name);
    }
    let mut config = SessionConfig::new().with_information_schema(true);
    // Predicates decide which images are read at all, not only which are kept.
    config.options_mut().execution.parquet.pushdown_filters = true;
    config.options_mut().execution.parquet.reorder_filters = true;
    // As nanoseconds, times before 1677 and after 2262 would silently become others.
    config.options_mut().execution.parquet.coerce_int96 = Some("us".into());
    let session = dismax_udfs::with_file_tables(SessionContext::new_with_config(config));
    dismax_udfs::register(&session, models)?;
    Ok(session)
}

/// `NAME=MODEL`, or a folder that gives its own name.
fn named(argument: &str) -> Result<(String, &str)> {
    match argument.split_once('=') {
        // A folder may have the sign in its name.
        Some((name, folder)) if !Path::new(argument).exists() && !name.is_empty() => Ok((name.to_owned(), folder)),
        _ => {
            let folder = Path::new(argument);
            let last = folder.canonicalize().ok().and_then(|folder| Some(folder.file_name()?.to_owned()));
            let name = last.as_deref().or(folder.file_name()).map(|name| name.to_string_lossy().into_owned());
            let name =
                name.ok_or_else(|| Error::Config(format!("{argument}: give it a name: --model NAME={argument}")))?;
            Ok((name, argument))
        }
    }
}

/// A failed query as this program reports failures.
pub fn failure(error: DataFusionError) -> Error {
    let root = error.find_root();
    let message = root.to_string();
    match root {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(Error::Config(message)) => Error::Config(message.clone()),
            Some(Error::Cancelled) => Error::Cancelled,
            _ if inner.is::<NoModel>() => Error::Config(format!("{NoModel}; give one with --model")),
            _ => Error::data("query", inner.to_string()),
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
