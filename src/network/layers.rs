//! Layers that the networks share: convolution, batch norm, and the two together.

use dismax_kernels::channel_means;
use tch::{Device, Kind, Tensor};

use super::conv::{ConvShape, Epilogue};
use super::cudnn::CudnnConv;
use super::fused::FusedConv;
use super::values;
use super::weights::{Init, WeightPath, channels_last};
use crate::error::{Error, Result};

/// Added to the variance before its root is taken, as in PyTorch.
pub(super) const EPSILON: f64 = 1e-5;
/// Weight of the newest batch in the running statistics, as in PyTorch.
pub(super) const MOMENTUM: f64 = 0.1;

/// A convolution.
#[derive(Debug)]
pub struct Conv {
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
    pub(super) shape: ConvShape,
}

impl Conv {
    /// A convolution whose weights begin He-normal over the outputs (He et al. 2015), biases 0.
    pub fn try_new(mut path: WeightPath<'_>, shape: ConvShape) -> Result<Self> {
        let fan_out = (shape.outputs * shape.kernel * shape.kernel) as f64;
        let size = [shape.outputs, shape.inputs, shape.kernel, shape.kernel];
        let weight = path.parameter("weight", &size, Init::Normal((2.0 / fan_out).sqrt()))?;
        let bias = match shape.bias {
            true => Some(path.parameter("bias", &[shape.outputs], Init::Constant(0.0))?),
            false => None,
        };
        Ok(Self { weight, bias, shape })
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        let bias = self.bias.as_ref().map(Tensor::shallow_clone);
        Self { weight: self.weight.shallow_clone(), bias, shape: self.shape }
    }

    /// Turns the weights into `kind`, for scoring.
    pub fn convert(&mut self, kind: Kind) -> Result<()> {
        self.weight = self.weight.f_to_kind(kind)?;
        self.bias = self.bias.take().map(|bias| bias.f_to_kind(kind)).transpose()?;
        Ok(())
    }

    /// `[B, C_in, H, W]` to `[B, C_out, H', W']`.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let ConvShape { stride, padding, .. } = self.shape;
        Ok(input.f_conv2d(&self.weight, self.bias.as_ref(), [stride, stride], [padding, padding], [1, 1], 1)?)
    }
}

/// Batch norm over the channels of `[B, C, H, W]`. Its tensors stay f32, also where the input is not.
#[derive(Debug)]
pub struct Norm {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    pub(super) running_mean: Tensor,
    pub(super) running_var: Tensor,
}

impl Norm {
    /// Batch norm of `channels` channels that begins as the identity.
    pub fn try_new(mut path: WeightPath<'_>, channels: i64) -> Result<Self> {
        Ok(Self {
            weight: path.parameter("weight", &[channels], Init::Constant(1.0))?,
            bias: path.parameter("bias", &[channels], Init::Constant(0.0))?,
            running_mean: path.buffer("running_mean", &[channels], Init::Constant(0.0))?,
            running_var: path.buffer("running_var", &[channels], Init::Constant(1.0))?,
        })
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            running_mean: self.running_mean.shallow_clone(),
            running_var: self.running_var.shallow_clone(),
        }
    }

    /// Normalises with the batch's statistics (and updates the running ones) in training, else with the running ones.
    pub fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, variance) = (Some(&self.running_mean), Some(&self.running_var));
        Ok(input.f_batch_norm(weight, bias, mean, variance, training, MOMENTUM, EPSILON, true)?)
    }

    /// Scale and shift per channel that the running statistics amount to.
    pub(super) fn scale_and_shift(&self) -> Result<(Tensor, Tensor)> {
        let scale = self.weight.f_div(&self.running_var.f_add_scalar(EPSILON)?.f_sqrt()?)?;
        let shift = self.bias.f_sub(&self.running_mean.f_mul(&scale)?)?;
        Ok((scale, shift))
    }
}

/// A convolution and the batch norm after it. Folded for scoring, the pair is one convolution with a bias.
#[derive(Debug)]
pub enum ConvNorm {
    /// As trained, or folded where only the convolution is left.
    Plain {
        /// The convolution.
        conv: Conv,
        /// The batch norm, until it is folded.
        norm: Option<Norm>,
    },
    /// Folded on a CPU: with what follows it in one.
    Fused(FusedConv),
    /// Folded to 16 bits for a GPU.
    Cudnn(CudnnConv),
}

impl ConvNorm {
    /// The pair, from weights already built.
    pub fn new(conv: Conv, norm: Norm) -> Self {
        Self::Plain { conv, norm: Some(norm) }
    }

    /// A new pair under these names.
    pub fn named(path: &mut WeightPath<'_>, conv: &str, norm: &str, shape: ConvShape) -> Result<Self> {
        let conv = Conv::try_new(path.sub(conv), shape)?;
        Ok(Self::new(conv, Norm::try_new(path.sub(norm), shape.outputs)?))
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        match self {
            Self::Plain { conv, norm } => Self::Plain { conv: conv.share(), norm: norm.as_ref().map(Norm::share) },
            Self::Fused(fused) => Self::Fused(fused.share()),
            Self::Cudnn(conv) => Self::Cudnn(conv.share()),
        }
    }

    /// `[B, C_in, H, W]` to `[B, C_out, H', W']`.
    pub fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor> {
        match self {
            Self::Fused(fused) => fused.forward(input, Epilogue::None),
            Self::Cudnn(conv) => conv.forward(input, Epilogue::None),
            Self::Plain { conv, norm: None } => conv.forward(input),
            Self::Plain { conv, norm: Some(norm) } => norm.forward(&conv.forward(input)?, training),
        }
    }

