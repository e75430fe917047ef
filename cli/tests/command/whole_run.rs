//! From labelled images to scored rows, as the README goes through it.

use std::collections::BTreeSet;
use std::fs;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use serde_json::Value;

use crate::support::{Folder, cifar10_model, digits, dismax, read};

#[test]
fn a_model_that_cannot_be_calibrated_is_written_and_said_to_be_so() {
    let folder = Folder::new();
    let model = folder.path("model");
    let arguments = ["train", &digits("train"), "--out", &model, "--validation", "0.01", "--epochs", "1", "--no-flip"];
    let run = dismax(&[&arguments[..], &["--quiet", "--json"]].concat());
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let summary: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let reason = summary["uncalibrated_because"].as_str().expect("a reason");
    assert!(reason.contains("give at least 19 rows") && run.stderr.contains(reason), "{}", run.stderr);
    assert!(summary["calibration"].is_null());

    // What is there is not replaced unasked.
    let message = dismax(&arguments).refused(2);
    assert!(message.contains("--force"), "{message}");
    // It cannot flag, and it is not taken for a dataset.
    let message = dismax(&["score", &model, "--model", &model, "--out", &folder.path("out.parquet")]).refused(3);
    assert!(message.contains("not calibrated"), "{message}");
    let message = dismax(&["info", &model, &digits("test")]).refused(3);
    assert!(message.contains("is a model, not a dataset"), "{message}");
}

#[test]
fn train_calibrate_score_and_evaluate() {
    let folder = Folder::new();
    let model = folder.path("model");
    let (train, validation) = (digits("train"), digits("validation"));
    let arguments = ["train", &train, "--out", &model, "--validation", &validation, "--no-flip", "--json"];
    let run = dismax(&[&arguments[..], &["--schedule", "one-cycle", "--epochs", "8", "--workers", "2"]].concat()).ok();
    assert!(run.stderr.contains("epoch   8/8"), "{}", run.stderr);
    let trained = run.json();
    assert_eq!(trained["epochs"], 8);
    assert!(trained["last_epoch"]["validation_accuracy"].as_f64().expect("a number") > 0.8, "{trained}");
    assert_eq!(trained["calibration"]["rows"], 216);
    for file in ["README.md", "training.csv", "training.svg", "SHA256SUMS", "self_check.safetensors"] {
        assert!(fs::metadata(folder.path(&format!("model/{file}"))).expect(file).len() > 0);
    }

    let info = dismax(&["info", &model, "--json"]).json();
    assert_eq!(info["digest"], trained["model_digest"]);
    assert_eq!(info["config"]["classes"].as_array().expect("classes").len(), 8);
    assert!(info["self_check_difference"].as_f64().expect("a number") < 1e-3);

    let arguments = ["calibrate", &model, "--data", &validation, "--alpha", "0.1", "--score", "mps"];
    let calibrated = dismax(&[&arguments[..], &["--per-class", "--objective", "nll", "--json"]].concat()).json();
    assert_eq!((calibrated["alpha"].as_f64(), calibrated["score"].as_str()), (Some(0.1), Some("mps")));
    assert_eq!(calibrated["per_class"], true);
    // 50 rows are needed at 0.1; no digit has as many among 216.
    assert_eq!(calibrated["fallback_classes"].as_array().expect("classes").len(), 8);
    let card = fs::read_to_string(folder.path("model/README.md")).expect("a model card");
    assert!(card.contains("`mps`") && card.contains("10.00 %"), "{card}");

    check_scored(&folder, &model);
    check_unknown_examples(&folder, &model);
    check_prediction_sets(&folder, &model);

    let (test, unseen, charts) = (digits("test"), digits("unseen"), folder.path("charts"));
    let arguments = ["evaluate", "--model", &model, "--id", &test, "--ood", &unseen];
    let evaluation = dismax(&[&arguments[..], &["--charts", &charts, "--json"]].concat()).json();
    assert_eq!(evaluation["in_dist"]["rows"], 361);
    assert!(evaluation["in_dist"]["accuracy"]["value"].as_f64().expect("a number") > 0.8);
    assert_eq!(evaluation["ood"][0]["scores"].as_object().expect("scores").len(), 7);
    assert!(fs::read_to_string(folder.path("charts/reliability.svg")).expect("a picture").starts_with("<svg"));
    let table = dismax(&arguments).ok().text();
    for expected in ["accuracy", "temperature 1", "unseen: 354 rows", "mps (the model's)", "FPR95"] {
        assert!(table.contains(expected), "{expected} in {table}");
    }
}

