//! Why a kernel refuses.

use super::images::Images;

/// Why something cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// Other channels than multiples of 8 in and 16 out, or other numbers of weights or biases than they ask for.
    #[error("{inputs} to {outputs} channels with {weights} weights and {biases} biases")]
    Shape {
        /// Input channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
        /// Weights given.
        weights: usize,
        /// Biases given.
        biases: usize,
    },
    /// Values that do not fill the images.
    #[error("{input} values in and {output} out for {size:?}")]
    Size {
        /// Values given.
        input: usize,
        /// Places for results.
        output: usize,
        /// The images.
        size: Images,
    },
    /// A processor without AVX2 and FMA.
    #[error("this processor has no AVX2 with FMA")]
    Processor,
}
