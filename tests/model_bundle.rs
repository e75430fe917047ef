//! The bundle on disk: what is written is read back, and what was damaged is refused with a message that helps.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::models;
use dismax::Error;
use dismax::calibration::{CalibrationFeatures, CalibrationOptions, CalibrationRow, FeatureMoments};
use dismax::metrics::LabelledLogits;
use dismax::model::{HeldOutFeatures, Model};
use dismax::score::{RowOutput, Score};
use dismax::stage::{Stage, StageOptions};
use half::f16;
use tch::{Device, Tensor};

fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model");
    models::calibrated().write(&path, false).expect("written");
    (folder, path)
}

fn refusal(path: &Path) -> String {
    Model::read(path).expect_err("a refusal").to_string()
}

/// Makes the digests fit again after a file was changed on purpose.
fn sign_again(path: &Path) {
    let names = fs::read_to_string(path.join("SHA256SUMS")).expect("digests");
    let names: Vec<&str> = names.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let output = Command::new("sha256sum").args(&names).current_dir(path).output().expect("sha256sum runs");
    fs::write(path.join("SHA256SUMS"), output.stdout).expect("written");
}

fn edit(path: &Path, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(path.join(file)).expect("text");
    assert!(text.contains(from), "{file} lacks {from}");
    fs::write(path.join(file), text.replacen(from, to, 1)).expect("written");
    sign_again(path);
}

#[test]
fn a_bundle_survives_the_disk_and_equal_models_have_equal_digests() {
    let (_folder, path) = written();
    let read = Model::read(&path).expect("read");
    let original = models::calibrated();
    assert_eq!(read.config(), original.config());
    assert_eq!(read.calibration(), original.calibration());
    assert_eq!(read.self_check(), original.self_check());
    let (_other_folder, other) = written();
    assert_eq!(read.digest(), Model::read(other).expect("read").digest());
    assert_eq!(read.digest().len(), 64);
    // What a person would use to check a copy.
    let check = Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&path).status();
    assert!(check.expect("sha256sum runs").success());
}

#[test]
fn damage_is_named() {
    let (_folder, path) = written();
    fs::remove_file(path.join("calibration.json")).expect("removed");
    assert!(refusal(&path).contains("calibration.json is missing"), "{}", refusal(&path));

    let (_folder, path) = written();
    let mut bytes = fs::read(path.join("model.safetensors")).expect("bytes");
    *bytes.last_mut().expect("a byte") ^= 1;
    fs::write(path.join("model.safetensors"), bytes).expect("written");
    assert!(refusal(&path).contains("model.safetensors was altered"), "{}", refusal(&path));

    let (_folder, path) = written();
    fs::remove_file(path.join("SHA256SUMS")).expect("removed");
    assert!(refusal(&path).contains("not a model bundle"), "{}", refusal(&path));
    assert!(refusal(Path::new("/nowhere/at/all")).contains("not a model bundle"));
}

#[test]
fn a_bundle_of_an_earlier_release_scores_and_makes_no_prediction_sets() {
    let (_folder, path) = written();
    let text = fs::read_to_string(path.join("calibration.json")).expect("text");
    let mut calibration: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    calibration.as_object_mut().expect("an object").remove("prediction_sets").expect("sets");
    fs::write(path.join("calibration.json"), calibration.to_string()).expect("written");
    sign_again(&path);
    let model = std::sync::Arc::new(Model::read(&path).expect("read"));
    let columns = dismax::Columns::of_model(&model, "").expect("columns");
    let message = columns.with_prediction_set(0.1).expect_err("no rows").to_string();
    assert!(message.contains("model: an earlier release") && message.contains("calibrate it again"), "{message}");

    let (_folder, path) = written();
    edit(&path, "calibration.json", "\"classes\":[null", "\"classes\":[null,null");
    let model = std::sync::Arc::new(Model::read(&path).expect("read"));
    let columns = dismax::Columns::of_model(&model, "").expect("columns");
    columns.with_prediction_set(0.1).expect_err("sets of four classes");
    edit(&path, "calibration.json", "\"others\":[", "\"others\":null,\"more\":[");
    assert!(refusal(&path).contains("a class has no rows to make prediction sets from"), "{}", refusal(&path));
}

#[test]
fn a_newer_format_is_refused_before_anything_else_is_read() {
    let (_folder, path) = written();
    edit(&path, "config.json", "\"format_version\": 3", "\"format_version\": 4, \"unknown\": true");
    let message = refusal(&path);
    assert!(message.contains("format version 4") && message.contains("update dismax"), "{message}");
}

#[test]
fn a_listing_cannot_lead_out_of_the_folder() {
    let (_folder, path) = written();
    let line = format!("{}  ../secret\n", "0".repeat(64));
    fs::write(path.join("SHA256SUMS"), line).expect("written");
    assert!(refusal(&path).contains("no digest"), "{}", refusal(&path));
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let mut weights = models::weights(7);
    weights.insert("bn1.bias".into(), Tensor::from_slice(&[f32::NAN; 16]));
    let error = Model::try_new(models::config(), &weights, None).expect_err("a refusal").to_string();
    assert!(error.contains("bn1.bias holds values that are not finite"), "{error}");
}

