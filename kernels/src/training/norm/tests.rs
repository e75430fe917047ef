//! Against batch norm's definition, and its gradient against finite differences.

use super::*;
use crate::test_layers::{drawn, skipped, worst};

/// Batch norm, residual sum and rectifier in f64, and by finite differences of them the gradient of their sum with
/// weights `slopes`.
fn normalized(values: &[f64], channels: usize, weight: &[f32], bias: &[f32], residual: &[f32]) -> Vec<f64> {
    let rows = values.len() / channels;
    let mut output = vec![0.0; values.len()];
    for channel in 0..channels {
        let of = |row: usize| values[row * channels + channel];
        let mean = (0..rows).map(of).sum::<f64>() / rows as f64;
        let variance = (0..rows).map(|row| (of(row) - mean).powi(2)).sum::<f64>() / rows as f64;
        for row in 0..rows {
            let value = (of(row) - mean) / (variance + 1e-5).sqrt() * f64::from(weight[channel]);
            let at = row * channels + channel;
            output[at] = (value + f64::from(bias[channel]) + f64::from(residual[at])).max(0.0);
        }
    }
    output
}

#[test]
fn batch_norm_and_its_gradient_are_the_definitions() {
    if skipped() {
        return;
    }
    // Sixteen take AVX-512's registers where there are any, the others AVX2's.
    [8, 16, 24].into_iter().for_each(batch_norm_is_the_definition);
}

fn batch_norm_is_the_definition(channels: usize) {
    let rows = 70;
    // Far from zero: the variance must not drown.
    let values: Vec<f32> = drawn(rows * channels, 1).into_iter().map(|value| 20.0 + value).collect();
    let (weight, bias) = (drawn(channels, 2), drawn(channels, 3));
    let (residual, slopes) = (drawn(rows * channels, 4), drawn(rows * channels, 5));
    let normalization = Normalization { weight: &weight, bias: &bias, epsilon: 1e-5, relu: true };
    let mut output = vec![f32::NAN; values.len()];
    let statistics = normalization.forward(&values, Some(&residual), &mut output).expect("fits");
    let exact: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    let expected = normalized(&exact, channels, &weight, &bias, &residual);
    assert!(worst(&output, expected.iter().copied()) < 2e-5);

    let (mut of_values, mut of_residual) = (values.clone(), slopes.clone());
    let (of_weight, of_bias) =
        normalization.backward(&statistics, &mut of_values, &output, &mut of_residual).expect("fits");
    let total =
        |output: &[f64]| output.iter().zip(&slopes).map(|(value, slope)| value * f64::from(*slope)).sum::<f64>();
    let step = 1e-4;
    for at in (0..values.len()).step_by(17) {
        let moved = |by: f64| {
            let mut moved = exact.clone();
            moved[at] += by;
            total(&normalized(&moved, channels, &weight, &bias, &residual))
        };
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((f64::from(of_values[at]) - difference).abs() < 1e-3, "{} {difference}", of_values[at]);
        assert_eq!(of_residual[at], if output[at] > 0.0 { slopes[at] } else { 0.0 });
    }
    for channel in 0..channels {
        let moved = |weights: f32, biases: f32| {
            let (mut weight, mut bias) = (weight.clone(), bias.clone());
            weight[channel] += weights;
            bias[channel] += biases;
            total(&normalized(&exact, channels, &weight, &bias, &residual))
        };
        // Small, as where the rectifier bends between the two there is no slope.
        let step = 1e-4f32;
        let by_weight = (moved(step, 0.0) - moved(-step, 0.0)) / (2.0 * f64::from(step));
        let by_bias = (moved(0.0, step) - moved(0.0, -step)) / (2.0 * f64::from(step));
        assert!((f64::from(of_weight[channel]) - by_weight).abs() < 2e-2, "{} {by_weight}", of_weight[channel]);
        assert!((f64::from(of_bias[channel]) - by_bias).abs() < 2e-2, "{} {by_bias}", of_bias[channel]);
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let normalization = Normalization { weight: &[1.0; 8], bias: &[0.0; 8], epsilon: 1e-5, relu: false };
    assert!(normalization.forward(&[0.0; 15], None, &mut [0.0; 15]).is_err());
    assert!(normalization.forward(&[0.0; 16], None, &mut [0.0; 8]).is_err());
    assert!(normalization.forward(&[], None, &mut []).is_err());
}
