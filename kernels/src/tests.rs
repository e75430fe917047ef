//! Against the convolution's definition.

use super::*;

/// Values between -1 and 1, the same each time.
fn drawn(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919 + seed * 104_729) % 20_011) as f32 / 10_005.5 - 1.0).collect()
}

struct Layer {
    inputs: usize,
    outputs: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
    winograd: Winograd,
}

impl Layer {
    fn drawn(inputs: usize, outputs: usize) -> Self {
        let scale = 1.0 / (3.0 * (inputs as f32).sqrt());
        let weights: Vec<f32> = drawn(inputs * outputs * 9, 1).into_iter().map(|value| value * scale).collect();
        let bias = drawn(outputs, 2);
        let winograd = Winograd::new(&weights, &bias, inputs, outputs).expect("channels that fit");
        Self { inputs, outputs, weights, bias, winograd }
    }

    /// Sums in f64, as the definition says.
    fn direct(&self, input: &[f32], images: Images) -> Vec<f64> {
        let mut sums = Vec::new();
        for pixel in 0..images.count * images.height * images.width {
            let (image, within) = (pixel / (images.height * images.width), pixel % (images.height * images.width));
            let (row, column) = (within / images.width, within % images.width);
            for output in 0..self.outputs {
                let mut sum = f64::from(self.bias[output]);
                for (tap, (down, across)) in
                    (0..3).flat_map(|down| (0..3).map(move |across| (down, across))).enumerate()
                {
                    let (y, x) = ((row + down).wrapping_sub(1), (column + across).wrapping_sub(1));
                    if y < images.height && x < images.width {
                        let from = images.offset(image, y, x, self.inputs);
                        for channel in 0..self.inputs {
                            let weight = self.weights[(output * self.inputs + channel) * 9 + tap];
                            sum += f64::from(input[from + channel]) * f64::from(weight);
                        }
                    }
                }
                sums.push(sum);
            }
        }
        sums
    }

    fn convolve(&self, input: &[f32], images: Images, ending: Ending, mut output: Vec<f32>) -> Vec<f32> {
        self.winograd.convolve(input, images, ending, &mut output).expect("sizes that fit");
        output
    }

    /// By each set of instructions that this processor has.
    fn by_all(&self, input: &[f32], images: Images, ending: Ending, before: &[f32]) -> Vec<(Instructions, Vec<f32>)> {
        let by = |instructions| {
            let mut output = before.to_vec();
            // What a larger layer left behind must not show.
            SCRATCH.with_borrow_mut(|scratch| {
                self.winograd.convolve_by(instructions, input, images, ending, &mut output, scratch);
            });
            (instructions, output)
        };
        there().into_iter().map(by).collect()
    }
}

fn worst(values: &[f32], expected: impl Iterator<Item = f64>) -> f64 {
    values.iter().zip(expected).map(|(value, expected)| (f64::from(*value) - expected).abs()).fold(0.0, f64::max)
}

fn there() -> Vec<Instructions> {
    [Instructions::Avx2, Instructions::Avx512].into_iter().filter(|set| set.are_there()).collect()
}

/// Says so where there is nothing to test.
fn skipped() -> bool {
    if !available() {
        println!("skipped: this processor has no AVX2 with FMA");
    }
    !available()
}

#[test]
fn all_sizes_and_endings_are_the_definitions() {
    if skipped() {
        return;
    }
    // One has filters so large that blocks are.
    let shapes = [
        (16, 16, 32, 32, 3),
        (8, 32, 3, 3, 1),
        (32, 16, 5, 7, 2),
        (24, 48, 33, 6, 2),
        (64, 64, 8, 8, 9),
        (256, 256, 7, 7, 5),
        (8, 16, 1, 1, 3),
        (16, 16, 1, 9, 2),
        (16, 32, 9, 1, 2),
        (16, 16, 4, 4, 0),
    ];
    for (inputs, outputs, height, width, count) in shapes {
        let layer = Layer::drawn(inputs, outputs);
        let images = Images { count, height, width };
        let input = drawn(count * height * width * inputs, 3);
        let before = drawn(count * height * width * outputs, 4);
        let direct = layer.direct(&input, images);
        let what = format!("{inputs} to {outputs} channels, {images:?}");

        for (set, sums) in layer.by_all(&input, images, Ending::Nothing, &before) {
            assert!(worst(&sums, direct.iter().copied()) < 5e-5, "{what}, {set:?}");
        }
        for (set, rectified) in layer.by_all(&input, images, Ending::Relu, &before) {
            assert!(worst(&rectified, direct.iter().map(|sum| sum.max(0.0))) < 5e-5, "{what}, rectified, {set:?}");
        }
        for (set, added) in layer.by_all(&input, images, Ending::AddRelu, &before) {
            let expected = direct.iter().zip(&before).map(|(sum, before)| (sum + f64::from(*before)).max(0.0));
            assert!(worst(&added, expected) < 5e-5, "{what}, with a residual sum, {set:?}");
        }
    }
}

