//! The flags of `dismax sql`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::args::StageArgs;
#[cfg(feature = "cluster")]
use crate::cluster::ClusterArgs;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For reading; the first 1,000 rows.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One object for each line.
    Json,
}

/// Flags of `dismax sql`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The query, or several separated by semicolons. Without one: an interactive shell, or standard input.
    #[arg(value_name = "QUERY", conflicts_with = "file")]
    pub query: Option<String>,

    /// Read the queries from this file.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// A model's folder, with the name for queries if there are several models [default name: the folder's].
    #[arg(long = "model", value_name = "[NAME=]MODEL")]
    pub models: Vec<String>,

    /// A folder of models: each of its folders that is a model, by its name. A model is loaded when a query needs it.
    #[arg(long = "models", value_name = "FOLDER")]
    pub model_folders: Vec<PathBuf>,

    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Table, conflicts_with = "out")]
    pub format: Format,

    /// Write the rows to this file instead: .parquet, .arrow (IPC file) or .arrows (IPC stream), by its extension.
    #[arg(long, value_name = "FILE")]
    pub out: Option<String>,

    /// Replace the file of --out if it exists.
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub stage: StageArgs,

    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Reject images with more pixels than this before they are decoded.
    #[arg(long, value_name = "PIXELS", default_value_t = dismax::image::Limits::default().max_pixels)]
    pub max_pixels: u64,
}
