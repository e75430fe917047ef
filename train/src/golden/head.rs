//! Heads, losses, gradients and the image mix against the reference's values.

use super::common::golden::{self, assert_close};
use crate::mix::{mix_labels, mix_quadrants};
use crate::objective::{Objective, ObjectiveOptions};
use dismax::loss::Loss;
use dismax::network::{Head, HeadKind};
use tch::{Device, Tensor};

fn tensor(name: &str) -> Tensor {
    let (shape, values) = golden::f32s(name);
    let shape: Vec<i64> = shape.into_iter().map(|size| size as i64).collect();
    Tensor::from_slice(&values).view(shape.as_slice())
}

fn head(kind: HeadKind) -> Head {
    let scale = golden::json("head")["distance_scale"].as_f64().expect("a number");
    let distance_scale = (kind != HeadKind::Isomax).then(|| Tensor::from_slice(&[scale as f32]));
    Head::Distances { kind, prototypes: tensor("prototypes"), distance_scale }
}

fn temperature() -> f64 {
    golden::json("head")["temperature"].as_f64().expect("a number")
}

#[track_caller]
fn assert_tensors_close(what: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(got.size(), expected.size(), "{what}");
    assert_close(what, (got - expected).abs().max().double_value(&[]), 0.0, tolerance);
}

#[test]
fn logits_are_the_references() {
    let features = tensor("features");
    let logits = |kind| head(kind).logits(&features).expect("logits");
    let scaled = |kind| logits(kind) / temperature();
    assert_tensors_close("dismax", &scaled(HeadKind::Dismax), &tensor("logits.dismax"), 1e-5);
    assert_tensors_close("isomax-plus", &scaled(HeadKind::IsomaxPlus), &tensor("logits.isomaxplus"), 1e-5);
    assert_tensors_close("isomax", &logits(HeadKind::Isomax), &tensor("logits.isomax"), 1e-5);
}

#[test]
fn the_mean_term_leaves_probabilities_alone() {
    // softmax(-(d + mean d)) == softmax(-d): the term is for the scores only.
    let features = tensor("features");
    let with = head(HeadKind::Dismax).logits(&features).expect("logits");
    let without = head(HeadKind::IsomaxPlus).logits(&features).expect("logits") * std::f64::consts::FRAC_1_SQRT_2;
    let difference = with.softmax(1, None) - without.softmax(1, None);
    assert_close("probabilities", difference.abs().max().double_value(&[]), 0.0, 1e-6);
    assert!((with - without).abs().min().double_value(&[]) > 0.1, "the logits must differ");
}

#[test]
fn logits_do_not_change_when_features_are_scaled() {
    let features = tensor("features");
    let head = head(HeadKind::Dismax);
    let (once, thrice) = (head.logits(&features).expect("logits"), head.logits(&(&features * 3)).expect("logits"));
    assert_tensors_close("scaled features", &thrice, &once, 1e-5);
}

/// Objective and gradients with respect to features, prototypes and distance scale.
fn objective_and_gradients(loss: Loss, mixed_rows: usize, alpha: f64) -> (f64, Vec<Tensor>) {
    let (features, head) = (tensor("features").set_requires_grad(true), head(loss.head()));
    let Head::Distances { prototypes, distance_scale, .. } = &head else { unreachable!("a distance head") };
    let mut inputs = vec![features.shallow_clone(), prototypes.set_requires_grad(true)];
    inputs.extend(distance_scale.as_ref().map(|scale| scale.set_requires_grad(true)));
    let (_, targets) = golden::i64s("targets");
    let (plain, mixed) = targets.split_at(targets.len() - mixed_rows);
    let mixed_labels = Tensor::from_slice(&mix_labels(mixed).concat()).view([-1, 4]);
    let options = ObjectiveOptions { loss, alpha, class_weights: None, label_smoothing: 0.0, mixed_share: 0.5 };
    let objective = Objective::try_new(options, Device::Cpu).expect("an objective");
    let (_, value) =
        objective.of_features(&head, &features, &Tensor::from_slice(plain), &mixed_labels).expect("an objective");
    let gradients = Tensor::run_backward(&[&value], &inputs, false, false);
    (value.double_value(&[]), gradients)
}

