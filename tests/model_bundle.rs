//! The bundle on disk: what is written is read back, and what was damaged is refused with a message that helps.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::bundles::{edit, refusal, sign_again, written};
use common::models;
use dismax::Error;
use dismax::model::Model;
use dismax::stage::{Stage, StageOptions};
use tch::{Device, Tensor};

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

/// What they were trained to say holds on this processor too: a stage compares it as it is built.
#[test]
fn the_repositorys_models_give_what_they_were_recorded_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let names = fs::read_dir(folder).expect("the models").map(|entry| entry.expect("a model").path());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert!(names.iter().any(|path| path.ends_with("cifar10-vgg8")), "{names:?}");
    for path in names {
        let model = Model::read(&path).expect("a bundle");
        assert!(model.calibration().is_some(), "{}", path.display());
        let options = StageOptions { device: dismax::Device::Cpu, ..StageOptions::default() };
        let stage = Stage::try_new(model, &options);
        assert!(stage.is_ok(), "{}: {:?}", path.display(), stage.err());
    }
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
    edit(&path, "config.json", "\"format_version\": 5", "\"format_version\": 6, \"unknown\": true");
    let message = refusal(&path);
    assert!(message.contains("format version 6") && message.contains("update dismax"), "{message}");
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
        dismax::model::ModelConfig {
            input: models::input(dismax::network::Architecture::Resnet34),
            ..models::config()
        },
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
