//! Losses with a linear head against PyTorch's autograd: `tests/golden/training.py` made the values.

use super::common::golden::{self, assert_close};
use crate::average::Average;
use crate::normalization::{for_scoring, scoring_logits};
use crate::objective::{Objective, ObjectiveOptions};
use crate::optimizer::{Sgd, SgdOptions, flatten, unflatten};
use dismax::loss::Loss;
use dismax::network::Head;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

const CLASSES: i64 = 4;
const WIDTH: i64 = 6;

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

fn input(name: &str) -> Tensor {
    Tensor::from_slice(&numbers(&golden::json("train.inputs")[name]))
}

fn labels() -> Tensor {
    input("labels").to_kind(Kind::Int64)
}

fn features() -> Tensor {
    input("features").view([-1, WIDTH])
}

fn head() -> Head {
    Head::Linear { weight: input("weight").view([CLASSES, WIDTH]), bias: input("bias") }
}

/// Compares the objective of the head's outputs, and its gradients, with an entry.
#[track_caller]
fn check(entry: &str, options: ObjectiveOptions, labels: &Tensor, mixed_labels: &Tensor) {
    let objective = Objective::try_new(options, Device::Cpu).expect("an objective");
    let (features, head) = (features().set_requires_grad(true), head());
    let Head::Linear { weight, bias } = &head else { unreachable!("made above") };
    let inputs = [
        features.shallow_clone(),
        weight.set_requires_grad(true).shallow_clone(),
        bias.set_requires_grad(true).shallow_clone(),
    ];
    let (_, value) = objective.of_features(&head, &features, labels, mixed_labels).expect("an objective");
    let expected = golden::json(entry);
    let number = expected["value"].as_f64().expect("a number");
    assert_close(entry, value.double_value(&[]), number, 1e-5 * number.abs().max(1.0));
    let gradients = Tensor::run_backward(&[&value], &inputs, false, false);
    for (name, gradient) in ["features", "weight", "bias"].into_iter().zip(gradients) {
        let expected = Tensor::from_slice(&numbers(&expected[name])).view_as(&gradient);
        let tolerance = 1e-5 * expected.abs().max().double_value(&[]).max(1.0);
        let worst = (gradient - expected).abs().max().double_value(&[]);
        assert_close(&format!("{entry}: gradient of {name}"), worst, 0.0, tolerance);
    }
}

fn none() -> Tensor {
    Tensor::from_slice::<i64>(&[]).view([-1, 4])
}

#[test]
fn losses_with_a_linear_head_are_pytorchs() {
    for (loss, name) in [
        (Loss::Softmax, "plain"),
        (Loss::LogitNorm, "logitnorm"),
        (Loss::T2fNorm, "t2fnorm"),
        (Loss::ELogitNorm, "elogitnorm"),
    ] {
        check(&format!("train.loss.{name}"), ObjectiveOptions { loss, ..plain() }, &labels(), &none());
    }
}

fn plain() -> ObjectiveOptions {
    ObjectiveOptions { loss: Loss::Softmax, alpha: 1.0, class_weights: None, label_smoothing: 0.0, mixed_share: 0.5 }
}

fn weighted() -> ObjectiveOptions {
    ObjectiveOptions { class_weights: Some(numbers(&golden::json("train.inputs")["class_weights"])), ..plain() }
}

#[test]
fn weighted_rows_are_pytorchs() {
    check("train.weighted", weighted(), &labels(), &none());
}

#[test]
fn smoothed_labels_are_pytorchs() {
    check("train.smoothed", ObjectiveOptions { label_smoothing: 0.1, ..plain() }, &labels(), &none());
}

#[test]
fn shares_of_mosaics_are_pytorchs() {
    let mosaics = input("mosaics").to_kind(Kind::Int64).view([-1, 4]);
    let whole = labels().narrow(0, 0, labels().size()[0] - mosaics.size()[0]);
    let shared = |options| ObjectiveOptions { alpha: 0.7, mixed_share: 0.25, ..options };
    check("train.mosaics", shared(plain()), &whole, &mosaics);
    check("train.mosaics.weighted", shared(weighted()), &whole, &mosaics);
}

