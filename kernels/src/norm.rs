//! Batch norm in training (Ioffe and Szegedy, arXiv 1502.03167) with the residual sum and the rectifier after it, and its gradient.
//!
//! libtorch takes a pass over memory for each of these, and for each of their gradients. Here there are two forward and two backward: what
//! the sums over all rows need, and the rest.

use super::transform::{LANES, Lanes};
use super::{Unfit, available, lanes};

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
    /// Normalises `values [rows, C]` to `output [rows, C]`, adds `residual [rows, C]` where there is one, and applies the rectifier where
    /// one follows.
    ///
    /// # Errors
    /// [`Unfit`]: channels that are no multiple of 8, lengths that do not fit each other, a processor without AVX2.
    pub fn forward(&self, values: &[f32], residual: Option<&[f32]>, output: &mut [f32]) -> Result<Normalized, Unfit> {
        self.check(values.len(), [output.len(), residual.map_or(output.len(), <[f32]>::len)])?;
        // SAFETY: `check` has found the instructions that the function is compiled for.
        Ok(unsafe { self.normalize(values, residual, output) })
    }

    /// The gradient. `values` are what was normalised, and become the gradient of it; `output` is what came out; `gradient` is
    /// that of the output, and becomes that of what stood before the rectifier: the residual's. Returns those of weight and
    /// bias, `[C]` each.
    ///
    /// # Errors
    /// As [`Normalization::forward`].
    pub fn backward(
        &self,
        statistics: &Normalized,
        values: &mut [f32],
        output: &[f32],
        gradient: &mut [f32],
    ) -> Result<(Vec<f32>, Vec<f32>), Unfit> {
        self.check(values.len(), [output.len(), gradient.len()])?;
        if statistics.mean.len() != self.weight.len() {
            return Err(self.unfit(statistics.mean.len(), statistics.mean.len()));
        }
        // SAFETY: `check` has found the instructions that the function is compiled for.
        Ok(unsafe { self.gradient(statistics, values, output, gradient) })
    }

    fn unfit(&self, weights: usize, biases: usize) -> Unfit {
        Unfit::Shape { inputs: self.weight.len(), outputs: self.bias.len(), weights, biases }
    }

    fn check(&self, values: usize, others: [usize; 2]) -> Result<(), Unfit> {
        let channels = self.weight.len();
        let fits = channels > 0 && channels.is_multiple_of(LANES) && self.bias.len() == channels;
        if !fits || values == 0 || !values.is_multiple_of(channels) || others.iter().any(|&other| other != values) {
            return Err(self.unfit(values, others[0]));
        }
        if !available() {
            return Err(Unfit::Processor);
        }
        Ok(())
    }

    #[target_feature(enable = "avx2,fma")]
    fn normalize(&self, values: &[f32], residual: Option<&[f32]>, output: &mut [f32]) -> Normalized {
        let channels = self.weight.len();
        let rows = (values.len() / channels) as f64;
        // Around the first row, so that a mean far from zero does not eat the variance's digits.
        let first = &values[..channels];
        let (mut sums, mut squares) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        for block in values.chunks(ROWS * channels) {
            for channel in (0..channels).step_by(LANES) {
                let shift = lanes(&first[channel..]);
                let (mut sum, mut square) = ([0.0; LANES], [0.0; LANES]);
                for row in block.chunks_exact(channels) {
                    let value = lanes(&row[channel..]);
                    for lane in 0..LANES {
                        let apart = value[lane] - shift[lane];
                        sum[lane] += apart;
                        square[lane] = apart.mul_add(apart, square[lane]);
                    }
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
                    for channel in (0..channels).step_by(LANES) {
                        let mut value = lanes(&values[channel..]);
                        line(&mut value, &scales[channel..], &shifts[channel..]);
                        store(&mut output[channel..], value, self.relu);
                    }
                }
            }
            Some(residual) => {
                let rows = values.chunks_exact(channels).zip(residual.chunks_exact(channels));
                for ((values, residual), output) in rows.zip(output.chunks_exact_mut(channels)) {
                    for channel in (0..channels).step_by(LANES) {
                        let mut value = lanes(&values[channel..]);
                        line(&mut value, &scales[channel..], &shifts[channel..]);
                        let more = lanes(&residual[channel..]);
                        for lane in 0..LANES {
                            value[lane] += more[lane];
                        }
                        store(&mut output[channel..], value, self.relu);
                    }
                }
            }
        }
        statistics
    }

    #[target_feature(enable = "avx2,fma")]
    fn gradient(
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
            for channel in (0..channels).step_by(LANES) {
                let mean = lanes(&statistics.mean[channel..]);
                let (mut sum, mut product) = ([0.0; LANES], [0.0; LANES]);
                let pixels = values.chunks_exact(channels).zip(output.chunks_exact(channels));
                for ((value, output), gradient) in pixels.zip(gradient.chunks_exact_mut(channels)) {
                    let (value, output) = (lanes(&value[channel..]), lanes(&output[channel..]));
                    let mut slope = lanes(&gradient[channel..]);
                    if self.relu {
                        for lane in 0..LANES {
                            slope[lane] = if output[lane] > 0.0 { slope[lane] } else { 0.0 };
                        }
                        gradient[channel..][..LANES].copy_from_slice(&slope);
                    }
                    for lane in 0..LANES {
                        sum[lane] += slope[lane];
                        product[lane] = slope[lane].mul_add(value[lane] - mean[lane], product[lane]);
                    }
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
            for channel in (0..channels).step_by(LANES) {
                let (mut value, slope) = (lanes(&values[channel..]), lanes(&gradient[channel..]));
                line(&mut value, &of_value[channel..], &constant[channel..]);
                let of_gradient = lanes(&of_gradient[channel..]);
                for lane in 0..LANES {
                    value[lane] = slope[lane].mul_add(of_gradient[lane], value[lane]);
                }
                values[channel..][..LANES].copy_from_slice(&value);
            }
        }
        (weight_gradient, bias_gradient)
    }
}

/// `value * scale + shift`.
#[inline(always)]
fn line(value: &mut Lanes, scales: &[f32], shifts: &[f32]) {
    let (scales, shifts) = (lanes(scales), lanes(shifts));
    for lane in 0..LANES {
        value[lane] = value[lane].mul_add(scales[lane], shifts[lane]);
    }
}

#[inline(always)]
fn store(output: &mut [f32], value: Lanes, relu: bool) {
    output[..LANES].copy_from_slice(&if relu { super::rectified(value) } else { value });
}

#[inline(always)]
fn add_to(sums: &mut [f64], values: Lanes) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += f64::from(value);
    }
}
