//! Flags.

use std::path::PathBuf;

use dismax_audit::AuditOptions;

use super::gate_args::GateArgs;
use crate::args::{ImageArgs, InputArgs, LabelArgs, StageArgs, share};
#[cfg(feature = "cluster")]
use crate::cluster::ClusterArgs;

/// Flags of `dismax audit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images to audit: Parquet, Arrow or tar files, folders of these or of images, addresses, patterns, or - for
    /// an Arrow IPC stream or a tar file on standard input.
    #[arg(required_unless_present_any = ["compare", "gate"], conflicts_with_all = ["compare", "gate"], value_name = "INPUT")]
    pub inputs: Vec<String>,

    /// The model's folder. Without one, only what the images themselves show is reported.
    #[arg(long, conflicts_with_all = ["compare", "gate"])]
    pub model: Option<PathBuf>,

    /// The folder to write. It appears when the audit is complete.
    #[arg(long, value_name = "FOLDER", required_unless_present = "gate", conflicts_with = "gate")]
    pub out: Option<PathBuf>,

    /// Replace an existing audit at --out, and other files that are written.
    #[arg(long)]
    pub force: bool,

    /// Compare two audits instead: the older folder and the newer.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    pub compare: Option<Vec<PathBuf>>,

    /// Reference images: report drift of scores, confidences and classes, and images that are in both.
    ///
    /// Without a reference, scores are compared with those of the calibration rows.
    #[arg(long, num_args = 1.., value_name = "DATASET", conflicts_with_all = ["compare", "gate"])]
    pub reference: Vec<String>,

    /// Known unknown images: find more of their kinds.
    ///
    /// Images as a dataset, or marks that a report exported (CSV with the columns image_digest and mark). Images that
    /// are marked are left out of the test; those marked as unknown are findings.
    #[arg(long, num_args = 1.., value_name = "DATASET|MARKS.csv", requires = "model", conflicts_with_all = ["compare", "gate"])]
    pub unknown: Vec<String>,

    /// Columns to group rows by, such as a camera, a source or an annotator.
    #[arg(long, num_args = 1.., value_name = "COLUMN", conflicts_with_all = ["compare", "gate"])]
    pub group_by: Vec<String>,

    /// Column of dates or timestamps; rows are grouped by day.
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["compare", "gate"])]
    pub time: Option<String>,

    /// Accepted false discovery rate among unknown images, calibration gaps, drift tests and slices.
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = AuditOptions::default().fdr)]
    pub fdr: f64,

    /// Maximum number of thumbnails per kind of finding in the report.
    #[arg(long, value_name = "N", default_value_t = AuditOptions::default().top)]
    pub top: usize,

    /// Print the summary as JSON to standard output.
    #[arg(long)]
    pub json: bool,

    /// Write every row's measures to this file: size, format, light, contrast, sharpness, colour, perceptual hash,
    /// prediction, confidence, p-value, label probability.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["compare", "gate"])]
    pub rows: Option<String>,

    /// Append a line about the audit to history.jsonl in this folder; the report draws the audits before it.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["compare", "gate"])]
    pub history: Option<PathBuf>,

    #[command(flatten)]
    pub gate: GateArgs,

    #[command(flatten)]
    pub input: InputArgs,

    #[command(flatten)]
    pub images: ImageArgs,

    #[command(flatten)]
    pub labels: LabelArgs,

    #[command(flatten)]
    pub stage: StageArgs,

    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
