//! Completion of names and paths, and where a query ends.

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

/// What the line editor asks.
pub struct SqlHelper {
    names: Vec<String>,
    files: FilenameCompleter,
}

impl SqlHelper {
    /// Completes functions, tables and keywords of the session.
    pub fn new(session: &SessionContext) -> Self {
        let state = session.state();
        let mut names: Vec<String> = Vec::new();
        names.extend(state.scalar_functions().keys().map(|name| format!("{name}(")));
        names.extend(state.aggregate_functions().keys().map(|name| format!("{name}(")));
        names.extend(state.window_functions().keys().map(|name| format!("{name}(")));
        // Of these one takes a file.
        names.extend(state.table_functions().keys().map(|name| match name.as_str() {
            "dismax_score" => format!("{name}('"),
            _ => format!("{name}("),
        }));
        // No keyword of the parser.
        names.push("MODEL".to_owned());
        names.extend(ALL_KEYWORDS.iter().map(|keyword| (*keyword).to_owned()));
        names.sort();
        names.dedup();
        Self { names, files: FilenameCompleter::new() }
    }
}

impl Completer for SqlHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, context: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let before = line.get(..position).unwrap_or(line);
        // Inside quotes stands a file.
        if before.matches('\'').count() % 2 == 1 {
            return self.files.complete(line, position, context);
        }
        let start = before.rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |end| end + 1);
        let word = before.get(start..).unwrap_or_default();
        if word.is_empty() {
            return Ok((position, Vec::new()));
        }
        let fits = |name: &&String| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
        let pair = |name: &String| Pair { display: name.clone(), replacement: name.clone() };
        Ok((start, self.names.iter().filter(fits).map(pair).collect()))
    }
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext) -> Result<ValidationResult> {
        let line = context.input().trim();
        let is_whole =
            line.is_empty() || line.starts_with('\\') || line.ends_with(';') || matches!(line, "quit" | "exit");
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for SqlHelper {
    type Hint = String;
}

impl Highlighter for SqlHelper {}

impl Helper for SqlHelper {}
