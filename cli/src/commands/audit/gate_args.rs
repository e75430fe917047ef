//! Flags about findings that count.

use std::path::PathBuf;

use dismax_audit::Rule;

/// Flags about findings that count, and about files for those who look after them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Gate")]
pub struct GateArgs {
    /// Exit with code 5 if one of these rules is broken, such as 'leaked>0,unknown>1%,label_issue:high>0'.
    ///
    /// The folder is written all the same. See the end of this help for what a rule is.
    #[arg(long, value_name = "RULES", value_delimiter = ',', conflicts_with = "compare")]
    pub fail_on: Vec<Rule>,

    /// Look at the findings of this audit instead of making one.
    #[arg(long, value_name = "AUDIT", conflicts_with = "compare")]
    pub gate: Option<PathBuf>,

    /// An earlier audit: of its findings, those of the same kind about the same image do not count again.
    #[arg(long, value_name = "AUDIT", conflicts_with = "compare")]
    pub baseline: Option<PathBuf>,

    /// Accepted findings, which do not count: a CSV file, or the marks that a report exported. May be given for
    /// several.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub accept: Vec<PathBuf>,

    /// Write the findings that count as a file for --accept, to be edited: remove what you do not accept, say who and
    /// why.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub accept_template: Option<PathBuf>,

    /// Write the outcome as JUnit XML: a test for each rule, or for each kind without rules.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub junit: Option<PathBuf>,

    /// Write the outcome as Markdown, for a pull request or a job's summary.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub markdown: Option<PathBuf>,

    /// Write the findings that count as tasks for Label Studio, with the images in them. Reads the images again.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    pub label_studio: Option<PathBuf>,

    /// Name images by this and their path instead, for a Label Studio that has the files: '/data/local-files/?d='.
    #[arg(long, value_name = "URL", requires = "label_studio")]
    pub label_studio_prefix: Option<String>,
}
