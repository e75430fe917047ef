//! Recipes from files, and models whose scores are mirror averages.

use std::fs;

use crate::support::{Folder, digits, dismax, read};

#[test]
fn a_recipe_file_says_what_flags_do_not() {
    let folder = Folder::new();
    let recipe = folder.path("recipe.toml");
    fs::write(&recipe, "loss = \"elogitnorm\"\nepochs = 9\nflip = false\nema = 0.9\nclass_weights = \"balanced\"\n")
        .expect("a file");
    let (train, model, again) = (digits("train"), folder.path("model"), folder.path("again"));
    let arguments = ["train", &train, "--recipe", &recipe, "--epochs", "1", "--device", "cpu", "--quiet"];
    let trained = dismax(&[&arguments[..], &["--out", &model, "--keep", "best", "--json"]].concat()).json();
    assert_eq!((trained["epochs"].as_u64(), trained["kept_epoch"]["epoch"].as_u64()), (Some(1), Some(1)));
    let config = dismax(&["info", &model, "--json"]).json()["config"].clone();
    assert_eq!((config["loss"].as_str(), config["architecture"].as_str()), (Some("elogitnorm"), Some("resnet20")));
    let used: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path("model/recipe.json")).expect("a recipe")).expect("JSON");
    for (key, value) in [("keep", "best"), ("flip", "none"), ("class_weights", "balanced"), ("schedule", "one-cycle")] {
        assert_eq!(used[key], value, "{used}");
    }
    assert_eq!((used["ema"].as_f64(), used["epochs"].as_u64()), (Some(0.9), Some(1)));
    let lines = fs::read_to_string(folder.path("model/metrics.jsonl")).expect("figures");
    assert_eq!(lines.lines().count(), 1);

    // The model's own recipe gives the same weights.
    let own = folder.path("model/recipe.json");
    dismax(&["train", &train, "--recipe", &own, "--out", &again, "--device", "cpu", "--quiet"]).ok();
    let weights = |name: &str| fs::read(folder.path(name)).expect("weights");
    assert_eq!(weights("model/model.safetensors"), weights("again/model.safetensors"));

    fs::write(&recipe, "epoch = 9\n").expect("a file");
    let message = dismax(&["train", &train, "--recipe", &recipe, "--out", &folder.path("no")]).refused(2);
    assert!(message.contains("recipe.toml") && message.contains("unknown field `epoch`"), "{message}");
    let message = dismax(&["train", &train, "--flip", "random", "--no-flip", "--out", &folder.path("no")]).refused(2);
    assert!(message.contains("cannot be used with"), "{message}");
}

#[test]
fn mirror_averages_follow_the_model_everywhere() {
    let folder = Folder::new();
    let (train, validation, model, averaged) =
        (digits("train"), digits("validation"), folder.path("model"), folder.path("averaged"));
    dismax(&["train", &train, "--out", &model, "--epochs", "2", "--device", "cpu", "--quiet"]).ok();
    let arguments = ["calibrate", &model, "--data", &validation, "--tta", "flip", "--out", &averaged, "--json"];
    let run = dismax(&arguments).ok();
    assert!(run.stderr.contains("--training TRAINING"), "{}", run.stderr);
    assert_eq!(run.json()["tta"], "flip");
    assert!(dismax(&["info", &averaged]).ok().text().contains("each image and its mirror image"));
    let card = fs::read_to_string(folder.path("averaged/README.md")).expect("a model card");
    assert!(card.contains("an image and its mirror image"), "{card}");

    let scored = |model: &str, name: &str| {
        let out = folder.path(name);
        dismax(&["score", &digits("test"), "--model", model, "--out", &out, "--quiet"]).ok();
        read(&out)
    };
    let (plain, both) = (scored(&model, "plain.parquet"), scored(&averaged, "both.parquet"));
    assert_eq!(both.schema().metadata().get("dismax.tta").map(String::as_str), Some("flip"));
    assert!(!plain.schema().metadata().contains_key("dismax.tta"));
    assert_ne!(&plain["ood_score"], &both["ood_score"]);

    // A calibration that does not name it keeps it; features of other averages are gone until they are read again.
    let again = dismax(&["calibrate", &averaged, "--data", &validation, "--json"]).json();
    assert_eq!(again["tta"], "flip");
    let early = ["calibrate", &averaged, "--data", &validation, "--score", "mds+early", "--json"];
    assert!(dismax(&early).refused(2).contains("--training TRAINING"));
    assert_eq!(dismax(&[&early[..], &["--training", &train]].concat()).json()["score"], "mds+early");
}
