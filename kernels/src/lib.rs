//! Winograd's convolution for kernels of 3x3 with stride 1 on a CPU with AVX2 or AVX-512: Lavin and Gray, *Fast
//! Algorithms for Convolutional Neural Networks* (arXiv 1509.09308), F(4x4, 3x3).
//!
//! A tile of 4x4 outputs takes 36 multiplications for each pair of channels instead of 144. oneDNN's direct
//! convolutions come near the peak of a processor with AVX2 on most layers (up to 97 of about 100 GFLOP/s on a core),
//! so fewer multiplications are what is left to gain: on one thread 1.6 to 2.6 times its images (16 channels of 32x32:
//! 1.6; 64 of 8x8: 2.6; 512 of 4x4: 2.5; `cargo bench --bench parts`). The price: weights take four times their memory
//! (all workers share them), and sums are less exact by a digit (1e-5 of a typical output instead of 2e-6).
//!
//! Images are cut into blocks of tiles, small enough for the first caches: each block is transformed, multiplied and
//! transformed back before the next, with bias, residual sum and rectifier on the way out.
//!
//! The code is generic over the register: with AVX-512 one holds sixteen channels, and a convolution takes 0.3 to 0.6
//! of the time of oneDNN's. For training there are the gradient of the weights and batch norm with what follows it: a
//! step of ResNet-20 and of ResNet-34 takes 0.7 of the time of libtorch's on a processor with AVX-512, and of ResNet-20
//! on the same one with libtorch, oneDNN and these kernels kept to AVX2.
//!
//! Scoring needs [`Winograd`] and [`channel_means`]; what only training needs is in [`training`]. On a processor
//! without AVX2, or of another kind, the crate compiles and every kernel refuses: [`is_available`] tells beforehand.
//!
//! A crate of its own, so that it is compiled with all optimisation also in development.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no kernel runs there"))]

mod block;
mod buffer;
mod error;
mod filters;
mod images;
mod instructions;
mod multiply;
mod pooling;
mod strip;
#[cfg(test)]
mod test_layers;
mod tiles;
pub mod training;
mod transform;
mod vector;
#[cfg_attr(not(target_arch = "x86_64"), path = "no_wide.rs")]
mod wide;
mod winograd;

pub use self::error::KernelError;
pub use self::images::Images;
pub use self::instructions::is_available;
pub use self::pooling::channel_means;
pub use self::winograd::{Epilogue, Winograd};

/// Input channels are a multiple of this.
pub const INPUT_CHANNELS: usize = vector::LANES;
/// Output channels are a multiple of this.
pub const OUTPUT_CHANNELS: usize = block::COLUMNS;
