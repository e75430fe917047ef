//! Against the gradient's definition.

use super::*;
use crate::test_layers::{Layer, drawn, skipped, worst};
use crate::winograd::{Epilogue, Winograd};

#[test]
fn gradients_are_the_definitions() {
    if skipped() {
        return;
    }
    for (inputs, outputs, height, width, count) in [
        (16, 16, 8, 8, 2),
        (8, 32, 3, 3, 1),
        (32, 16, 5, 7, 3),
        (64, 64, 4, 4, 13),
        (16, 16, 1, 5, 2),
        (8, 16, 2, 2, 0),
    ] {
        let layer = Layer::drawn(inputs, outputs);
        let images = Images { count, height, width };
        let what = format!("{inputs} to {outputs} channels, {images:?}");
        let input = drawn(count * height * width * inputs, 3);
        let slopes = drawn(count * height * width * outputs, 4);

        // Every product of an input and a weight that the forward pass adds to an output.
        let mut of_weights = vec![0.0f64; layer.weights.len()];
        let mut of_input = vec![0.0f64; input.len()];
        for image in 0..count {
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
                for tap in 0..9 {
                    let (y, x) = ((row + tap / 3).wrapping_sub(1), (column + tap % 3).wrapping_sub(1));
                    if y >= height || x >= width {
                        continue;
                    }
                    let (from, to) = (images.offset(image, y, x, inputs), images.offset(image, row, column, outputs));
                    for (output, channel) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                        let weight = (output * inputs + channel) * 9 + tap;
                        let slope = f64::from(slopes[to + output]);
                        of_weights[weight] += slope * f64::from(input[from + channel]);
                        of_input[from + channel] += slope * f64::from(layer.weights[weight]);
                    }
                }
            }
        }

        let scale = of_weights.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        for set in Instructions::all() {
            let mut gradient = vec![f32::NAN; layer.weights.len()];
            weight_gradient_by(set, &input, &slopes, images, (inputs, outputs), &mut gradient);
            assert!(worst(&gradient, of_weights.iter().copied()) <= 2e-5 * scale, "{what}, {set:?}");
        }

        if let Ok(turned) = Winograd::of_input_gradient(&layer.weights, outputs, inputs) {
            let mut gradient = vec![f32::NAN; input.len()];
            turned.convolve(&slopes, images, Epilogue::None, &mut gradient).expect("fits");
            assert!(worst(&gradient, of_input.into_iter()) < 5e-5, "{what}, of the input");
        } else {
            assert_eq!(inputs, 8, "{what}");
        }
    }
}

#[test]
fn gradients_refuse_what_does_not_fit() {
    let size = Images { count: 1, height: 4, width: 4 };
    let refused = weight_gradient(&[0.0; 127], &[0.0; 256], size, (8, 16), &mut [0.0; 1152]);
    assert_eq!(refused, Err(KernelError::Size { input: 127, output: 256, size }));
    assert!(matches!(
        weight_gradient(&[0.0; 128], &[0.0; 256], size, (8, 16), &mut [0.0; 9]),
        Err(KernelError::Shape { .. })
    ));
}