fn check_scored(folder: &Folder, model: &str) {
    let (input, output, failed) = (digits("mixed"), folder.path("scored.parquet"), folder.path("failed.parquet"));
    let arguments = ["score", &input, "--model", model, "--out", &output, "--errors", &failed, "--json"];
    let summary = dismax(&arguments).json();
    assert_eq!((summary["rows"].as_u64(), summary["failed"].as_u64()), (Some(721), Some(6)));
    let by_code = summary["errors"].as_object().expect("codes");
    assert_eq!(by_code.values().filter_map(Value::as_u64).sum::<u64>(), 6);

    let (before, after, failed) = (read(&input), read(&output), read(&failed));
    let columns = before.num_columns();
    for (index, column) in before.columns().iter().enumerate() {
        assert_eq!(column, after.column(index), "column {index} came through unchanged");
    }
    let names: Vec<_> = after.schema().fields()[columns..].iter().map(|field| field.name().clone()).collect();
    let expected = ["prediction", "confidence", "probabilities", "ood_score", "ood_p_value", "is_ood", "error"];
    assert_eq!(names, expected);

    let errors = after["error"].as_string::<i32>();
    let codes: BTreeSet<_> = errors.iter().flatten().filter_map(|error| error.split(':').next()).collect();
    assert_eq!(codes, by_code.keys().map(String::as_str).collect());
    let flags = after["is_ood"].as_boolean();
    assert_eq!(flags.true_count() as u64, summary["flagged"].as_u64().expect("a count"));
    let p_values = after["ood_p_value"].as_primitive::<Float32Type>();
    for row in 0..after.num_rows() {
        assert_eq!(errors.is_null(row), p_values.is_valid(row), "row {row} has either scores or a reason");
        assert!(errors.is_valid(row) || flags.value(row) == (p_values.value(row) <= 0.1), "row {row}");
    }
    let rows_with_errors: Vec<_> = (0..after.num_rows()).filter(|&row| errors.is_valid(row)).collect();
    assert_eq!(failed.num_rows(), rows_with_errors.len());
    for (index, row) in rows_with_errors.into_iter().enumerate() {
        assert_eq!(&failed["id"].slice(index, 1), &before["id"].slice(row, 1));
        assert_eq!(failed["error"].as_string::<i32>().value(index), errors.value(row));
    }
}

/// Examples of unknown images: kept, used, replaced and forgotten.
fn check_unknown_examples(folder: &Folder, model: &str) {
    let (validation, unseen, known) = (digits("validation"), digits("unseen"), folder.path("known"));
    let message = dismax(&["calibrate", model, "--data", &validation, "--score", "mds+unknown"]).refused(2);
    assert!(message.contains("needs examples") && message.contains("--unknown EXAMPLES"), "{message}");
    let arguments = ["calibrate", model, "--data", &validation, "--unknown", &unseen, "--score", "mds+early+unknown"];
    let calibrated = dismax(&[&arguments[..], &["--out", &known, "--json"]].concat()).json();
    assert_eq!((calibrated["unknown_examples"].as_u64(), calibrated["left_out"].as_u64()), (Some(354), Some(0)));
    assert!(dismax(&["info", &known]).ok().text().contains("354 examples of unknown images"));

    let scored = dismax(&["score", &digits("mixed"), "--model", &known, "--out", &folder.path("k.parquet"), "--json"]);
    assert!(scored.json()["flagged"].as_u64().expect("a count") > 300);
    let message = dismax(&["evaluate", "--model", &known, "--id", &digits("test"), "--ood", &unseen]).refused(3);
    assert!(message.contains("354 are examples of unknown images"), "{message}");
    let arguments = ["audit", &digits("mixed"), "--model", &known, "--label", "digit", "--out", &folder.path("audit")];
    let unknown = &dismax(&[&arguments[..], &["--json"]].concat()).json()["unknown"];
    assert_eq!(
        (unknown["marked_unknown"].as_u64(), unknown["known_unknown"].as_u64()),
        (Some(354), Some(354)),
        "{unknown}"
    );

    let again = ["calibrate", &known, "--data", &validation, "--json"];
    assert_eq!(dismax(&again).json()["unknown_examples"], 354);
    let message = dismax(&[&again[..], &["--no-unknown"]].concat()).refused(2);
    assert!(message.contains("mds+early+unknown needs examples"), "{message}");
    let forgotten = dismax(&[&again[..], &["--no-unknown", "--score", "mmles"]].concat()).json();
    assert_eq!(forgotten["unknown_examples"], 0);
}

