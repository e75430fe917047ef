//! Batch norm in training (Ioffe and Szegedy, arXiv 1502.03167) with the residual sum and the rectifier after it, and
//! its gradient.
//!
//! libtorch takes a pass over memory for each of these, and for each of their gradients. Here there are two forward and
//! two backward: what the sums over all rows need, and the rest.

use crate::error::KernelError;
use crate::instructions::{Instructions, Kernel};
use crate::vector::{LANES, Lanes, Vector, WIDE_LANES};
use crate::wide::Wide;

#[cfg(test)]
mod tests;

/// Rows whose sums are kept in f32; sums of such blocks are f64.
const ROWS: usize = 64;

/// What to normalise with.
#[derive(Debug, Clone, Copy)]
pub struct Normalization<'a> {
    /// Scale of each channel, `[C]`.
    pub weight: &'a [f32],
    /// Shift of each channel, `[C]`.
    pub bias: &'a [f32],
    /// Added to the variance before its root is taken.
    pub epsilon: f32,
    /// Whether the rectifier follows.
    pub relu: bool,
}

/// Statistics of the rows that were normalised, for each channel.
#[derive(Debug, Clone)]
pub struct Normalized {
    /// Mean, `[C]`.
    pub mean: Vec<f32>,
    /// Variance, `[C]`, divided by the number of rows.
    pub variance: Vec<f32>,
    inverse_deviation: Vec<f32>,
}

impl Normalization<'_> {
    /// Normalises `values [rows, C]` to `output [rows, C]`, adds `residual [rows, C]` where there is one, and applies
    /// the rectifier where one follows.
    ///
    /// # Errors
    /// [`KernelError`]: channels that are no multiple of 8, lengths that do not fit each other, a processor without
    /// AVX2.
    pub fn forward(
        &self,
        values: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) -> Result<Normalized, KernelError> {
        let instructions = self.check(values.len(), [output.len(), residual.map_or(output.len(), <[f32]>::len)])?;
        Ok(instructions.run(Forward { of: self, values, residual, output }))
    }

    /// The gradient. `values` are what was normalised, and become the gradient of it; `output` is what came out;
    /// `gradient` is that of the output, and becomes that of what stood before the rectifier: the residual's. Returns
    /// those of weight and bias, `[C]` each.
    ///
    /// # Errors
    /// As [`Normalization::forward`].
    pub fn backward(
        &self,
        statistics: &Normalized,
        values: &mut [f32],
        output: &[f32],
        gradient: &mut [f32],
    ) -> Result<(Vec<f32>, Vec<f32>), KernelError> {
        let instructions = self.check(values.len(), [output.len(), gradient.len()])?;
        if statistics.mean.len() != self.weight.len() {
            return Err(self.misfit(statistics.mean.len(), statistics.mean.len()));
        }
        Ok(instructions.run(Backward { of: self, statistics, values, output, gradient }))
    }

    fn misfit(&self, weights: usize, biases: usize) -> KernelError {
        KernelError::Shape { inputs: self.weight.len(), outputs: self.bias.len(), weights, biases }
    }

    /// The instructions to use.
    fn check(&self, values: usize, others: [usize; 2]) -> Result<Instructions, KernelError> {
        let channels = self.weight.len();
        let fits = channels > 0 && channels.is_multiple_of(LANES) && self.bias.len() == channels;
        if !fits || values == 0 || !values.is_multiple_of(channels) || others.iter().any(|&other| other != values) {
            return Err(self.misfit(values, others[0]));
        }
        Instructions::best()
    }

    #[inline(always)]
    fn normalize<const N: usize, V: Vector<N>>(
        &self,
        values: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) -> Normalized {
        let channels = self.weight.len();
        let rows = (values.len() / channels) as f64;
        // Around the first row, so that a mean far from zero does not eat the variance's digits.
        let first = &values[..channels];
        let (mut sums, mut squares) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        for block in values.chunks(ROWS * channels) {
            for channel in (0..channels).step_by(N) {
                let shift = V::first_of(&first[channel..]);
                let (mut sum, mut square) = (V::zero(), V::zero());
                for row in block.chunks_exact(channels) {
                    let apart = V::first_of(&row[channel..]).sub(shift);
                    sum = sum.add(apart);
                    square = apart.product_sum(apart, square);
                }
                add_to(&mut sums[channel..], sum);
                add_to(&mut squares[channel..], square);
            }
        }
        let mut statistics = Normalized { mean: Vec::new(), variance: Vec::new(), inverse_deviation: Vec::new() };
        for ((first, sum), square) in first.iter().zip(sums).zip(squares) {
            let apart = sum / rows;
            let variance = (square / rows - apart * apart).max(0.0);
            statistics.mean.push((f64::from(*first) + apart) as f32);
            statistics.variance.push(variance as f32);
            statistics.inverse_deviation.push((1.0 / (variance + f64::from(self.epsilon)).sqrt()) as f32);
        }
        let scales: Vec<f32> = self.weight.iter().zip(&statistics.inverse_deviation).map(|(w, d)| w * d).collect();
        let means = &statistics.mean;
        let shifts: Vec<f32> =
            self.bias.iter().zip(means.iter().zip(&scales)).map(|(bias, (mean, scale))| bias - mean * scale).collect();
        match residual {
            None => {
                for (values, output) in values.chunks_exact(channels).zip(output.chunks_exact_mut(channels)) {
                    for channel in (0..channels).step_by(N) {
                        let value = line(V::first_of(&values[channel..]), &scales[channel..], &shifts[channel..]);
                        store(&mut output[channel..], value, self.relu);
                    }
                }
            }
            Some(residual) => {
                let rows = values.chunks_exact(channels).zip(residual.chunks_exact(channels));
                for ((values, residual), output) in rows.zip(output.chunks_exact_mut(channels)) {
                    for channel in (0..channels).step_by(N) {
                        let value = line(V::first_of(&values[channel..]), &scales[channel..], &shifts[channel..]);
                        store(&mut output[channel..], value.add(V::first_of(&residual[channel..])), self.relu);
                    }
                }
            }
        }
        statistics
    }

    /// Inlined into functions that are compiled for a processor.
    #[inline(always)]
    fn gradient<const N: usize, V: Vector<N>>(
        &self,
        statistics: &Normalized,
        values: &mut [f32],
        output: &[f32],
        gradient: &mut [f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let channels = self.weight.len();
        let rows = (values.len() / channels) as f64;
        let (mut sums, mut products) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        let blocks = values.chunks(ROWS * channels).zip(output.chunks(ROWS * channels));
        for ((values, output), gradient) in blocks.zip(gradient.chunks_mut(ROWS * channels)) {
            for channel in (0..channels).step_by(N) {
                let mean = V::first_of(&statistics.mean[channel..]);
                let (mut sum, mut product) = (V::zero(), V::zero());
                let pixels = values.chunks_exact(channels).zip(output.chunks_exact(channels));
                for ((value, output), gradient) in pixels.zip(gradient.chunks_exact_mut(channels)) {
                    let mut slope = V::first_of(&gradient[channel..]);
                    if self.relu {
                        slope = slope.where_positive(V::first_of(&output[channel..]));
                        slope.store_first(&mut gradient[channel..]);
                    }
                    sum = sum.add(slope);
                    product = slope.product_sum(V::first_of(&value[channel..]).sub(mean), product);
                }
                add_to(&mut sums[channel..], sum);
                add_to(&mut products[channel..], product);
            }
        }
        // With x for a value, g for its output's gradient, d for the inverse deviation and w for the weight:
        // w d (g - mean(g) - (x - mean) d^2 mean(g (x - mean))), a line in g and x for each channel.
        let (mut of_gradient, mut of_value, mut constant) = (Vec::new(), Vec::new(), Vec::new());
        let (mut weight_gradient, mut bias_gradient) = (Vec::new(), Vec::new());
        for (channel, (sum, product)) in sums.into_iter().zip(products).enumerate() {
            let (inverse, mean) =
                (f64::from(statistics.inverse_deviation[channel]), f64::from(statistics.mean[channel]));
            let scale = f64::from(self.weight[channel]) * inverse;
            let slope = inverse * inverse * product / rows;
            of_gradient.push(scale as f32);
            of_value.push((-scale * slope) as f32);
            constant.push((scale * (slope * mean - sum / rows)) as f32);
            weight_gradient.push((inverse * product) as f32);
            bias_gradient.push(sum as f32);
        }
        for (values, gradient) in values.chunks_exact_mut(channels).zip(gradient.chunks_exact(channels)) {
            for channel in (0..channels).step_by(N) {
                let value = line(V::first_of(&values[channel..]), &of_value[channel..], &constant[channel..]);
                let slope = V::first_of(&gradient[channel..]);
                slope.product_sum(V::first_of(&of_gradient[channel..]), value).store_first(&mut values[channel..]);
            }
        }
        (weight_gradient, bias_gradient)
    }
}