    /// The same and the rectifier.
    pub fn forward_relu(&self, input: &Tensor, training: bool) -> Result<Tensor> {
        match self {
            Self::Fused(fused) => fused.forward(input, Epilogue::Relu),
            Self::Cudnn(conv) => conv.forward(input, Epilogue::Relu),
            Self::Plain { .. } => relu(self.forward(input, training)?),
        }
    }

    /// The same, plus `shortcut`, and the rectifier. Fused, it writes over `shortcut`, so nothing may need that any
    /// more.
    pub fn forward_add_relu(&self, input: &Tensor, shortcut: &Tensor, training: bool) -> Result<Tensor> {
        match self {
            Self::Fused(fused) => fused.forward(input, Epilogue::AddRelu(shortcut)),
            Self::Cudnn(conv) => conv.forward(input, Epilogue::AddRelu(shortcut)),
            Self::Plain { .. } => {
                let mut sum = self.forward(input, training)?;
                let _ = sum.f_add_(shortcut)?;
                relu(sum)
            }
        }
    }

    /// Multiplies the running statistics into the convolution: a convolution costs the same with a bias, and the pass
    /// over memory that batch norm takes is gone. Computed in f32, then turned into `kind`. Scoring only; the weights
    /// no longer follow their store.
    pub fn fold(&mut self, kind: Kind) -> Result<()> {
        let Self::Plain { conv, norm } = self else { return Ok(()) };
        let Some(norm) = norm.take() else { return Ok(()) };
        let (weight, bias) = folded(conv, &norm)?;
        conv.weight = weight;
        if kind == Kind::Float
            && conv.weight.device() == Device::Cpu
            && let Some(fused) = FusedConv::new(&conv.weight, &bias, conv.shape)
        {
            *self = Self::Fused(fused);
            return Ok(());
        }
        if kind != Kind::Float {
            let (weight, bias) = (conv.weight.f_to_kind(kind)?, bias.f_to_kind(kind)?);
            *self = Self::Cudnn(CudnnConv::new(weight, bias, conv.shape));
            return Ok(());
        }
        conv.bias = Some(bias);
        Ok(())
    }

    /// Weights `[C_out, C_in, K, K]` and biases `[C_out]` of the one convolution that the pair amounts to in scoring.
    ///
    /// # Errors
    /// [`Error::Internal`] where it was folded before; whatever libtorch refuses.
    pub fn folded(&self) -> Result<(Tensor, Tensor, ConvShape)> {
        let Self::Plain { conv, norm: Some(norm) } = self else {
            return Err(Error::Internal("the network was folded before".into()));
        };
        let (weight, bias) = folded(conv, norm)?;
        Ok((weight, bias, conv.shape))
    }

    /// From here on a convolution and what follows it are computed apart.
    pub fn without_fused_kernels(&self) {
        if let Self::Cudnn(conv) = self {
            conv.without_fused_kernels();
        }
    }
}

/// Weights, channels last, and biases of a convolution into which the running statistics are multiplied.
fn folded(conv: &Conv, norm: &Norm) -> Result<(Tensor, Tensor)> {
    let (scale, shift) = norm.scale_and_shift()?;
    let bias = match &conv.bias {
        Some(bias) => shift.f_add(&bias.f_mul(&scale)?)?,
        None => shift,
    };
    Ok((channels_last(&conv.weight.f_mul(&scale.f_view([-1, 1, 1, 1])?)?)?, bias))
}

/// In-place rectifier: batch norm and convolution keep their inputs, not their outputs, so overwriting is safe.
pub(crate) fn relu(mut tensor: Tensor) -> Result<Tensor> {
    let _ = tensor.f_relu_()?;
    Ok(tensor)
}

/// Mean over height and width: `[B, C, H, W]` to `[B, C]`; of 16-bit numbers in f32.
pub(crate) fn global_average_pool(tensor: &Tensor) -> Result<Tensor> {
    // A sum of many values would lose what 16 bits cannot hold.
    let kind = matches!(tensor.kind(), Kind::Half | Kind::BFloat16).then_some(Kind::Float);
    Ok(tensor.f_mean_dim([2i64, 3].as_slice(), false, kind)?)
}

/// The same without gradients. Of what lies in memory channels last, as what the kernels here compute does, sums of
/// whole rows of channels: several times as fast as libtorch's mean over two dimensions.
pub(crate) fn pooled(tensor: &Tensor) -> Result<Tensor> {
    let rows = tensor.f_permute([0, 2, 3, 1])?;
    let is_plain = rows.device() == Device::Cpu && rows.kind() == Kind::Float && rows.is_contiguous();
    let &[images, height, width, channels] = rows.size().as_slice() else {
        return Err(Error::Internal(format!("{tensor:?} is no batch of images")));
    };
    if !is_plain || rows.numel() == 0 {
        return global_average_pool(tensor);
    }
    let (pixels, channels) = ((height * width) as usize, channels as usize);
    let mut means = vec![0.0f32; images as usize * channels];
    for (image, means) in values::of(&rows)?.chunks_exact(pixels * channels).zip(means.chunks_exact_mut(channels)) {
        channel_means(image, means);
    }
    Ok(Tensor::f_from_slice(&means)?.f_view([images, channels as i64])?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn means_are_the_same_however_the_values_lie_in_memory() {
        let tensor = Tensor::arange(2 * 5 * 3 * 4, (Kind::Float, Device::Cpu)).view([2, 5, 3, 4]).sin();
        let last = tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let expected = global_average_pool(&tensor).unwrap();
        for tensor in [&tensor, &last] {
            let means = pooled(tensor).unwrap();
            assert_eq!(means.size(), [2, 5]);
            assert!((means - &expected).abs().max().double_value(&[]) < 1e-6);
        }
        assert!(pooled(&tensor.view([2, 60])).is_err());
    }
}