#[test]
fn dismax_losses_and_gradients_are_the_references() {
    for (loss, name, mixed) in [(Loss::Dismax, "none", 0), (Loss::DismaxDagger, "fpr", 16)] {
        for alpha in ["1.0", "0.25"] {
            let name = format!("loss.dismax.{name}.alpha{alpha}");
            let (value, gradients) = objective_and_gradients(loss, mixed, alpha.parse().expect("a number"));
            assert_close(&name, value, golden::f64(&name), 1e-5);
            for (input, gradient) in ["features", "prototypes", "distance_scale"].into_iter().zip(gradients) {
                let name = format!("{name}.grad.{input}");
                let expected = tensor(&name);
                // The reference takes the logarithm of a rounded softmax; gradients of size 1 agree to 5 digits.
                let tolerance = 1e-5 * expected.abs().max().double_value(&[]).max(1.0);
                assert_tensors_close(&name, &gradient, &expected, tolerance);
            }
        }
    }
}

#[test]
fn isomax_losses_are_the_references() {
    for (loss, name) in [(Loss::IsomaxPlus, "loss.isomaxplus.train"), (Loss::Isomax, "loss.isomax.train")] {
        assert_close(name, objective_and_gradients(loss, 0, 1.0).0, golden::f64(name), 2e-5);
    }
}

#[test]
fn the_loss_stays_finite_where_the_references_is_infinite() {
    // A gap of 110 after the entropic scale: softmax rounds to 0, its logarithm would be infinite.
    let logits = Tensor::from_slice(&[0.0f32, -11.0]).view([1, 2]) * Loss::Dismax.entropic_scale();
    let none = Tensor::from_slice::<i64>(&[]).view([-1, 4]);
    let options = ObjectiveOptions {
        loss: Loss::Dismax,
        alpha: 1.0,
        class_weights: None,
        label_smoothing: 0.0,
        mixed_share: 0.5,
    };
    let objective = Objective::try_new(options, Device::Cpu).expect("an objective");
    let value = objective.of_logits(&logits, &Tensor::from_slice(&[1i64]), &none).expect("an objective");
    assert_close("cross-entropy", value.double_value(&[]), 110.0, 1e-3);
}

#[test]
fn the_validation_loss_is_the_references() {
    let name = "loss.dismax.validation.temperature0.83";
    let log_p =
        (head(HeadKind::Dismax).logits(&tensor("features")).expect("logits") / temperature()).log_softmax(1, None);
    let targets = Tensor::from_slice(&golden::i64s("targets").1);
    assert_close(name, log_p.nll_loss(&targets).double_value(&[]), golden::f64(name), 1e-5);
}

#[test]
fn the_image_mix_is_the_references() {
    for size in ["32x32", "5x6"] {
        let (shape, images) = golden::f32s(&format!("fpr.input.{size}"));
        let (_, expected) = golden::f32s(&format!("fpr.output.{size}"));
        let [count, channels, height, width] = shape[..] else { unreachable!("four dimensions") };
        // The reference keeps channels first, the mix channels last.
        let mut pixels: Vec<f32> = Vec::new();
        for image in images.chunks(channels * height * width) {
            let value = |y: usize, x: usize, c: usize| image[(c * height + y) * width + x];
            pixels.extend(
                (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..channels).map(move |c| value(y, x, c)))),
            );
        }
        let plane = channels * height * width;
        mix_quadrants(&mut pixels[count / 2 * plane..], height, width, channels);
        for (index, &got) in pixels.iter().enumerate() {
            let (image, y, x, c) =
                (index / plane, index / channels / width % height, index / channels % width, index % channels);
            assert_eq!(
                got,
                expected[image * plane + (c * height + y) * width + x],
                "{size}: image {image}, {y}, {x}, {c}"
            );
        }
    }
}
