//! Networks that were trained before: trained further, or left as they are with a fitted head.

mod digits;

use std::fs;
use std::path::Path;

use digits::{TRAIN, VALIDATION, job, run};
use dismax::Error;
use dismax::cancel::Cancel;
use dismax::embedding::EmbeddingHead;
use dismax::loss::Loss;
use dismax::model::{Model, NamedTensors};
use dismax::network::Architecture;
use dismax::run::Run;
use dismax::score::Score;
use dismax::tta::Tta;
use dismax_train::{HeadFit, HeldOut, Recipe, TrainJob, architecture_of, fit_head};
use safetensors::tensor::{Dtype, TensorView, serialize};
use tch::Kind;

fn fit(job: &TrainJob, head: EmbeddingHead) -> Result<HeadFit, Error> {
    fit_head(job, head, &mut Run { cancel: Cancel::default(), progress: &mut |_| {} })
}

/// A network that knows the digits a little.
fn base(folder: &Path) -> std::path::PathBuf {
    let out = folder.join("base");
    run(&job(&out, Loss::Softmax, 3)).expect("trained");
    out
}

fn below_head(model: &Model) -> NamedTensors {
    let weights = model.weights().expect("weights").into_iter();
    weights.filter(|(name, _)| !name.starts_with("classifier.")).collect()
}