#[test]
fn expected_outputs_that_are_not_finite_are_refused() {
    let (_folder, path) = written();
    let file = path.join("self_check.safetensors");
    let mut bytes = fs::read(&file).expect("read");
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("a header");
    let start = 8 + header + metadata.info("logits").expect("logits").data_offsets.0;
    bytes[start..start + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&file, bytes).expect("written");
    sign_again(&path);
    assert!(refusal(&path).contains("not all finite"), "{}", refusal(&path));
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_read() {
    use std::os::unix::fs::symlink;
    for name in ["metrics.json", "SHA256SUMS"] {
        let (folder, path) = written();
        // As a cache of downloads keeps them.
        let blob = folder.path().join("blob");
        fs::rename(path.join(name), &blob).expect("renamed");
        symlink(&blob, path.join(name)).expect("linked");
        Model::read(&path).expect("a link to a file");

        fs::remove_file(path.join(name)).expect("removed");
        symlink("/dev/zero", path.join(name)).expect("linked");
        assert!(refusal(&path).contains("not a regular file"), "{}", refusal(&path));

        fs::remove_file(path.join(name)).expect("removed");
        let made = Command::new("mkfifo").arg(path.join(name)).status().expect("mkfifo runs");
        assert!(made.success());
        assert!(refusal(&path).contains("not a regular file"), "{}", refusal(&path));
    }
}

#[test]
fn other_outputs_than_recorded_are_noticed_when_a_stage_is_built() {
    let (_folder, path) = written();
    let mut bytes = fs::read(path.join("self_check.safetensors")).expect("bytes");
    // The logits are the last tensor of the file.
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&1234.5f32.to_le_bytes());
    fs::write(path.join("self_check.safetensors"), bytes).expect("written");
    sign_again(&path);
    let model = Model::read(&path).expect("read");
    let error = Stage::try_new(model, &StageOptions { device: dismax::Device::Cpu, ..StageOptions::default() })
        .expect_err("a refusal")
        .to_string();
    assert!(error.contains("differ by"), "{error}");
}

#[test]
fn existing_places_are_respected() {
    let (_folder, path) = written();
    let error = models::calibrated().write(&path, false).expect_err("a refusal");
    assert!(matches!(error, Error::OutputExists { .. }), "{error}");
    fs::write(path.join("LICENSE"), "yours").expect("written");
    models::uncalibrated().write(&path, true).expect("replaced");
    assert_eq!(fs::read(path.join("LICENSE")).expect("a user's own file stays"), b"yours");
    assert!(Model::read(&path).expect("read").calibration().is_none());
    assert!(!path.join("calibration.json").exists(), "the old bundle's files must be gone");

    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("thesis.tex"), "years of work").expect("written");
    fs::write(folder.path().join("SHA256SUMS"), format!("{}  thesis.tex\n", "0".repeat(64))).expect("written");
    let error = models::calibrated().write(folder.path(), true).expect_err("a refusal").to_string();
    assert!(error.contains("not a model bundle"), "{error}");
    assert!(folder.path().join("thesis.tex").exists());
}

#[test]
fn nothing_half_written_stays() {
    let (folder, path) = written();
    let _ = models::calibrated().write(&path, false);
    models::calibrated().write(&path, true).expect("replaced");
    let names: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["model"]);
}

#[test]
fn an_uncalibrated_model_says_what_to_run() {
    let error = models::uncalibrated().require_calibration().expect_err("a refusal").to_string();
    assert!(error.contains("not calibrated"), "{error}");
}

#[test]
fn the_references_checkpoints_are_imported() {
    // Its head carries bookkeeping, PyTorch adds counters, and DataParallel a prefix.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint.safetensors");
    let mut tensors: Vec<(String, Tensor)> =
        models::weights(3).into_iter().map(|(name, tensor)| (format!("module.{name}"), tensor.contiguous())).collect();
    for (name, tensor) in [
        ("classifier.temperature", Tensor::from_slice(&[1.0f32])),
        ("classifier.validationset_available", Tensor::from_slice(&[true])),
        ("classifier.precomputed_thresholds", Tensor::zeros([2, 25], (tch::Kind::Float, Device::Cpu))),
        ("bn1.num_batches_tracked", Tensor::from(5i64)),
    ] {
        tensors.push((format!("module.{name}"), tensor));
    }
    Tensor::write_safetensors(&tensors, &file).expect("written");
    let error = Model::import(&file, models::config()).err().map(|error| error.to_string());
    assert_eq!(error, None);

    let error = Model::import(
        &file,
        dismax::model::ModelConfig { architecture: dismax::network::Architecture::Resnet34, ..models::config() },
    );
    let error = error.expect_err("a refusal").to_string();
    assert!(error.contains("checkpoint.safetensors") && error.contains("weights do not fit"), "{error}");
}

