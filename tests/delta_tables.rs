//! Delta tables as datasets.

mod common;

use arrow::array::AsArray;
use common::datasets::{chunks, folder, labels, open};
use common::delta::{add, commit, creation, table};
use dismax::Error;

#[test]
fn the_newest_version_counts() {
    let folder = folder();
    table(folder.path());
    let dataset = open(folder.path()).expect("a table");
    assert_eq!(dataset.rows(), Some(5));
    let read = chunks(&dataset, 10, None);
    assert_eq!(labels(&read), [10, 11, 12, 20, 21]);
    let days = read.iter().map(|chunk| chunk.record_batch.column_by_name("day").expect("of the log"));
    let days: Vec<Option<String>> = days
        .flat_map(|days| days.as_string::<i32>().iter().map(|day| day.map(str::to_owned)).collect::<Vec<_>>())
        .collect();
    let day = || Some("a b".to_owned());
    assert_eq!(days, [day(), day(), day(), None, None]);
}

#[test]
fn a_partition_of_a_table_is_not_read_alone() {
    let folder = folder();
    table(folder.path());
    for part in ["day=a b", "**/*.parquet", "day=a b/*.parquet"] {
        let error = open(&folder.path().join(part)).expect_err("it holds a removed file");
        assert!(matches!(error, Error::DeltaTable { .. }) && error.to_string().contains("not read alone"), "{error}");
    }
}

#[test]
fn tables_whose_rows_are_not_those_of_their_files_are_refused() {
    let vectors = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}"#;
    let marked = r#"{"add":{"path":"x.parquet","partitionValues":{"day":"a"},"size":1,"modificationTime":0,"dataChange":true,"deletionVector":{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}K{vb[*k^","offset":4,"sizeInBytes":40,"cardinality":6}}}"#;
    let mapping = r#""delta.columnMapping.mode":"name""#;
    let mut with_vectors = creation(r#""delta.enableDeletionVectors":"true""#);
    with_vectors[0] = vectors.into();
    with_vectors.push(marked.into());
    let elsewhere = [creation(""), vec![add("s3://other/x.parquet", Some("a"))]].concat();
    let absolute = [creation(""), vec![add("/other/x.parquet", Some("a"))]].concat();
    let renamed = [creation(mapping), vec![add("x.parquet", Some("a"))]].concat();
    for (actions, text) in [
        (creation(""), "has no rows"),
        (with_vectors, "deletion vectors"),
        (elsewhere, "outside of its folder"),
        (vec!["{\"protocol\":".into()], "is a Delta table"),
        (renamed, "column mapping"),
        (absolute, "outside of its folder"),
    ] {
        let folder = folder();
        commit(folder.path(), 0, &actions);
        let error = open(folder.path()).expect_err(text);
        assert!(matches!(error, Error::DeltaTable { .. }) && error.to_string().contains(text), "{error}");
    }
}
