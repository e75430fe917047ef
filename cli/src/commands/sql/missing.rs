//! What to say of a table that is no file.

use std::path::Path;

use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::parser::Statement;
use dismax::Error;

/// Where planning a statement failed because a table was not found, and the name is or looks like a file's: why.
pub fn file(state: &SessionState, statement: &Statement, error: &DataFusionError) -> Option<Error> {
    let message = error.to_string();
    let tables = state.resolve_table_references(statement).ok()?;
    let catalog = &state.config_options().catalog;
    let missing = tables.into_iter().find(|table| {
        let full = table.clone().resolve(&catalog.default_catalog, &catalog.default_schema);
        message.contains(&format!("table '{full}' not found"))
    })?;
    why(&missing).map(Error::Config)
}

fn why(table: &TableReference) -> Option<String> {
    let name = table.to_string();
    let place = Path::new(&name);
    if !matches!(table, TableReference::Bare { .. }) {
        // photos.parquet without quotes is the table parquet in the schema photos.
        return place.exists().then(|| format!("put the file's name in single quotes: FROM '{name}'"));
    }
    if name.contains("://") {
        return None;
    }
    if place.is_dir() {
        let folder = name.trim_end_matches('/');
        return Some(format!(
            "{name} is a folder whose files are not all .parquet, .csv, .json or .arrow: query some of them, for example \
             FROM '{folder}/*.parquet'"
        ));
    }
    if place.exists() {
        return Some(format!(
            "{name}: this kind of file cannot be queried; .parquet, .csv, .json and .arrow can, by their extension"
        ));
    }
    if name.contains(['*', '?', '[']) {
        return Some(format!("{name}: no file matches"));
    }
    name.contains(['/', '.']).then(|| format!("{name}: there is no such file"))
}