/// Weights as another program would save them: under a prefix, in half precision.
fn save(weights: &NamedTensors, prefix: &str, path: &Path) {
    let values: Vec<(String, Vec<usize>, Vec<u8>)> = weights
        .iter()
        .map(|(name, tensor)| {
            let halves = tensor.to_kind(Kind::Half).contiguous().view([-1]);
            let halves = Vec::<half::f16>::try_from(&halves).expect("halves");
            let shape = tensor.size().iter().map(|&size| size as usize).collect();
            (format!("{prefix}{name}"), shape, halves.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let view = |shape: &[usize], bytes| TensorView::new(Dtype::F16, shape.to_vec(), bytes).expect("a tensor");
    let views = values.iter().map(|(name, shape, bytes)| (name.as_str(), view(shape, bytes)));
    fs::write(path, serialize(views, None).expect("safetensors")).expect("a file");
}

#[test]
fn a_training_goes_on_below_a_new_head() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = base(folder.path());
    let file = folder.path().join("weights.safetensors");
    save(&below_head(&Model::read(&base).expect("a model")), "module.backbone.", &file);
    let first = |init: Option<&Path>, name: &str| {
        let job = TrainJob { init: init.map(Path::to_path_buf), ..job(&folder.path().join(name), Loss::Dismax, 2) };
        run(&job).expect("trained")
    };
    let (new, begun, by_file) = (first(None, "new"), first(Some(&base), "begun"), first(Some(&file), "by-file"));
    let objective = |model: &Model| model.history().expect("trained here").epochs[0].train_objective;
    assert!(objective(&begun) < 0.8 * objective(&new), "{} {}", objective(&begun), objective(&new));
    // Half precision is near enough to begin with.
    assert!((objective(&by_file) / objective(&begun) - 1.0).abs() < 0.05, "{}", objective(&by_file));
    assert!(begun.config().origin.contains("begun with base"), "{}", begun.config().origin);
    assert_eq!(architecture_of(&base).expect("a model"), Some(Architecture::Resnet20));
    assert_eq!(architecture_of(&file).expect("a file"), None);
}

#[test]
fn a_head_is_fitted_to_a_network_that_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = base(folder.path());
    for head in EmbeddingHead::ALL {
        let out = folder.path().join(head.name());
        let job = TrainJob {
            init: Some(base.clone()),
            held_out: HeldOut::Files(vec![VALIDATION.into()]),
            recipe: Recipe::new(Architecture::Resnet20, Loss::Dismax),
            ..job(&out, Loss::Dismax, 1)
        };
        let fitted = fit(&job, head).expect("fitted");
        assert!(fitted.uncalibrated.is_none(), "{:?}", fitted.uncalibrated);
        assert_eq!((fitted.rows, fitted.held_out_rows, fitted.left_out.rows), (866, 216, 0));
        let (model, before) = (Model::read(&out).expect("a bundle"), Model::read(&base).expect("a bundle"));
        assert_eq!(model.input().images().map(|images| images.loss), Some(Loss::fitted(head)));
        let (weights, expected) = (below_head(&model), below_head(&before));
        assert_eq!(weights.len(), expected.len());
        assert!(expected.iter().all(|(name, tensor)| weights[name] == *tensor), "the network stays");
        let figures = serde_json::to_value(&model.metrics()["held_out"]).expect("figures");
        assert!(figures["accuracy"].as_f64().is_some_and(|accuracy| accuracy > 0.85), "{head}: {figures}");
        // What audits and the score of early stages need is there.
        assert!(model.feature_score(Score::MdsEarly).expect("features").is_some());
    }
}

#[test]
fn what_cannot_be_begun_with_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = base(folder.path());
    let file = folder.path().join("weights.safetensors");
    save(&below_head(&Model::read(&base).expect("a model")), "", &file);
    let pickle = folder.path().join("weights.pt");
    fs::write(&pickle, b"PK\x03\x04 and more").expect("a file");
    let other = |init: &Path, architecture| {
        let recipe = Recipe::new(architecture, Loss::Dismax);
        TrainJob { init: Some(init.to_path_buf()), recipe, ..job(&folder.path().join("never"), Loss::Dismax, 1) }
    };
    for (init, architecture, parts) in [
        (
            &file,
            Architecture::Resnet18,
            ["not the weights of a resnet18", "has shape [16, 3, 3, 3], expected [64, 3, 7, 7]"],
        ),
        (&base, Architecture::Resnet18, ["base", "a resnet20, and the network to train is a resnet18"]),
        (&pickle, Architecture::Resnet20, ["weights.pt", "safetensors.torch.save_file"]),
    ] {
        let job = other(init, architecture);
        for message in [run(&job).err(), fit(&job, EmbeddingHead::Dismax).err()] {
            let message = message.expect("a refusal").to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }
    let refused = |job: &TrainJob| fit(job, EmbeddingHead::Dismax).expect_err("a refusal").to_string();
    let without = TrainJob { init: None, ..other(&base, Architecture::Resnet20) };
    assert!(refused(&without).contains("none is given"), "{}", refused(&without));
    let mut trained = other(&base, Architecture::Resnet20);
    trained.recipe.ema = Some(0.9);
    assert!(refused(&trained).contains("\"ema\" would do nothing"), "{}", refused(&trained));
    for fraction in [2.0, f64::NAN] {
        let job = TrainJob { held_out: HeldOut::Fraction(fraction), ..other(&base, Architecture::Resnet20) };
        assert!(refused(&job).contains(&format!("a fraction of {fraction}")), "{}", refused(&job));
    }
    let mut averaged = other(&base, Architecture::Resnet20);
    averaged.calibration.tta = Tta::Flip;
    assert!(refused(&averaged).contains("single images"), "{}", refused(&averaged));
    let mut whitened = other(&base, Architecture::Resnet20);
    whitened.recipe.whitening = true;
    assert!(refused(&whitened).contains("\"whitening\" would do nothing"), "{}", refused(&whitened));
    let message = run(&whitened).expect_err("a refusal").to_string();
    assert!(message.contains("the first of the weights that the training begins with"), "{message}");
    let job = TrainJob { init: Some(base), ..job(&folder.path().join("never"), Loss::FittedDismax, 1) };
    let message = run(&job).expect_err("a refusal").to_string();
    assert!(message.contains("nothing can be trained with it"), "{message}");
    assert!(!folder.path().join("never").exists() && Path::new(TRAIN).exists());
}
