//! `model.safetensors` of a model of embeddings: its head's numbers.

use nalgebra::{DMatrix, DVector};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::features_file::{bytes_of, f32s_of};
use super::input::EmbeddingInput;
use crate::embedding::{EmbeddingScorer, EmbeddingSpace};
use crate::error::{Error, Result};

const MEANS: &str = "means";
const DIRECTIONS: &str = "directions";
const VARIANCES: &str = "variances";
const REST_VARIANCE: &str = "rest_variance";
const DISTANCE_SCALE: &str = "distance_scale";

pub(super) fn to_bytes(scorer: &EmbeddingScorer) -> Result<Vec<u8>> {
    let space = scorer.space();
    let (dimensions, directions) = (space.dimensions(), space.directions());
    // A matrix lies column by column: its columns are the file's rows.
    let parts = [
        (MEANS, vec![space.classes(), dimensions], bytes_of(space.means().as_slice())),
        (DIRECTIONS, vec![directions.ncols(), dimensions], bytes_of(directions.as_slice())),
        (VARIANCES, vec![directions.ncols()], bytes_of(space.variances().as_slice())),
        (REST_VARIANCE, vec![1], bytes_of(&[space.rest()])),
        (DISTANCE_SCALE, vec![1], bytes_of(&[scorer.distance_scale()])),
    ];
    let fault = |error: safetensors::SafeTensorError| Error::Internal(format!("writing a head: {error}"));
    let mut views = Vec::with_capacity(parts.len());
    for (name, shape, bytes) in &parts {
        views.push((*name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(fault)?));
    }
    serialize(views, None).map_err(fault)
}

/// The head of a model of `classes` classes.
pub(super) fn from_bytes(bytes: &[u8], input: &EmbeddingInput, classes: usize) -> Result<EmbeddingScorer, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensor = |name: &str, shape: &[Option<usize>]| {
        let tensor = file.tensor(name).map_err(|error| format!("{name}: {error}"))?;
        let sizes = tensor.shape();
        let fits = sizes.len() == shape.len()
            && sizes.iter().zip(shape).all(|(size, wanted)| wanted.is_none_or(|wanted| wanted == *size));
        match fits && tensor.dtype() == Dtype::F32 {
            true => Ok(f32s_of(tensor.data())),
            false => Err(format!("{name} is {:?} {sizes:?}, which is not what the configuration says", tensor.dtype())),
        }
    };
    let number = |name| tensor(name, &[Some(1)]).map(|values| values[0]);
    let dimensions = input.dimensions;
    let variances = DVector::from_vec(tensor(VARIANCES, &[None])?);
    let kept = variances.len();
    let means = DMatrix::from_vec(dimensions, classes, tensor(MEANS, &[Some(classes), Some(dimensions)])?);
    let directions = DMatrix::from_vec(dimensions, kept, tensor(DIRECTIONS, &[Some(kept), Some(dimensions)])?);
    let (rest, scale) = (number(REST_VARIANCE)?, number(DISTANCE_SCALE)?);
    EmbeddingSpace::try_new(means, directions, variances, rest)
        .and_then(|space| EmbeddingScorer::try_new(space, input.head, scale))
        .map_err(|error| error.to_string())
}
