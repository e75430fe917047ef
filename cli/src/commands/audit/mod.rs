//! `dismax audit`.

mod args;
mod gate;
mod gate_args;
mod print;
mod run;

pub use self::args::Args;
pub use self::run::run;

pub const EXAMPLES: &str = "\
Examples:
  # Broken and odd files, duplicates
  dismax audit photos/ --out audit
  # With a model also unknown images, wrong labels, drift and calibration
  dismax audit photos/ --model model --out audit --force
  # Labels, groups by camera and by day, and leaks from the training images
  dismax audit test.parquet --model model --out audit --label label --group-by camera --time taken --reference train.parquet
  # In a pipeline: exit code 5 if a rule is broken by findings that the last audit did not have and nobody accepted
  dismax audit test.parquet --model model --out audit --fail-on 'leaked>0,unknown>1%,label_issue:high>0' \\
    --reference train.parquet --baseline last-audit --accept accepted.csv --junit audit.xml --markdown audit.md
  # The same rules on an audit that exists
  dismax audit --gate audit --fail-on 'broken>0'
  # More images like those that were marked as unknown in the report
  dismax audit photos/ --model model --out audit --force --unknown marks.csv
  # What a cleaned dataset has changed
  dismax audit --compare audit audit-cleaned --out changes

Every image is looked at once. The folder then has three files:
  report.html       to look at: one page that needs no other file and no network
  findings.parquet  one row per finding: file, row, kind, severity, score, evidence and more
  summary.json      the figures

Kinds of findings: unknown, label_issue, unseen_label, undecodable, truncated, empty, mislabelled_format, extreme_size,
extreme_aspect, near_black, near_white, near_uniform, blurred, grey, exact_duplicate, near_duplicate, leaked, leaked_near.
`dismax sql` reads findings.parquet; its columns file and row join it to the data. `dismax clean` removes what was found.

A rule of --fail-on is KIND[:SEVERITY]>N for findings, or >P% for rows; >= is possible. `broken` stands for undecodable,
truncated and empty, `any` for all kinds. A severity stands for itself and the more serious ones. A rule for what is not
looked for is an error: unknown needs --model, label_issue also labels, leaked and leaked_near a --reference.

A file of --accept is CSV with the columns image_digest and kind, and who, why and until (YYYY-MM-DD) where you like. The
marks that report.html exports are such a file too; of these, false alarms are accepted.";
