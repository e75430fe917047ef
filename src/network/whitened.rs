//! A head that was fitted to features in closed form, as tensors: what
//! [`EmbeddingScorer`](crate::embedding::EmbeddingScorer) computes of embeddings, behind a network.

use tch::{Kind, Tensor};

use super::graph::{WhitenedNumbers, array};
use super::weights::{Init, WeightPath};
use crate::embedding::{EmbeddingHead, EmbeddingScorer, directions};
use crate::error::{Error, Result};

/// Lengths below this count as this, as in PyTorch's `normalize`.
const MIN_LENGTH: f64 = 1e-12;

/// The head's numbers. None of them is trained.
#[derive(Debug)]
pub struct Whitened {
    head: EmbeddingHead,
    /// `[D]`: from which features of length 1 are measured.
    centre: Tensor,
    /// `[K, D]`: directions with a variance of their own.
    directions: Tensor,
    /// `[K]`: these variances.
    variances: Tensor,
    /// `[1]`: variance along any other direction.
    rest_variance: Tensor,
    /// `[C, D]`: what gives the products with the whitened class means.
    prototypes: Tensor,
    /// `[C]`: lengths of the whitened class means.
    lengths: Tensor,
    /// `[1]`: factor on DisMax's distances.
    distance_scale: Tensor,
}

impl Whitened {
    /// A head for features of length `features`, without numbers of its own: they come from [`tensors`].
    pub fn try_new(mut path: WeightPath<'_>, head: EmbeddingHead, features: i64, classes: usize) -> Result<Self> {
        let (classes, kept) = (classes as i64, directions(features as usize) as i64);
        Ok(Self {
            head,
            centre: path.buffer("centre", &[features], Init::Constant(0.0))?,
            directions: path.buffer("directions", &[kept, features], Init::Constant(0.0))?,
            variances: path.buffer("variances", &[kept], Init::Constant(1.0))?,
            rest_variance: path.buffer("rest_variance", &[1], Init::Constant(1.0))?,
            prototypes: path.buffer("prototypes", &[classes, features], Init::Constant(0.0))?,
            lengths: path.buffer("lengths", &[classes], Init::Constant(1.0))?,
            distance_scale: path.buffer("distance_scale", &[1], Init::Constant(1.0))?,
        })
    }

    /// The same weights under a second owner, for another thread.
    pub fn share(&self) -> Self {
        Self {
            head: self.head,
            centre: self.centre.shallow_clone(),
            directions: self.directions.shallow_clone(),
            variances: self.variances.shallow_clone(),
            rest_variance: self.rest_variance.shallow_clone(),
            prototypes: self.prototypes.shallow_clone(),
            lengths: self.lengths.shallow_clone(),
            distance_scale: self.distance_scale.shallow_clone(),
        }
    }

    /// Its numbers.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub fn numbers(&self) -> Result<WhitenedNumbers> {
        let number = |tensor: &Tensor| Ok::<_, Error>(tensor.f_double_value(&[0])? as f32);
        Ok(WhitenedNumbers {
            head: self.head,
            centre: array(&self.centre)?,
            directions: array(&self.directions)?,
            variances: array(&self.variances)?,
            rest_variance: number(&self.rest_variance)?,
            prototypes: array(&self.prototypes)?,
            lengths: array(&self.lengths)?,
            distance_scale: number(&self.distance_scale)?,
        })
    }

    /// Features `[B, D]` f32 to logits `[B, C]` f32, before temperature.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        let over_row = [1i64].as_slice();
        let lengths = features.f_norm_scalaropt_dim(2.0, over_row, true)?.f_clamp_min(MIN_LENGTH)?;
        let centred = features.f_div(&lengths)?.f_sub(&self.centre)?;
        // Differences of squares lose digits: these are the few numbers of a row that are worth f64.
        let wide = |tensor: &Tensor| tensor.f_to_kind(Kind::Double);
        let squares = wide(&centred)?.f_square()?.f_sum_dim_intlist(over_row, true, None)?;
        let along = wide(&centred.f_linear(&self.directions, None::<Tensor>)?)?.f_square()?;
        let rest = wide(&self.rest_variance)?;
        let weights = rest.f_reciprocal()?.f_sub(&wide(&self.variances)?.f_reciprocal()?)?;
        let own = along.f_mul(&weights)?.f_sum_dim_intlist(over_row, true, None)?;
        // `[B, 1]`: squared distance from the centre in units of the spread within classes.
        let whitened = squares.f_div(&rest)?.f_sub(&own)?.f_clamp_min(0.0)?;
        let products = wide(&centred.f_linear(&self.prototypes, None::<Tensor>)?)?;
        let of_classes = wide(&self.lengths)?;
        let logits = match self.head {
            EmbeddingHead::Dismax => {
                let lengths =
                    whitened.f_sqrt()?.f_clamp_min(MIN_LENGTH)?.f_mul(&of_classes.f_clamp_min(MIN_LENGTH)?)?;
                // |a - b| / sqrt(2) of vectors of length 1.
                let distances = products.f_div(&lengths)?.f_neg()?.f_add_scalar(1.0)?.f_clamp_min(0.0)?.f_sqrt()?;
                let distances = distances.f_mul(&wide(&self.distance_scale)?)?;
                distances.f_add(&distances.f_mean_dim(over_row, true, None)?)?.f_neg()?
            }
            EmbeddingHead::Mahalanobis => {
                let squared = whitened.f_sub(&products.f_mul_scalar(2.0)?)?.f_add(&of_classes.f_square()?)?;
                squared.f_clamp_min(0.0)?.f_mul_scalar(-0.5)?
            }
        };
        Ok(logits.f_to_kind(Kind::Float)?)
    }
}

