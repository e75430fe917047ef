//! Filters for the first convolution that whiten patches of the training images, in place of random ones (Jordan, *94%
//! on CIFAR-10 in 3.29 Seconds on a Single GPU*, arXiv 2404.00498, section 3.2; patches of 3x3 as in Page, *How to
//! Train Your ResNet*).
//!
//! Neighbouring pixels are nearly the same, so that random filters nearly all see the same. The principal components of
//! the patches, each divided by its deviation, are uncorrelated and equally strong. Each comes twice, with both signs,
//! so that no information is lost behind a rectifier.

use std::array;

use dismax::error::{Error, Result};
use dismax::network::Network;
use nalgebra::{DMatrix, SymmetricEigen};
use tch::Tensor;

/// Height and width of a patch: those of the first convolution.
const SIDE: usize = 3;
/// Numbers of a patch.
const LENGTH: usize = 3 * SIDE * SIDE;
/// Patches of an image, in each direction.
const PLACES: usize = 4;
/// Added to a component's variance before its root is taken, so that noise does not become as strong as the picture.
const EPSILON: f64 = 5e-4;

/// Sums over patches of the training images. Of integers, so that they do not depend on the order of the images.
#[derive(Debug)]
pub(super) struct Patches {
    count: u64,
    sums: [u64; LENGTH],
    products: [[u64; LENGTH]; LENGTH],
}

impl Default for Patches {
    fn default() -> Self {
        Self { count: 0, sums: [0; LENGTH], products: [[0; LENGTH]; LENGTH] }
    }
}

impl Patches {
    /// Adds patches of an image `[H, W, 3]` of at least 3x3, evenly spread over it.
    pub(super) fn add(&mut self, pixels: &[u8], (height, width): (usize, usize)) {
        let place = |number: usize, length: usize| number * (length - SIDE) / (PLACES - 1);
        for (row, column) in (0..PLACES * PLACES).map(|at| (place(at / PLACES, height), place(at % PLACES, width))) {
            // In the order of a convolution's weights: channel, row, column.
            let patch: [u64; LENGTH] = array::from_fn(|at| {
                let (channel, y, x) = (at / (SIDE * SIDE), at / SIDE % SIDE, at % SIDE);
                u64::from(pixels[((row + y) * width + column + x) * 3 + channel])
            });
            self.count += 1;
            for ((value, sum), products) in patch.iter().zip(&mut self.sums).zip(&mut self.products) {
                *sum += value;
                products.iter_mut().zip(&patch).for_each(|(product, other)| *product += value * other);
            }
        }
    }

    /// The filters, strongest first, of pixels that are divided by the channels' standard deviations `std` on the scale
    /// 0 to 1.
    fn filters(&self, std: [f32; 3]) -> Vec<[f64; LENGTH]> {
        let count = self.count.max(1) as f64;
        let scale = |at: usize| 255.0 * f64::from(std[at / (SIDE * SIDE)]);
        let covariance = DMatrix::from_fn(LENGTH, LENGTH, |row, column| {
            let mean = |at: usize| self.sums[at] as f64 / count;
            let covariance = self.products[row][column] as f64 / count - mean(row) * mean(column);
            covariance / (scale(row) * scale(column))
        });
        let SymmetricEigen { eigenvectors, eigenvalues } = covariance.symmetric_eigen();
        let mut order: Vec<usize> = (0..LENGTH).collect();
        order.sort_by(|&one, &other| eigenvalues[other].total_cmp(&eigenvalues[one]));
        let filter = |component: usize| {
            let deviation = (eigenvalues[component].max(0.0) + EPSILON).sqrt();
            array::from_fn(|at| eigenvectors[(at, component)] / deviation)
        };
        order.into_iter().map(filter).collect()
    }

    /// Filters for the first convolution `[C_out, 3, 3, 3]`: as many components as fit twice. What more outputs there
    /// are keep their random filters.
    pub(super) fn whitening(&self, std: [f32; 3]) -> Whitening {
        Whitening { filters: self.filters(std) }
    }
}

/// Filters that whiten, strongest first.
#[derive(Debug)]
pub(super) struct Whitening {
    filters: Vec<[f64; LENGTH]>,
}

