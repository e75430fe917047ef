//! Layers for tests, and what they give by the convolution's definition.

use super::images::Images;
use super::instructions::is_available;
use super::winograd::{Epilogue, Winograd};

/// Values between -1 and 1, the same each time.
pub fn drawn(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919 + seed * 104_729) % 20_011) as f32 / 10_005.5 - 1.0).collect()
}

pub struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
    pub winograd: Winograd,
}

impl Layer {
    pub fn drawn(inputs: usize, outputs: usize) -> Self {
        let scale = 1.0 / (3.0 * (inputs as f32).sqrt());
        let weights: Vec<f32> = drawn(inputs * outputs * 9, 1).into_iter().map(|value| value * scale).collect();
        let bias = drawn(outputs, 2);
        let winograd = Winograd::try_new(&weights, &bias, inputs, outputs).expect("channels that fit");
        Self { inputs, outputs, weights, bias, winograd }
    }

    /// Sums in f64, as the definition says.
    pub fn direct(&self, input: &[f32], images: Images) -> Vec<f64> {
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

    pub fn convolve(&self, input: &[f32], images: Images, epilogue: Epilogue, mut output: Vec<f32>) -> Vec<f32> {
        self.winograd.convolve(input, images, epilogue, &mut output).expect("sizes that fit");
        output
    }
}

pub fn worst(values: &[f32], expected: impl Iterator<Item = f64>) -> f64 {
    values.iter().zip(expected).map(|(value, expected)| (f64::from(*value) - expected).abs()).fold(0.0, f64::max)
}

/// Says so where there is nothing to test.
pub fn skipped() -> bool {
    if !is_available() {
        println!("skipped: this processor has no AVX2 with FMA");
    }
    !is_available()
}
