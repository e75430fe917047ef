//! Models of embeddings: fitted, and used by every command.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, ListArray};
use arrow::datatypes::{DataType, Field, Float32Type};

use crate::support::{Folder, cifar10_model, digits, dismax, read};

const LENGTH: usize = 24;

/// Numbers that look drawn.
fn number(row: usize, at: usize) -> f32 {
    ((row * 7919 + at * 104_729) % 1009) as f32 / 1009.0 - 0.5
}

/// An embedding of a class: class 3 is one that no model knows.
fn embedding(row: usize, class: usize) -> Vec<f32> {
    (0..LENGTH).map(|at| number(row, at) + if at % 4 == class { 0.5 } else { 0.0 }).collect()
}

fn class_of(row: usize) -> usize {
    row % 3
}

/// Labelled embeddings of three classes, from row `first` on.
fn labelled(folder: &Folder, name: &str, first: usize, rows: usize) -> String {
    let values = (first..first + rows).flat_map(|row| embedding(row, class_of(row)));
    let labels: Int64Array = (first..first + rows).map(|row| class_of(row) as i64).collect();
    folder.write(name, vec![("clip", fixed(values.collect())), ("label", Arc::new(labels))])
}

fn fixed(values: Vec<f32>) -> ArrayRef {
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    Arc::new(FixedSizeListArray::new(item, LENGTH as i32, Arc::new(Float32Array::from(values)), None))
}

/// A model of embeddings in `folder`.
fn model(folder: &Folder) -> String {
    let (train, model) = (labelled(folder, "train.parquet", 0, 900), folder.path("model"));
    dismax(&["train", &train, "--embedding", "clip", "--out", &model, "--validation", "0.2", "--quiet"]).ok();
    model
}

#[test]
fn every_command_takes_a_model_of_embeddings() {
    let folder = Folder::new();
    let model = model(&folder);
    let info = dismax(&["info", &model, "--json"]).json();
    assert_eq!(info["config"]["embedding"]["dimensions"], LENGTH);
    assert_eq!(info["calibration"]["rows"], 180);

    // Lists of any length, of which some cannot be scored.
    let mut lists: Vec<Option<Vec<Option<f32>>>> =
        (900..1200).map(|row| Some(embedding(row, class_of(row)).into_iter().map(Some).collect())).collect();
    (lists[0], lists[1], lists[2]) = (None, Some(vec![Some(1.0)]), Some(vec![Some(f32::NAN); LENGTH]));
    lists[3] = Some(vec![Some(0.0); LENGTH]);
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists));
    let labels: Int64Array = (900..1200).map(|row| class_of(row) as i64).collect();
    let mixed = folder.write("mixed.parquet", vec![("clip", lists), ("label", Arc::new(labels))]);
    let (out, one) = (folder.path("out.parquet"), folder.path("one.parquet"));
    let summary = dismax(&["score", &mixed, "--model", &model, "--out", &out, "--json"]).json();
    assert_eq!((summary["rows"].as_u64(), summary["failed"].as_u64()), (Some(300), Some(4)));
    let rows = read(&out);
    let errors = rows.column_by_name("error").expect("errors").as_string::<i32>().clone();
    let codes: Vec<&str> = (0..4).map(|row| errors.value(row).split(':').next().unwrap_or_default()).collect();
    assert_eq!(codes, ["null_embedding", "wrong_length", "non_finite_embedding", "zero_embedding"]);
    assert!((4..300).all(|row| errors.is_null(row)));
    // Neither workers nor the rows of a pass change a score.
    dismax(&["score", &mixed, "--model", &model, "--out", &one, "--workers", "1", "--batch-size", "3"]).ok();
    assert_eq!(read(&one).columns(), rows.columns());

    let unknown: Vec<f32> = (2000..2100).flat_map(|row| embedding(row, 3)).collect();
    let unknown = folder.write("unknown.parquet", vec![("clip", fixed(unknown))]);
    let evaluation = dismax(&["evaluate", "--model", &model, "--id", &mixed, "--ood", &unknown, "--json"]).json();
    assert!(evaluation["in_dist"]["accuracy"]["value"].as_f64().expect("a number") > 0.95, "{evaluation}");
    let auroc = evaluation["ood"][0]["scores"]["mds"]["auroc"].as_f64().expect("a number");
    assert!(auroc > 0.95, "{auroc}");

    let validation = labelled(&folder, "validation.parquet", 1200, 150);
    let calibrated = dismax(&["calibrate", &model, "--data", &validation, "--score", "mds", "--json"]).json();
    assert_eq!((calibrated["rows"].as_u64(), calibrated["score"].as_str()), (Some(150), Some("mds")));

    let (kept, rejected) = (folder.path("kept.parquet"), folder.path("rejected.parquet"));
    let arguments = ["filter", &unknown, "--model", &model, "--keep", "ood", "--out", &kept, "--rejected", &rejected];
    let filtered = dismax(&[&arguments[..], &["--json"]].concat()).json();
    assert!(filtered["kept"].as_u64().expect("a number") > 50, "{filtered}");

    let audit = folder.path("audit");
    let audited = dismax(&["audit", &mixed, "--model", &model, "--out", &audit, "--json"]).json();
    assert_eq!(audited["rows"], 300, "{audited}");
    let sql =
        format!("SELECT dismax_prediction(clip) AS class, count(*) AS n FROM '{validation}' GROUP BY 1 ORDER BY 1");
    let table = dismax(&["sql", "--model", &model, "--format", "csv", &sql]).ok().text();
    assert_eq!(table.lines().count(), 4, "{table}");
    let query = format!("SELECT dismax_prediction(label) FROM '{validation}'");
    let refused = dismax(&["sql", "--model", &model, &query]).refused(2);
    assert!(refused.contains("\"label\" is Int64") && refused.contains("embedding column"), "{refused}");
}