#[test]
fn steps_on_a_smoothed_and_weighted_objective_are_pytorchs() {
    let options = ObjectiveOptions { label_smoothing: 0.1, ..weighted() };
    let objective = Objective::try_new(options, Device::Cpu).expect("an objective");
    let (features, head, expected) = (features(), head(), golden::json("train.steps"));
    let weights: Vec<Tensor> = head.parameters().into_iter().map(|weight| weight.set_requires_grad(true)).collect();
    let start = tch::no_grad(|| flatten(&weights)).expect("parameters");
    let options = SgdOptions { weight_decay: 1e-3, ..SgdOptions::default() };
    let mut sgd = Sgd::try_new(start, None, options, 0).expect("an optimiser");
    for (step, expected) in numbers(&expected["objectives"]).into_iter().enumerate() {
        let (_, value) = objective.of_features(&head, &features, &labels(), &none()).expect("an objective");
        assert_close(&format!("objective of step {step}"), value.double_value(&[]), f64::from(expected), 1e-5);
        let gradients = Tensor::run_backward(&[&value], &weights, false, false);
        tch::no_grad(|| sgd.step(&flatten(&gradients).expect("a gradient"), 1.0)).expect("a step");
        unflatten(sgd.parameters(), &weights).expect("parameters");
    }
    let ends = [numbers(&expected["weight"]), numbers(&expected["bias"])].concat();
    let worst = (sgd.parameters() - Tensor::from_slice(&ends)).abs().max().double_value(&[]);
    assert_close("parameters after all steps", worst, 0.0, 1e-5);
}

#[test]
fn averages_are_pytorchs() {
    let expected = golden::json("train.average");
    let vectors = |value: &Value| {
        let parts: Vec<Tensor> =
            value.as_array().expect("two").iter().map(|part| Tensor::from_slice(&numbers(part))).collect();
        <[Tensor; 2]>::try_from(parts).expect("parameters and statistics")
    };
    let ([parameters, buffers], decay) = (vectors(&expected["first"]), expected["decay"].as_f64().expect("a number"));
    let mut average = Average::try_new(&parameters, &buffers, decay).expect("an average");
    for step in expected["steps"].as_array().expect("steps") {
        let [parameters, buffers] = vectors(step);
        average.update(&parameters, &buffers).expect("a step");
    }
    let [parameters, buffers] = vectors(&expected["averaged"]);
    for (got, expected) in [(average.parameters(), parameters), (average.buffers(), buffers)] {
        assert_close("averages", (got - expected).abs().max().double_value(&[]), 0.0, 1e-6);
    }
}

#[test]
fn scoring_takes_features_as_they_are() {
    let longer = features() * 3;
    for loss in [Loss::LogitNorm, Loss::T2fNorm, Loss::ELogitNorm] {
        let Head::Linear { weight, bias } = head() else { unreachable!("a linear head") };
        let named = [("classifier.weight", weight), ("classifier.bias", bias)];
        let mut weights = named.map(|(name, tensor)| (name.to_owned(), tensor)).into();
        for_scoring(loss, "classifier", &mut weights).expect("weights");
        let plain = Head::Linear {
            weight: weights["classifier.weight"].shallow_clone(),
            bias: weights["classifier.bias"].shallow_clone(),
        };
        let written = plain.logits(&longer).expect("logits");
        let measured = scoring_logits(loss, &head(), &longer).expect("logits");
        let worst = (&written - measured).abs().max().double_value(&[]);
        assert_close(loss.name(), worst, 0.0, 1e-4);
        // Logits grow with the features, so that their size can tell known from unknown images.
        let grown = (written - plain.logits(&features()).expect("logits")).abs().max().double_value(&[]);
        assert!(grown > 0.1, "{loss}: {grown}");
    }
}
