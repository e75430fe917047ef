//! `features.safetensors`: what a model knows of the pooled features of its training and calibration rows, and of
//! examples of unknown images.

use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::calibration::{CalibrationRow, ExampleDigest, FeatureParts, FeatureStatistics, UnknownExamples};
use crate::error::{Error, Result};

const TRAINING_ROWS: &str = "training.rows";
const MEANS: &str = "training.means";
const COVARIANCE: &str = "training.covariance";
const MDS: &str = "training.mds";
const EARLY: &str = "training.early";
const FEATURES: &str = "calibration.features";
const CLASSES: &str = "calibration.classes";
const SCORES: &str = "calibration.scores";
// These three are there where there are examples of unknown images.
const UNKNOWN_MEAN: &str = "unknown.mean";
const UNKNOWN_COVARIANCE: &str = "unknown.covariance";
const UNKNOWN_DIGESTS: &str = "unknown.digests";

pub(super) fn to_bytes(statistics: &FeatureStatistics) -> Result<Vec<u8>> {
    let (classes, width) = (statistics.classes(), statistics.width());
    let (early, calibration) = (statistics.early_score(), statistics.calibration());
    let rows = calibration.len();
    let (mds, early) = (early.mds_ranks().sorted(), early.early_ranks().sorted());
    let u32s = |values: &mut dyn Iterator<Item = u32>| values.flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let counts: Vec<u8> = (0..classes).flat_map(|class| statistics.training_rows(class).to_le_bytes()).collect();
    let features: Vec<u8> = calibration.features().iter().flat_map(|value| value.to_le_bytes()).collect();
    let scores: Vec<f32> = calibration.rows().iter().map(|row| row.score).collect();
    let mut parts = vec![
        (TRAINING_ROWS, Dtype::U64, vec![classes], counts),
        (MEANS, Dtype::F32, vec![classes, width], bytes_of(statistics.class_means())),
        (COVARIANCE, Dtype::F32, vec![width, width], bytes_of(statistics.covariance())),
        (MDS, Dtype::F32, vec![mds.len()], bytes_of(mds)),
        (EARLY, Dtype::F32, vec![early.len()], bytes_of(early)),
        (FEATURES, Dtype::F16, vec![rows, width], features),
        (CLASSES, Dtype::U32, vec![rows], u32s(&mut calibration.rows().iter().map(|row| row.class as u32))),
        (SCORES, Dtype::F32, vec![rows], bytes_of(&scores)),
    ];
    if let Some(unknown) = statistics.unknown() {
        // They were rounded when they were set.
        let single =
            |values: &[f64]| values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect::<Vec<u8>>();
        let (scatter, digests) = (unknown.scatter(), unknown.digests());
        let shape = vec![digests.len(), size_of::<ExampleDigest>()];
        parts.extend([
            (UNKNOWN_MEAN, Dtype::F32, vec![width], single(scatter.mean())),
            (UNKNOWN_COVARIANCE, Dtype::F32, vec![width, width], single(&scatter.covariance())),
            (UNKNOWN_DIGESTS, Dtype::U8, shape, digests.flatten().copied().collect()),
        ]);
    }
    let fault = |error: safetensors::SafeTensorError| Error::Internal(format!("writing the features: {error}"));
    let mut views = Vec::with_capacity(parts.len());
    for (name, dtype, shape, bytes) in &parts {
        views.push((*name, TensorView::new(*dtype, shape.clone(), bytes).map_err(fault)?));
    }
    serialize(views, None).map_err(fault)
}

/// Of a network whose stages have so many channels, and a model of `classes` classes.
pub(super) fn from_bytes(bytes: &[u8], stages: &[usize], classes: usize) -> Result<FeatureStatistics, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let width: usize = stages.iter().sum();
    let tensor = |name: &str, dtype: Dtype, shape: &[Option<usize>]| {
        let tensor = file.tensor(name).map_err(|error| format!("{name}: {error}"))?;
        let sizes = tensor.shape();
        let fits = sizes.len() == shape.len()
            && sizes.iter().zip(shape).all(|(size, wanted)| wanted.is_none_or(|wanted| wanted == *size));
        match fits && tensor.dtype() == dtype {
            true => Ok(tensor.data().to_vec()),
            false => Err(format!("{name} has another shape or type than the model needs")),
        }
    };
    let f32s = |name: &str, shape: &[Option<usize>]| tensor(name, Dtype::F32, shape).map(|bytes| f32s_of(&bytes));
    let counts = tensor(TRAINING_ROWS, Dtype::U64, &[Some(classes)])?;
    let features = tensor(FEATURES, Dtype::F16, &[None, Some(width)])?;
    let classes_of_rows = tensor(CLASSES, Dtype::U32, &[None])?;
    let classes_of_rows = classes_of_rows.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize);
    let scores = f32s(SCORES, &[Some(classes_of_rows.len())])?;
    let unknown = match file.names().contains(&UNKNOWN_DIGESTS) {
        false => None,
        true => {
            let digests = tensor(UNKNOWN_DIGESTS, Dtype::U8, &[None, Some(size_of::<ExampleDigest>())])?;
            let (mean, covariance) =
                (f32s(UNKNOWN_MEAN, &[Some(width)])?, f32s(UNKNOWN_COVARIANCE, &[Some(width), Some(width)])?);
            let unknown = UnknownExamples::of_parts(&mean, &covariance, digests.as_chunks().0);
            Some(unknown.map_err(|error| error.to_string())?)
        }
    };
    let parts = FeatureParts {
        stages: stages.to_vec(),
        rows: counts.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect(),
        means: f32s(MEANS, &[Some(classes), Some(width)])?,
        covariance: f32s(COVARIANCE, &[Some(width), Some(width)])?,
        mds: f32s(MDS, &[None])?,
        early: f32s(EARLY, &[None])?,
        features: features.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect(),
        calibration: classes_of_rows.zip(scores).map(|(class, score)| CalibrationRow { class, score }).collect(),
        unknown,
    };
    FeatureStatistics::of_parts(parts).map_err(|error| error.to_string())
}

pub(super) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn f32s_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