#[test]
fn what_no_head_can_be_fitted_to_is_refused() {
    let folder = Folder::new();
    let out = folder.path("model");
    let train = |input: &str| dismax(&["train", input, "--embedding", "clip", "--out", &out]).refused(3);
    let rows = |name: &str, labels: Vec<Option<i64>>| {
        let count = labels.len();
        let values = (0..count).flat_map(|row| embedding(row, class_of(row))).collect();
        let labels: ArrayRef = Arc::new(Int64Array::from(labels));
        folder.write(name, vec![("clip", fixed(values)), ("label", labels)])
    };
    let message = train(&rows("lonely.parquet", (0..20).map(|row| Some(i64::from(row == 7))).collect()));
    assert!(message.contains("class \"1\" has ") && message.contains("at least two"), "{message}");
    let message = train(&rows("one.parquet", vec![Some(1); 20]));
    assert!(message.contains("at least two classes"), "{message}");
    let message = train(&rows("none.parquet", vec![None; 20]));
    assert!(message.contains("all labels in \"label\" are null"), "{message}");
    let wide: ArrayRef =
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>((0..4).map(|_| Some(vec![Some(1.0); 5000]))));
    let wide =
        folder.write("wide.parquet", vec![("clip", wide), ("label", Arc::new(Int64Array::from(vec![0, 1, 0, 1])))]);
    let message = train(&wide);
    assert!(message.contains("\"clip\" has 5000 numbers a row; embeddings have at most 4096"), "{message}");
    let message = train(&digits("train"));
    assert!(message.contains("there is no column \"clip\"") && message.contains("--embedding"), "{message}");
    let message = dismax(&["train", &digits("train"), "--embedding", "image", "--out", &out]).refused(3);
    assert!(message.contains("\"image\" is Struct"), "{message}");
    let message = dismax(&["train", "x", "--embedding", "clip", "--out", &out, "--epochs", "3"]).refused(2);
    assert!(message.contains("--epochs") && message.contains("cannot be used with"), "{message}");

    // Rows that cannot be used are left out and counted; more numbers than rows are no hindrance.
    let labels = (0..20).map(|row| (row != 4).then_some(class_of(row) as i64)).collect();
    let input = rows("rows.parquet", labels);
    let run = dismax(&["train", &input, "--embedding", "clip", "--out", &out, "--json"]);
    assert_eq!(run.code, Some(1), "too few rows to calibrate: {}", run.stderr);
    assert!(
        run.stderr.contains("1 row left out") && run.stderr.contains("rows.parquet, row 4: no label"),
        "{}",
        run.stderr
    );
}

#[test]
fn models_and_columns_of_two_kinds_do_not_mix() {
    let folder = Folder::new();
    let model = model(&folder);
    let (out, test) = (folder.path("out.parquet"), labelled(&folder, "test.parquet", 900, 10));
    let score = |input: &str, model: &str| dismax(&["score", input, "--model", model, "--out", &out]).refused(3);
    let message = score(&digits("mixed"), &model);
    assert!(message.contains("no column fits: an embedding column holds lists"), "{message}");
    let message = score(&test, &cifar10_model());
    assert!(message.contains("no column fits: an image column"), "{message}");
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let short = FixedSizeListArray::new(item, 2, Arc::new(Float32Array::from(vec![1.0; 4])), None);
    let message = score(&folder.write("short.parquet", vec![("clip", Arc::new(short))]), &model);
    assert!(message.contains("\"clip\" has 2 numbers a row, but the model scores 24"), "{message}");
    let run = dismax(&["score", &test, "--model", &model, "--out", &out, "--image", "a", "--embedding", "b"]);
    assert!(run.refused(2).contains("cannot be used with"));
}
