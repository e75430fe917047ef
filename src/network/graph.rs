//! A network as a list of operations with their numbers, for writers of other formats.
//!
//! Batch norm that follows a convolution is folded into it, in f32, as for scoring.

use tch::Tensor;

use super::conv::ConvShape;
use super::layers::{Conv, ConvNorm, Norm};
use crate::embedding::{EmbeddingHead, EmbeddingScorer};
use crate::error::Result;

/// What goes from one operation to others: the images, or what an operation gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(usize);

impl Value {
    /// The normalised images `[B, 3, H, W]`.
    pub const IMAGES: Self = Self(0);

    /// 0 for the images, `n` for what operation `n - 1` gives.
    pub fn number(self) -> usize {
        self.0
    }
}

/// Numbers in an order: the last dimension varies fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Sizes.
    pub shape: Vec<i64>,
    /// As many as the product of the sizes.
    pub values: Vec<f32>,
}

impl Array {
    fn of(tensor: &Tensor) -> Result<Self> {
        let values = Vec::<f32>::try_from(&tensor.f_detach()?.f_contiguous()?.f_reshape([-1])?)?;
        Ok(Self { shape: tensor.size(), values })
    }
}

/// One operation on values `[B, C, H, W]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// A convolution with `weight [C_out, C_in, K, K]` and `bias [C_out]`.
    Conv {
        /// What it reads.
        input: Value,
        /// Weights.
        weight: Array,
        /// Biases; none are zeros.
        bias: Option<Array>,
        /// Step in both directions.
        stride: i64,
        /// Zeros added on every side.
        padding: i64,
    },
    /// Each channel times its `scale [C]` plus its `shift [C]`: batch norm that stands alone.
    ScaleShift {
        /// What it reads.
        input: Value,
        /// Factors.
        scale: Array,
        /// Summands.
        shift: Array,
    },
    /// The rectifier.
    Relu(Value),
    /// The sum of two values.
    Add(Value, Value),
    /// Both, with their channels one after the other.
    Concat(Value, Value),
    /// The maximum over squares.
    MaxPool {
        /// What it reads.
        input: Value,
        /// Side of a square.
        kernel: i64,
        /// Step in both directions.
        stride: i64,
        /// Pixels added on every side, below all numbers.
        padding: i64,
    },
    /// The mean over squares that do not overlap.
    AveragePool {
        /// What it reads.
        input: Value,
        /// Side of a square.
        kernel: i64,
    },
}

/// A head's numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum HeadNumbers {
    /// A linear layer: `weight [C, D]` and `bias [C]`.
    Linear {
        /// Weights.
        weight: Array,
        /// Biases.
        bias: Array,
    },
    /// Distances to `prototypes [C, D]`.
    Distances {
        /// Prototypes; of length 1 where features are scaled to length 1 too.
        prototypes: Array,
        /// Factor on the distances between features and prototypes of length 1; none where neither is scaled.
        scale: Option<f32>,
        /// Whether the mean distance of a row is added to each (DisMax).
        adds_mean: bool,
    },
    /// Distances between whitened features and class means.
    Whitened(WhitenedNumbers),
}

/// The numbers of a head that was fitted to features in closed form.
#[derive(Debug, Clone, PartialEq)]
pub struct WhitenedNumbers {
    /// Which distances become logits.
    pub head: EmbeddingHead,
    /// `[D]`: from which features of length 1 are measured.
    pub centre: Array,
    /// `[K, D]`: directions with a variance of their own.
    pub directions: Array,
    /// `[K]`: these variances.
    pub variances: Array,
    /// Variance along any other direction.
    pub rest_variance: f32,
    /// `[C, D]`: what gives the products with the whitened class means.
    pub prototypes: Array,
    /// `[C]`: lengths of the whitened class means.
    pub lengths: Array,
    /// Factor on DisMax's distances.
    pub distance_scale: f32,
}

impl HeadNumbers {
    /// Those of a head that scores embeddings.
    pub fn of(scorer: &EmbeddingScorer) -> Self {
        let parts = scorer.parts();
        let [kept, dimensions, classes] =
            [parts.variances.len(), parts.centre.len(), parts.lengths.len()].map(|count| count as i64);
        let array = |values: &[f32], shape: &[i64]| Array { shape: shape.to_vec(), values: values.to_vec() };
        let lengths: Vec<f32> = parts.lengths.iter().map(|length| *length as f32).collect();
        Self::Whitened(WhitenedNumbers {
            head: scorer.head(),
            centre: array(parts.centre, &[dimensions]),
            directions: array(parts.directions, &[kept, dimensions]),
            variances: array(parts.variances, &[kept]),
            rest_variance: parts.rest_variance,
            prototypes: array(&parts.prototypes, &[classes, dimensions]),
            lengths: array(&lengths, &[classes]),
            distance_scale: scorer.distance_scale(),
        })
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// In an order in which each reads only what came before.
    pub operations: Vec<Operation>,
    /// What the stages but the last give, one after the other.
    pub stages: Vec<Value>,
    /// The mean of this over height and width are the features `[B, D]`.
    pub last: Value,
}

/// Collects a network's operations.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    operations: Vec<Operation>,
    stages: Vec<Value>,
}

impl GraphBuilder {
    /// The network whose last stage gives `last`.
    pub fn finish(self, last: Value) -> Graph {
        Graph { operations: self.operations, stages: self.stages, last }
    }

    /// Appends an operation.
    pub fn push(&mut self, operation: Operation) -> Value {
        self.operations.push(operation);
        Value(self.operations.len())
    }

    /// A stage ends with this.
    pub fn end_stage(&mut self, value: Value) {
        self.stages.push(value);
    }

    /// A convolution that no batch norm follows directly.
    pub fn conv(&mut self, input: Value, conv: &Conv) -> Result<Value> {
        let bias = conv.bias.as_ref().map(Array::of).transpose()?;
        self.push_conv(input, &conv.weight, bias, conv.shape)
    }

    /// A convolution and the batch norm after it.
    pub fn conv_norm(&mut self, input: Value, pair: &ConvNorm) -> Result<Value> {
        let (weight, bias, shape) = pair.folded()?;
        self.push_conv(input, &weight, Some(Array::of(&bias)?), shape)
    }

    fn push_conv(&mut self, input: Value, weight: &Tensor, bias: Option<Array>, shape: ConvShape) -> Result<Value> {
        let ConvShape { stride, padding, .. } = shape;
        Ok(self.push(Operation::Conv { input, weight: Array::of(weight)?, bias, stride, padding }))
    }

    /// Batch norm that follows no convolution.
    pub fn norm(&mut self, input: Value, norm: &Norm) -> Result<Value> {
        let (scale, shift) = norm.scale_and_shift()?;
        Ok(self.push(Operation::ScaleShift { input, scale: Array::of(&scale)?, shift: Array::of(&shift)? }))
    }

    /// The rectifier.
    pub fn relu(&mut self, input: Value) -> Value {
        self.push(Operation::Relu(input))
    }
}

/// The array of a tensor, for heads.
pub(super) fn array(tensor: &Tensor) -> Result<Array> {
    Array::of(tensor)
}