/// The tensors of a fitted head by the names that they have in a network.
///
/// # Errors
/// Whatever libtorch refuses.
pub fn tensors(scorer: &EmbeddingScorer) -> Result<Vec<(&'static str, Tensor)>> {
    let parts = scorer.parts();
    let (dimensions, classes) = (parts.centre.len() as i64, parts.lengths.len() as i64);
    let kept = parts.variances.len() as i64;
    let lengths: Vec<f32> = parts.lengths.iter().map(|length| *length as f32).collect();
    Ok(vec![
        ("centre", Tensor::f_from_slice(parts.centre)?),
        ("directions", Tensor::f_from_slice(parts.directions)?.f_view([kept, dimensions])?),
        ("variances", Tensor::f_from_slice(parts.variances)?),
        ("rest_variance", Tensor::f_from_slice(&[parts.rest_variance])?),
        ("prototypes", Tensor::f_from_slice(&parts.prototypes)?.f_view([classes, dimensions])?),
        ("lengths", Tensor::f_from_slice(&lengths)?),
        ("distance_scale", Tensor::f_from_slice(&[scorer.distance_scale()])?),
    ])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::collections::HashMap;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use tch::Device;

    use super::super::weights::WeightsBuilder;
    use super::*;
    use crate::embedding::{EmbeddingMoments, EmbeddingSpace, to_unit_length};

    #[test]
    fn logits_are_those_of_the_fitted_head() {
        const DIMENSIONS: usize = 300;
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut drawn = |rows: usize, class: usize| -> Vec<f32> {
            let value = |at: usize| if at % 7 == class { 1.0 } else { 0.2 };
            (0..rows)
                .flat_map(|_| (0..DIMENSIONS).map(value).collect::<Vec<f32>>())
                .map(|mean| mean + rng.random_range(-1.0..1.0))
                .collect()
        };
        let mut moments = EmbeddingMoments::new(DIMENSIONS, 3);
        let unit = |mut rows: Vec<f32>| {
            rows.chunks_exact_mut(DIMENSIONS).for_each(|row| assert!(to_unit_length(row)));
            rows
        };
        for class in 0..3 {
            moments.add(unit(drawn(200, class)), &[class; 200]);
        }
        let names = ["a", "b", "c"].map(str::to_owned);
        let space = EmbeddingSpace::of(&moments.finish(&names).unwrap()).unwrap();
        let rows = drawn(5, 1);
        for head in EmbeddingHead::ALL {
            let scorer = EmbeddingScorer::try_new(space.clone(), head, 1.7).unwrap();
            let mut builder = WeightsBuilder::zeroed(Device::Cpu);
            let whitened = Whitened::try_new(builder.root(), head, DIMENSIONS as i64, 3).unwrap();
            let values: HashMap<String, Tensor> =
                tensors(&scorer).unwrap().into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
            builder.finish().load(&values).unwrap();
            // The head takes features of any length.
            let features = Tensor::from_slice(&rows).view([5, DIMENSIONS as i64]) * 3.0;
            let logits = Vec::<f32>::try_from(whitened.logits(&features).unwrap().view([-1])).unwrap();
            for (ours, expected) in logits.iter().zip(scorer.logits(&unit(rows.clone()))) {
                assert!((ours - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{head}: {ours} {expected}");
            }
        }
    }
}