#[test]
fn an_image_is_computed_alike_in_any_batch() {
    if skipped() {
        return;
    }
    let layer = Layer::drawn(16, 32);
    let together = Images { count: 7, height: 9, width: 9 };
    let alone = Images { count: 1, ..together };
    let input = drawn(7 * 81 * 16, 5);
    let all = layer.convolve(&input, together, Ending::Relu, vec![0.0; 7 * 81 * 32]);
    for (image, expected) in input.chunks(81 * 16).zip(all.chunks(81 * 32)) {
        assert_eq!(layer.convolve(image, alone, Ending::Relu, vec![0.0; 81 * 32]), expected);
    }
}

#[test]
fn what_is_no_number_stays_so_and_in_its_image() {
    if skipped() {
        return;
    }
    let layer = Layer::drawn(16, 16);
    let images = Images { count: 2, height: 8, width: 8 };
    let mut input = drawn(2 * 64 * 16, 6);
    input[100] = f32::NAN;
    for (set, output) in layer.by_all(&input, images, Ending::Relu, &[0.0; 2 * 64 * 16]) {
        let (first, second) = output.split_at(64 * 16);
        assert!(first.iter().any(|value| value.is_nan()), "{set:?}");
        assert!(second.iter().all(|value| value.is_finite()), "{set:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (inputs, outputs, weights, biases) in
        [(12, 16, 1728, 16), (8, 8, 576, 8), (8, 16, 1151, 16), (8, 16, 1152, 15), (0, 16, 0, 16)]
    {
        let refused = Winograd::new(&vec![0.0; weights], &vec![0.0; biases], inputs, outputs);
        assert_eq!(refused.expect_err("unfit"), Unfit::Shape { inputs, outputs, weights, biases });
    }
    let layer = Layer::drawn(8, 16);
    let size = Images { count: 1, height: 4, width: 4 };
    let refused = layer.winograd.convolve(&[0.0; 127], size, Ending::Nothing, &mut [0.0; 256]);
    assert_eq!(refused, Err(Unfit::Size { input: 127, output: 256, size }));
}

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
        for set in there() {
            let mut gradient = vec![f32::NAN; layer.weights.len()];
            gradient::weight_gradient_by(set, &input, &slopes, images, (inputs, outputs), &mut gradient);
            assert!(worst(&gradient, of_weights.iter().copied()) <= 2e-5 * scale, "{what}, {set:?}");
        }

        if let Ok(turned) = Winograd::of_input_gradient(&layer.weights, outputs, inputs) {
            let mut gradient = vec![f32::NAN; input.len()];
            turned.convolve(&slopes, images, Ending::Nothing, &mut gradient).expect("fits");
            assert!(worst(&gradient, of_input.into_iter()) < 5e-5, "{what}, of the input");
        } else {
            assert_eq!(inputs, 8, "{what}");
        }
    }
}

/// Batch norm, residual sum and rectifier in f64, and by finite differences of them the gradient of their sum with weights `slopes`.
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
fn gradients_refuse_what_does_not_fit() {
    let size = Images { count: 1, height: 4, width: 4 };
    let refused = weight_gradient(&[0.0; 127], &[0.0; 256], size, (8, 16), &mut [0.0; 1152]);
    assert_eq!(refused, Err(Unfit::Size { input: 127, output: 256, size }));
    assert!(matches!(
        weight_gradient(&[0.0; 128], &[0.0; 256], size, (8, 16), &mut [0.0; 9]),
        Err(Unfit::Shape { .. })
    ));
    let normalization = Normalization { weight: &[1.0; 8], bias: &[0.0; 8], epsilon: 1e-5, relu: false };
    assert!(normalization.forward(&[0.0; 15], None, &mut [0.0; 15]).is_err());
    assert!(normalization.forward(&[0.0; 16], None, &mut [0.0; 8]).is_err());
    assert!(normalization.forward(&[], None, &mut []).is_err());
}
