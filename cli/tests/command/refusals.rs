//! Input that cannot be used: each is refused with a message that names it and says what to do.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};

use crate::support::{Folder, cifar10_model, digits, dismax, pngs, read};

/// Runs, and checks the exit code and that the message has all the parts.
fn refused(arguments: &[&str], code: i32, parts: &[&str]) {
    let message = dismax(arguments).refused(code);
    let line = message.lines().last().unwrap_or_default();
    assert!(line.starts_with("dismax: ") || code == 2, "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

fn images(count: usize) -> ArrayRef {
    Arc::new(pngs(count))
}

fn numbers(numbers: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(numbers.into_iter().collect::<Int64Array>())
}

#[test]
fn columns_that_cannot_be_told() {
    let folder = Folder::new();
    let (model, out, out_file) = (cifar10_model(), folder.path("out"), folder.path("out.parquet"));
    let none = folder.write("none.parquet", vec![("a", numbers(0..3)), ("b", numbers(0..3))]);
    refused(
        &["score", &none, "--model", &model, "--out", &out_file],
        3,
        &["no column fits", "\"a\" (Int64)", "--image"],
    );
    let two = folder.write("two.parquet", vec![("left", images(3)), ("right", images(3)), ("label", numbers(0..3))]);
    refused(&["train", &two, "--out", &out], 3, &["left", "right", "--image"]);
    refused(&["score", &two, "--model", &model, "--out", &out_file, "--image", "middle"], 3, &["middle", "left"]);
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5; 3]));
    let wrong = folder.write("wrong.parquet", vec![("image", images(3)), ("label", floats)]);
    refused(&["train", &wrong, "--out", &out], 3, &["wrong.parquet, row 0", "label 0.5 is not a whole number"]);
    refused(&["train", &two, "--out", &out, "--image", "left", "--label", "c"], 3, &["\"c\"", "\"label\" (Int64)"]);
}

