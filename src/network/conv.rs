//! What convolutions look like, and what follows them.

use tch::Tensor;

/// What a convolution looks like; `[C_in, kernel, stride]` and so on are the field's usual meanings.
#[derive(Debug, Clone, Copy)]
pub struct ConvShape {
    /// Input channels.
    pub inputs: i64,
    /// Output channels.
    pub outputs: i64,
    /// Height and width of the kernel.
    pub kernel: i64,
    /// Step in both directions.
    pub stride: i64,
    /// Zeros added on every side.
    pub padding: i64,
    /// Whether a bias per output channel is added.
    pub bias: bool,
}

impl ConvShape {
    /// 3x3 with padding 1, no bias.
    pub fn three(inputs: i64, outputs: i64, stride: i64) -> Self {
        Self { inputs, outputs, kernel: 3, stride, padding: 1, bias: false }
    }

    /// 1x1 without padding, no bias.
    pub fn one(inputs: i64, outputs: i64, stride: i64) -> Self {
        Self { inputs, outputs, kernel: 1, stride, padding: 0, bias: false }
    }
}

/// What follows a convolution (and its batch norm), computed with it.
#[derive(Debug, Clone, Copy)]
pub enum Epilogue<'a> {
    /// Nothing.
    None,
    /// The rectifier.
    Relu,
    /// The sum with this, which may be overwritten, and the rectifier.
    AddRelu(&'a Tensor),
}

impl<'a> Epilogue<'a> {
    /// What is added, if anything is.
    pub fn residual(self) -> Option<&'a Tensor> {
        match self {
            Self::AddRelu(residual) => Some(residual),
            Self::None | Self::Relu => None,
        }
    }

    /// Whether the rectifier comes last.
    pub fn has_relu(self) -> bool {
        !matches!(self, Self::None)
    }
}
