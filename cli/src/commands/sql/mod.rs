//! `dismax sql`.

mod args;
mod complete;
mod missing;
mod print;
mod run;
mod session;
mod shell;

use std::io::{self, IsTerminal, Read};

use dismax::{Error, Result};

pub use self::args::Args;
use self::run::Runner;
use crate::context::Context;
use crate::exit::Outcome;

pub const EXAMPLES: &str = "\
Examples:
  dismax sql --model model \"SELECT dismax_prediction(img), count(*) FROM 'photos/*.parquet' GROUP BY 1\"
  # The ten strangest images of a class
  dismax sql --model model \"SELECT img['path'], dismax_ood_score(img) FROM 'photos.parquet'
    WHERE dismax_prediction(img) = 'cat' ORDER BY 2 DESC LIMIT 10\"
  # How good is the model on labelled data? class_labels are numbers here, in the model's order
  dismax sql --model model \"SELECT label, ece(dismax_prediction(img) = name, dismax_confidence(img)) FROM 'test.parquet'
    JOIN 'classes.csv' USING (label) GROUP BY label\"
  # Two models in one query, the result as a file
  dismax sql --model old=models/old --model new=models/new --out differ.parquet \"SELECT * FROM 'photos.parquet'
    WHERE dismax_prediction(img, 'old') <> dismax_prediction(img, 'new')\"
  # Interactively, with history and completion; \\? helps
  dismax sql --model model

Functions of an image: dismax_prediction, dismax_confidence, dismax_probabilities, dismax_top_k(image, k),
dismax_prediction_set(image, alpha), dismax_ood_score, dismax_ood_p_value, dismax_is_ood(image [, alpha]), dismax_error, and
dismax for the appended columns as a struct. With several models the model's name is the last argument.
dismax_score('FILE') is a table of a file's rows with the scored columns. Without a model: dismax_image_info(image) and
dismax_hash_distance(a, b). Models: CREATE MODEL name FROM 'folder', DROP MODEL name, dismax_models(), dismax_metrics().
Aggregates: ece(correct, confidence), brier(is_positive, probability), auroc(is_positive, score), average_precision,
fpr_at_tpr. Window: bh_reject(p_value, q) OVER (). SHOW FUNCTIONS explains each.

However often a query mentions an image, it is decoded and scored once; EXPLAIN shows where.";

/// Runs the command.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let script = match (&args.query, &args.file) {
        (Some(query), _) => Some(query.clone()),
        (None, Some(file)) => Some(crate::text::read(file)?),
        (None, None) if io::stdin().is_terminal() => None,
        (None, None) => {
            let mut script = String::new();
            io::stdin().read_to_string(&mut script).map_err(|error| Error::io("stdin", error))?;
            Some(script)
        }
    };
    if script.is_none() && args.out.is_some() {
        return Err(Error::Config("--out needs a query: dismax sql --out FILE 'QUERY'".into()));
    }
    let runtime = crate::runtime()?;
    let session = session::open(args, &runtime)?;
    let runner = Runner::new(session, runtime, context);
    match script {
        Some(script) => runner.script(&script, args)?,
        None => shell::run(&runner, args.format)?,
    }
    Ok(Outcome::Done)
}
