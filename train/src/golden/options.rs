//! Losses with a linear head against PyTorch's autograd: `tests/golden/training.py` made the values.

use super::common::golden::{self, assert_close};
use crate::normalization::{for_scoring, scoring_logits};
use crate::objective::{Objective, ObjectiveOptions};
use dismax::loss::Loss;
use dismax::network::Head;
use serde_json::Value;
use tch::{Device, Tensor};

const CLASSES: i64 = 4;
const WIDTH: i64 = 6;

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

fn input(name: &str) -> Tensor {
    Tensor::from_slice(&numbers(&golden::json("train.inputs")[name]))
}

fn labels() -> Tensor {
    input("labels").to_kind(tch::Kind::Int64)
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
    ObjectiveOptions { loss: Loss::Softmax, alpha: 1.0, class_weights: None }
}

fn weighted() -> ObjectiveOptions {
    ObjectiveOptions { class_weights: Some(numbers(&golden::json("train.inputs")["class_weights"])), ..plain() }
}

#[test]
fn weighted_rows_are_pytorchs() {
    check("train.weighted", weighted(), &labels(), &none());
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
