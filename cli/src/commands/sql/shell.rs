//! The interactive shell.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use dismax::{Error, Result};
use dismax_udfs::parse_statements;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::args::Format;
use super::complete::SqlHelper;
use super::run::Runner;
use super::session::failure;
use crate::text;

const HELP: &str = "\
Write a query and end it with a semicolon; Tab completes names and paths.
  \\d            tables of this session; files are tables too: SELECT * FROM 'photos/*.parquet' LIMIT 5;
  \\d NAME       columns of a table or file
  \\df           functions on images and for audits
  \\dm           models; CREATE MODEL name FROM 'folder'; reads another one, DROP MODEL name; lets go of it
  \\q            leave (or Ctrl-D)
Ctrl-C ends a query that runs.";

const FUNCTIONS: &str = "\
SELECT DISTINCT routine_name AS function, function_type AS kind, syntax_example AS syntax FROM information_schema.routines \
WHERE routine_name LIKE 'dismax%' OR routine_name IN ('ece', 'brier', 'auroc', 'average_precision', 'fpr_at_tpr', 'bh_reject') \
ORDER BY 2 DESC, 1";

const MODELS: &str = "SELECT name, architecture, classes, score, alpha, loaded, path FROM dismax_models()";

/// Reads and runs queries until the user leaves. A query that fails does not end the shell.
pub fn run(runner: &Runner, format: Format) -> Result<()> {
    let fault = |error: ReadlineError| Error::data("shell", error.to_string());
    let mut editor: Editor<SqlHelper, FileHistory> =
        Editor::with_config(Config::builder().auto_add_history(true).build()).map_err(fault)?;
    editor.set_helper(Some(SqlHelper::new(&runner.session)));
    let history = history_file();
    if let Some(history) = &history {
        // There is none the first time.
        let _ = editor.load_history(history);
    }
    runner.ui.note("Queries end with a semicolon; \\? helps, \\q leaves.");
    loop {
        match editor.readline("dismax> ") {
            Ok(line) => match line.trim() {
                "" => {}
                "\\q" | "quit" | "exit" => break,
                line => {
                    if let Err(error) = one(runner, line, format) {
                        runner.ui.incomplete(error.to_string());
                    }
                    runner.cancel.reset();
                }
            },
            // Ctrl-C on a line that is being written gives it up.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(fault(error)),
        }
    }
    if let Some(history) = &history {
        // A home that cannot be written to costs the history and nothing else.
        let _ = editor.save_history(history);
    }
    Ok(())
}

fn one(runner: &Runner, line: &str, format: Format) -> Result<()> {
    let table = line.strip_prefix("\\d ").map(|name| name.trim().trim_end_matches(';'));
    let query = match (line.trim_end_matches(';'), table) {
        ("\\?", _) => {
            runner.ui.note(HELP);
            return Ok(());
        }
        ("\\d", _) => "SHOW TABLES".to_owned(),
        ("\\df", _) => FUNCTIONS.to_owned(),
        ("\\dm", _) => MODELS.to_owned(),
        (_, Some(name)) => format!("DESCRIBE {name}"),
        (command, _) if command.starts_with('\\') => {
            return Err(Error::Config(format!("there is no command {command}; \\? lists them")));
        }
        _ => line.to_owned(),
    };
    for statement in parse_statements(&query).map_err(failure)? {
        let start = Instant::now();
        runner.print(statement, format)?;
        runner.ui.note(text::duration(start.elapsed().as_secs_f64()));
    }
    Ok(())
}

/// In the folder that the system keeps for such things.
fn history_file() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let folder = state.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".local/state")))?.join("dismax");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("sql-history.txt"))
}
