//! A Delta table as its writers lay it out.

use std::fs;
use std::path::Path;

use dismax::dataset::WriteOptions;

use super::datasets::{rows, write};

/// Adds a version to the log of a table.
pub fn commit(folder: &Path, version: u64, actions: &[String]) {
    let log = folder.join("_delta_log");
    fs::create_dir_all(&log).expect("a folder");
    fs::write(log.join(format!("{version:020}.json")), actions.join("\n")).expect("a file");
}

/// The actions that make a table whose rows are those of [`rows`], in partitions by `day`.
pub fn creation(configuration: &str) -> Vec<String> {
    let image = r#"{"type":"struct","fields":[{"name":"bytes","type":"binary","nullable":true,"metadata":{}},{"name":"path","type":"string","nullable":true,"metadata":{}}]}"#;
    let fields = [("img", image), ("label", r#""long""#), ("day", r#""string""#)]
        .map(|(name, kind)| format!(r#"{{"name":"{name}","type":{kind},"nullable":true,"metadata":{{}}}}"#));
    let schema = format!(r#"{{"type":"struct","fields":[{}]}}"#, fields.join(",")).replace('"', r#"\""#);
    vec![
        r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#.into(),
        format!(
            r#"{{"metaData":{{"id":"5b8adf82-57e4-4782-968f-5df0c9c95cd0","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{schema}","partitionColumns":["day"],"createdTime":0,"configuration":{{{configuration}}}}}}}"#
        ),
    ]
}

/// The action that adds a file.
pub fn add(path: &str, day: Option<&str>) -> String {
    let day = day.map_or("\"\"".into(), |day| format!("\"{day}\""));
    format!(
        r#"{{"add":{{"path":"{path}","partitionValues":{{"day":{day}}},"size":1,"modificationTime":0,"dataChange":true}}}}"#
    )
}

/// Writes a table of two versions: rows 0 to 5 were replaced by rows 10 to 13 of day `a b`, rows 20 to 22 are of no
/// day.
pub fn table(folder: &Path) {
    for (name, range) in [("day=a b/old", 0..5), ("day=a b/new", 10..13), ("rest", 20..22)] {
        let path = folder.join(format!("{name}.parquet"));
        fs::create_dir_all(path.parent().expect("it was joined")).expect("a folder");
        write(&path, &[rows(range)], &WriteOptions::default());
    }
    let mut actions = creation("");
    actions.push(add("day=a%20b/old.parquet", Some("a b")));
    commit(folder, 0, &actions);
    let remove = r#"{"remove":{"path":"day=a%20b/old.parquet","deletionTimestamp":0,"dataChange":true}}"#;
    commit(folder, 1, &[remove.into(), add("day=a%20b/new.parquet", Some("a b")), add("rest.parquet", None)]);
}