impl Whitening {
    /// Writes the filters, once with each sign, over the first of the network's first convolution.
    ///
    /// # Errors
    /// [`Error::Internal`] for a network whose first convolution is not 3x3, which options do not allow.
    pub(super) fn load_into(&self, network: &Network) -> Result<()> {
        let first = network.weights().iter().find(|weight| weight.tensor.dim() == 4);
        let first = first.map(|weight| (weight.tensor.shallow_clone(), weight.tensor.size()));
        let Some((weight, [outputs, 3, 3, 3])) = first.as_ref().map(|(weight, size)| (weight, size.as_slice())) else {
            return Err(Error::Internal("a first convolution that is not 3x3 cannot whiten".into()));
        };
        let filters = self.filters.iter().take(*outputs as usize / 2);
        let signed = filters.flat_map(|filter| [1.0, -1.0].map(|sign| filter.map(|value| (sign * value) as f32)));
        let values: Vec<f32> = signed.flatten().collect();
        let count = (values.len() / LENGTH) as i64;
        let values = Tensor::f_from_slice(&values)?.f_view([count, 3, 3, 3])?;
        tch::no_grad(|| Ok(weight.f_narrow(0, 0, count)?.f_copy_(&values).map(drop)?))
    }
}

#[cfg(test)]
mod tests {
    use dismax::network::{Architecture, HeadKind};
    use serde_json::Value;
    use tch::Device;

    use super::*;
    use crate::golden::common::golden;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
    }

    /// The images of `tests/golden/training.py`: [6, 11, 9, 3].
    fn patches() -> Patches {
        let drawn = crate::golden::made_up("whitening", 6 * 11 * 9 * 3);
        let drawn: Vec<f64> = drawn.into_iter().map(|unit| (256.0 * (unit + 0.5)).floor()).collect();
        let mut patches = Patches::default();
        for image in drawn.chunks_exact(11 * 9 * 3) {
            let pixels = image.iter().enumerate().map(|(at, &value)| match at.checked_sub(9 * 3) {
                None => value as u8,
                Some(above) => ((value + 2.0 * image[above]) / 3.0).floor() as u8,
            });
            patches.add(&pixels.collect::<Vec<_>>(), (11, 9));
        }
        patches
    }

    #[test]
    fn filters_are_numpys_up_to_their_signs() {
        let expected = golden::json("train.whitening");
        let std: Vec<f32> = numbers(&expected["std"]).into_iter().map(|std| std as f32).collect();
        let filters = patches().filters(std.try_into().expect("three"));
        for (filter, expected) in filters.iter().zip(numbers(&expected["filters"]).chunks_exact(LENGTH)) {
            let along: f64 = filter.iter().zip(expected).map(|(ours, theirs)| ours * theirs).sum();
            for (ours, theirs) in filter.iter().zip(expected) {
                assert!((along.signum() * ours - theirs).abs() < 1e-4, "{filter:?} {expected:?}");
            }
        }
    }

    #[test]
    fn a_first_convolution_gets_each_filter_with_both_signs() {
        let whitening = patches().whitening([0.2, 0.25, 0.3]);
        // 54 of the 64 outputs of ResNet-34.
        for (architecture, taken) in [(Architecture::Vgg8, 32), (Architecture::Resnet34, 54)] {
            let network = || Network::try_new(architecture, HeadKind::Softmax, 2, Device::Cpu, 1).expect("a network");
            let first = |network: &Network| {
                let weight = network.weights().iter().find(|weight| weight.name == "conv1.weight").expect("a weight");
                weight.tensor.detach().copy()
            };
            let (random, whitened) = (first(&network()), network());
            whitening.load_into(&whitened).expect("a first convolution of 3x3");
            let whitened = first(&whitened);
            let both = whitened.narrow(0, 0, taken).reshape([-1, 2, 27]).sum_dim_intlist(1i64, false, None);
            assert_eq!(both.abs().max().double_value(&[]), 0.0);
            assert!((whitened.get(0) - random.get(0)).abs().max().double_value(&[]) > 0.1);
            let left = random.size()[0] - taken;
            assert_eq!(whitened.narrow(0, taken, left), random.narrow(0, taken, left));
        }
        let photographs =
            Network::zeroed(Architecture::Resnet18, HeadKind::Softmax, 2, Device::Cpu).expect("a network");
        assert!(whitening.load_into(&photographs).is_err());
    }
}