/// A normalization that is to be computed.
struct Forward<'a> {
    of: &'a Normalization<'a>,
    values: &'a [f32],
    residual: Option<&'a [f32]>,
    output: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = Normalized;

    #[inline(always)]
    fn avx2(self) -> Normalized {
        self.of.normalize::<LANES, Lanes>(self.values, self.residual, self.output)
    }

    #[inline(always)]
    fn avx512(self) -> Normalized {
        match self.of.weight.len().is_multiple_of(WIDE_LANES) {
            true => self.of.normalize::<WIDE_LANES, Wide>(self.values, self.residual, self.output),
            false => self.avx2(),
        }
    }
}

/// A gradient that is to be computed.
struct Backward<'a> {
    of: &'a Normalization<'a>,
    statistics: &'a Normalized,
    values: &'a mut [f32],
    output: &'a [f32],
    gradient: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = (Vec<f32>, Vec<f32>);

    #[inline(always)]
    fn avx2(self) -> Self::Output {
        self.of.gradient::<LANES, Lanes>(self.statistics, self.values, self.output, self.gradient)
    }

    #[inline(always)]
    fn avx512(self) -> Self::Output {
        match self.of.weight.len().is_multiple_of(WIDE_LANES) {
            true => self.of.gradient::<WIDE_LANES, Wide>(self.statistics, self.values, self.output, self.gradient),
            false => self.avx2(),
        }
    }
}

/// `value * scale + shift`.
#[inline(always)]
fn line<const N: usize, V: Vector<N>>(value: V, scales: &[f32], shifts: &[f32]) -> V {
    value.product_sum(V::first_of(scales), V::first_of(shifts))
}

#[inline(always)]
fn store<const N: usize, V: Vector<N>>(output: &mut [f32], value: V, relu: bool) {
    if relu { value.rectified() } else { value }.store_first(output);
}

#[inline(always)]
fn add_to<const N: usize, V: Vector<N>>(sums: &mut [f64], vector: V) {
    let mut values = [0.0; N];
    vector.store(&mut values);
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += f64::from(value);
    }
}