#[test]
fn datasets_that_cannot_be_learnt_from() {
    let folder = Folder::new();
    let out = folder.path("out");
    let one = folder.write("one.parquet", vec![("image", images(40)), ("label", numbers([3; 40]))]);
    refused(&["train", &one, "--out", &out], 3, &["one.parquet", "class"]);
    let schema = read(&digits("train")).schema();
    let empty = folder.write_batch("empty.parquet", &RecordBatch::new_empty(schema));
    refused(&["train", &empty, "--out", &out], 3, &["empty.parquet", "row"]);
    refused(&["train", "no-such-file.parquet", "--out", &out], 3, &["no-such-file.parquet"]);
    refused(&["train", &folder.path("*.arrow"), "--out", &out], 3, &["*.arrow"]);

    let little = ["train", &digits("train"), "--out", &out, "--validation", &digits("validation"), "--memory", "40KiB"];
    refused(&little, 2, &["216 held-out images", "--memory"]);

    let (train, validation) = (digits("train"), digits("validation"));
    let overlap = ["train", &train, &validation, "--out", &out, "--validation", &validation];
    refused(&overlap, 2, &["validation.parquet", "both"]);
    let renamed = |name: &str, names: &str| {
        let metadata =
            format!(r#"{{"info": {{"features": {{"label": {{"_type": "ClassLabel", "names": {names}}}}}}}}}"#);
        let columns: Vec<(&str, ArrayRef)> = vec![("image", images(40)), ("label", numbers((0..40).map(|n| n % 2)))];
        let record_batch = RecordBatch::try_from_iter(columns).expect("a record batch");
        let schema = record_batch.schema().as_ref().clone().with_metadata([("huggingface".into(), metadata)].into());
        folder.write_batch(name, &record_batch.with_schema(Arc::new(schema)).expect("the same columns"))
    };
    let (one, other) = (renamed("a.parquet", r#"["cat", "dog"]"#), renamed("b.parquet", r#"["dog", "cat"]"#));
    refused(&["train", &one, &other, "--out", &out], 3, &["b.parquet", "\"label\"", "same list"]);
    let twice = renamed("c.parquet", r#"["cat", "cat"]"#);
    refused(&["train", &twice, "--out", &out], 3, &["c.parquet", "two classes named \"cat\""]);
    refused(&["train", &train, "--out", &folder.path(""), "--force"], 2, &["not a model bundle"]);

    let bytes = std::fs::read(digits("train")).expect("a file");
    let truncated = folder.path("truncated.parquet");
    std::fs::write(&truncated, &bytes[..bytes.len() / 2]).expect("written");
    refused(&["train", &truncated, "--out", &out], 3, &["truncated.parquet"]);
    assert!(!std::path::Path::new(&out).exists());
}

#[test]
fn labels_that_the_model_does_not_have() {
    let folder = Folder::new();
    let (model, out) = (cifar10_model(), folder.path("out"));
    let beyond = folder.write("beyond.parquet", vec![("image", images(3)), ("label", numbers([0, 10, 1]))]);
    refused(&["evaluate", "--model", &model, "--id", &beyond], 3, &["beyond.parquet", "row 1", "10"]);
    refused(&["calibrate", &model, "--data", &beyond, "--out", &out], 3, &["beyond.parquet", "row 1"]);
    let negative = folder.write("negative.parquet", vec![("image", images(3)), ("label", numbers([0, 1, -1]))]);
    refused(&["train", &negative, "--out", &out], 3, &["negative.parquet", "row 2", "-1"]);
    // The digits name their classes, and none of them is an airplane: their numbers mean something else.
    let named = digits("test");
    let parts = ["none of the dataset's classes (", "is one of the model's (airplane"];
    refused(&["calibrate", &model, "--data", &named, "--out", &out], 3, &parts);
    let plain = folder.write("plain.parquet", vec![("image", images(3))]);
    refused(&["evaluate", "--model", &model, "--id", &plain], 3, &["--label"]);
}

#[test]
fn models_that_cannot_be_trusted() {
    let text = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replacen(from, to, 1).into_bytes()
    };
    let folder = Folder::new();
    let altered = folder.damaged_model("config.json", text("airplane", "aeroplane"));
    refused(&["info", &altered], 3, &["config.json", "digest"]);
    let folder = Folder::new();
    let missing = folder.damaged_model("README.md", |bytes| bytes);
    std::fs::remove_file(format!("{missing}/model.safetensors")).expect("removed");
    let out = folder.path("out.parquet");
    refused(&["score", &digits("test"), "--model", &missing, "--out", &out], 3, &["model.safetensors"]);
    refused(&["score", &digits("test"), "--model", "nowhere", "--out", &out], 3, &["nowhere"]);
    // A dataset is no model.
    refused(&["evaluate", "--model", &digits("test"), "--id", &digits("test")], 3, &["test.parquet"]);
}

#[test]
fn flags_that_make_no_sense() {
    let folder = Folder::new();
    let (model, out, train) = (cifar10_model(), folder.path("out.parquet"), digits("train"));
    let test = digits("test");
    let score = ["score", &test, "--model", &model, "--out", &out];
    refused(&[&score[..], &["--device", "cuda:63"]].concat(), 2, &["cuda"]);
    refused(&[&score[..], &["--device", "gpu"]].concat(), 2, &["gpu", "auto"]);
    refused(&[&score[..], &["--alpha", "5"]].concat(), 2, &["0.05"]);
    refused(&[&score[..], &["--batch-size", "0"]].concat(), 2, &["--batch-size"]);
    refused(&["score", &test, "--model", &model, "--out", &folder.path("out.csv")], 2, &["out.csv", ".parquet"]);
    refused(&["train", &train, "--out", &out, "--loss", "triplet"], 2, &["triplet", "dismax"]);
    refused(&["train", &train, "--out", &out, "--validation", "1.5"], 2, &["1.5"]);
    refused(&["calibrate", &model, "--data", &test, "--score", "msp"], 2, &["msp", "mps"]);
    refused(&["scoer"], 2, &["score"]);
    assert!(folder.names().is_empty());
}