/// Sets of classes as a column, on which a filter can depend; of nine tenths of the rows they have the true class.
fn check_prediction_sets(folder: &Folder, model: &str) {
    let (test, output, sure) = (digits("test"), folder.path("sets.parquet"), folder.path("sure.parquet"));
    dismax(&["score", &test, "--model", model, "--out", &output, "--prediction-set", "0.1"]).ok();
    let scored = read(&output);
    let (sets, predictions) = (scored["prediction_set"].as_list::<i32>(), &scored["prediction"]);
    let predictions = arrow::compute::cast(predictions, &arrow::datatypes::DataType::Utf8).expect("names");
    let labels = arrow::compute::cast(&scored["label"], &arrow::datatypes::DataType::Utf8).expect("names");
    let (mut covered, mut sure_rows) = (0, 0);
    for row in 0..scored.num_rows() {
        let set = sets.value(row);
        let set: Vec<_> = set.as_string::<i32>().iter().flatten().collect();
        covered += usize::from(set.contains(&labels.as_string::<i32>().value(row)));
        sure_rows += usize::from(set == [predictions.as_string::<i32>().value(row)]);
    }
    assert!((290..=361).contains(&covered) && sure_rows > 100, "{covered} of 361 rows, {sure_rows} sure");
    let one = "cardinality(prediction_set) = 1";
    let arguments = ["filter", &test, "--model", model, "--keep", "in-dist", "--out", &sure, "--prediction-set", "0.1"];
    dismax(&[&arguments[..], &["--where", one, "--columns"]].concat()).ok();
    let kept = read(&sure);
    assert!(kept.num_rows() > 100 && kept["prediction_set"].as_list::<i32>().value_length(0) == 1);
    let refused = dismax(&["score", &test, "--model", model, "--out", &sure, "--prediction-set", "0.001"]).refused(2);
    assert!(refused.contains("need 999 calibration rows"), "{refused}");
}

#[test]
fn weights_from_elsewhere_are_imported_and_must_be_calibrated() {
    let folder = Folder::new();
    let (weights, model) = (format!("{}/model.safetensors", cifar10_model()), folder.path("model"));
    let classes = folder.path("classes.txt");
    fs::write(&classes, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n").expect("a file");
    let (at_classes, input) = (format!("@{classes}"), digits("mixed"));
    let arguments = ["import", &weights, "--arch", "resnet20", "--classes", &at_classes, "--out", &model];
    let run = dismax(&arguments).ok();
    assert!(run.stderr.contains("no --mean and --std given"), "{}", run.stderr);
    assert!(dismax(&["info", &model]).ok().text().contains("calibration  none"));
    let out = folder.path("scored.parquet");
    let message = dismax(&["score", &input, "--model", &model, "--out", &out]).refused(3);
    assert!(message.contains("dismax calibrate"), "{message}");

    let message = dismax(&arguments).refused(2);
    assert!(message.contains("--force"), "{message}");
    let wrong = ["import", &weights, "--arch", "resnet34", "--classes", "a,b", "--out", &out];
    let message = dismax(&wrong).refused(3);
    assert!(message.contains("model.safetensors"), "{message}");
}

#[test]
fn info_describes_datasets() {
    let report = dismax(&["info", &digits("train"), "--json"]).json();
    assert_eq!((report["rows"].as_u64(), report["image_column"].as_str()), (Some(866), Some("image")));
    assert_eq!(report["classes"].as_array().expect("classes").len(), 8);
    assert_eq!(report["image_sizes"]["8x8"], 64);
    let text = dismax(&["info", &digits("mixed")]).ok().text();
    assert!(text.contains("721") && text.contains("in column \"image\""), "{text}");
}

#[test]
fn help_and_completions_are_printed() {
    for command in ["train", "calibrate", "score", "evaluate", "audit", "info", "import", "embed", "completions"] {
        let help = dismax(&[command, "--help"]).ok().text();
        assert!(help.contains("Examples:"), "{help}");
    }
    assert!(dismax(&["completions", "bash"]).ok().text().contains("complete -F _dismax"));
}
