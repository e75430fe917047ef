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
}

fn worst(values: &[f32], expected: impl Iterator<Item = f64>) -> f64 {
    values.iter().zip(expected).map(|(value, expected)| (f64::from(*value) - expected).abs()).fold(0.0, f64::max)
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
    // The last has filters so large that blocks are.
    let shapes = [
        (16, 16, 32, 32, 3),
        (8, 32, 3, 3, 1),
        (32, 16, 5, 7, 2),
        (24, 48, 33, 6, 2),
        (64, 64, 8, 8, 9),
        (256, 256, 7, 7, 5),
    ];
    for (inputs, outputs, height, width, count) in shapes {
        let layer = Layer::drawn(inputs, outputs);
        let images = Images { count, height, width };
        let input = drawn(count * height * width * inputs, 3);
        let before = drawn(count * height * width * outputs, 4);
        let direct = layer.direct(&input, images);
        let what = format!("{inputs} to {outputs} channels, {images:?}");

        let sums = layer.convolve(&input, images, Ending::Nothing, before.clone());
        assert!(worst(&sums, direct.iter().copied()) < 5e-5, "{what}");
        let rectified = layer.convolve(&input, images, Ending::Relu, before.clone());
        assert!(worst(&rectified, direct.iter().map(|sum| sum.max(0.0))) < 5e-5, "{what}, rectified");
        let added = layer.convolve(&input, images, Ending::AddRelu, before.clone());
        let expected = direct.iter().zip(&before).map(|(sum, before)| (sum + f64::from(*before)).max(0.0));
        assert!(worst(&added, expected) < 5e-5, "{what}, with a residual sum");
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
    let output = layer.convolve(&input, images, Ending::Relu, vec![0.0; 2 * 64 * 16]);
    let (first, second) = output.split_at(64 * 16);
    assert!(first.iter().any(|value| value.is_nan()));
    assert!(second.iter().all(|value| value.is_finite()));
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