#[test]
fn wrappers_that_all_names_share_are_taken_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint.safetensors");
    for prefix in ["_orig_mod.", "model.", "model._orig_mod."] {
        let named =
            models::weights(3).into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.contiguous()));
        let tensors: Vec<(String, Tensor)> = named.collect();
        Tensor::write_safetensors(&tensors, &file).expect("written");
        let imported = Model::import(&file, models::config());
        assert!(imported.is_ok(), "{prefix}: {}", imported.expect_err("refused"));
    }
}

#[test]
fn a_card_shows_names_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = models::config();
    config.classes[1] = "do`g | <b>".into();
    let mut model = Model::try_new(config, &models::weights(7), None).expect("a model");
    model.write(folder.path().join("model"), false).expect("written");
    let card = fs::read_to_string(folder.path().join("model/README.md")).expect("a card");
    // A bar would end the table's cell.
    assert!(card.contains("`do'g \\| <b>`"), "{card}");
    assert!(card.contains("None yet"), "{card}");
}

/// A model that knows features of its training and calibration rows, and scores with them.
fn with_features() -> Model {
    let mut model = models::uncalibrated();
    let width = model.feature_width();
    let features =
        |row: usize| -> Vec<f32> { (0..width).map(|at| ((row * 31 + at * 17) % 97) as f32 / 97.0).collect() };
    let logits = |row: usize| -> Vec<f32> {
        let favoured = (row + usize::from(row.is_multiple_of(5))) % 3;
        (0..3).map(|class| -2.0 + (row * 37 % 101) as f32 / 101.0 + f32::from(u8::from(class == favoured))).collect()
    };
    let mut moments = FeatureMoments::new(model.config().architecture.stages(), 3);
    for row in 0..300 {
        moments.add(RowOutput { logits: &logits(row), features: Some(&features(row)) });
    }
    model.set_feature_statistics(moments.finish().expect("moments")).expect("of this network");

    let early = model.feature_statistics().expect("statistics").early_score().clone();
    let mut rows = CalibrationFeatures::new(width);
    let (mut all, mut scores) = (Vec::new(), Vec::new());
    for row in 300..400 {
        let (logits, features) = (logits(row), features(row));
        let score = early.of(RowOutput { logits: &logits, features: Some(&features) });
        let halves: Vec<f16> = features.iter().map(|value| f16::from_f32(*value)).collect();
        rows.push(&halves, CalibrationRow { class: row % 3, score });
        all.extend(logits);
        scores.push(score);
    }
    let labels: Vec<i64> = (300..400).map(|row| row % 3).collect();
    let labelled = LabelledLogits::try_new(&all, 3, &labels).expect("logits");
    let options = CalibrationOptions { score: Score::MdsEarly, ..CalibrationOptions::default() };
    let features = HeldOutFeatures { rows, early: &scores };
    model.calibrate(&labelled, Some(features), &options, "made-up rows").expect("calibration");
    model
}

#[test]
fn what_is_known_of_features_survives_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model");
    let mut original = with_features();
    original.write(&path, false).expect("written");
    let read = Model::read(&path).expect("read");
    assert_eq!(read.feature_statistics(), original.feature_statistics());
    assert_eq!(read.calibration(), original.calibration());

    let statistics = read.feature_statistics().expect("statistics");
    let mut features = vec![0.0; read.feature_width()];
    let row = statistics.calibration_row(7, &mut features);
    let output = RowOutput { logits: &[-1.0, -2.0, -1.5], features: Some(&features) };
    let (scores, _) = read.calibration().expect("calibrated").apply(output, &mut [0.0; 3]).expect("finite scores");
    assert_eq!(scores.score, statistics.early_score().of(output));
    assert_eq!((statistics.calibration_rows(), row.class), (100, 1));
    let without = RowOutput { features: None, ..output };
    assert!(read.calibration().expect("calibrated").apply(without, &mut [0.0; 3]).is_err());

    let mut moments = FeatureMoments::new(&[4], 3);
    for row in 0..9u8 {
        moments.add(RowOutput { logits: &[0.0, 1.0, 2.0], features: Some(&[f32::from(row); 4]) });
    }
    let error = models::uncalibrated().set_feature_statistics(moments.finish().expect("moments"));
    assert!(error.expect_err("of another network").to_string().contains("another network"));
    fs::remove_file(path.join("features.safetensors")).expect("removed");
    assert!(refusal(&path).contains("features.safetensors is missing"), "{}", refusal(&path));
}

#[test]
fn features_that_do_not_fit_are_refused() {
    let (_folder, path) = written();
    with_features().write(&path, true).expect("written");
    let file = path.join("features.safetensors");
    let whole = fs::read(&file).expect("read");
    let mut longer = whole.clone();
    // The header's first shape is that of the classes.
    let at = whole.windows(7).position(|part| part == b"[3,112]").expect("the means' shape");
    longer[at + 1] = b'9';
    for damaged in [&longer[..], &whole[..whole.len() - 8], b"{}"] {
        fs::write(&file, damaged).expect("written");
        sign_again(&path);
        assert!(refusal(&path).contains("features.safetensors"), "{}", refusal(&path));
    }
}
