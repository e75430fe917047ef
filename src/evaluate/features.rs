//! Pooled features of a whole dataset, as a model keeps them.

use std::sync::Arc;

use half::f16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::calibration::{ExampleDigest, FeatureMoments, FeatureStatistics, UnknownExamples};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::run::{Progress, Run};
use crate::stage::{Observed, ObservedEmbedding, Observer, Stage, WithFeatures};

/// Rows whose features are kept at most: a random part of more.
const KEPT_ROWS: usize = 20_000;

/// Streams the images that a model was trained on through `stage`, and adds up what a model keeps of their features.
///
/// # Errors
/// No image column, a damaged file, too few usable images, [`Error::Cancelled`].
pub fn training_features(stage: &Stage, dataset: &Dataset, run: &mut Run<'_>) -> Result<FeatureStatistics> {
    let model = stage.model();
    let mut moments = FeatureMoments::new(model.input().stages(), model.classes().len());
    let (mut rows, mut failed) = (0, 0);
    for scored in stage.scan_observed(dataset, Some(&[]), run.cancel.clone(), Arc::new(WithFeatures))? {
        let (_, scored) = scored?;
        for row in 0..scored.rows().len() {
            match scored.output(row) {
                Ok(output) => moments.add(output),
                Err(_) => failed += 1,
            }
        }
        rows += scored.rows().len() as u64;
        run.report(Progress { task: "reading features", rows, of: dataset.rows(), failed })?;
    }
    moments.finish().map_err(|error| match error {
        Error::Data { message, .. } => Error::data(dataset.files().next().unwrap_or_default(), message),
        other => other,
    })
}

/// Streams examples of unknown images through `stage`, and takes what a model keeps of them. Images that cannot be
/// scored are left out.
///
/// # Errors
/// No image column, a damaged file, no usable image, [`Error::Cancelled`].
pub fn unknown_examples(stage: &Stage, dataset: &Dataset, run: &mut Run<'_>) -> Result<UnknownExamples> {
    let mut examples = UnknownExamples::new(stage.model().feature_width());
    let (mut rows, mut failed) = (0, 0);
    for scored in stage.scan_observed(dataset, Some(&[]), run.cancel.clone(), Arc::new(Digests))? {
        let (_, scored) = scored?;
        for (row, digest) in scored.observed().iter().enumerate() {
            match scored.output(row).ok().and_then(|output| output.features) {
                Some(features) => examples.add(*digest, features),
                None => failed += 1,
            }
        }
        rows += scored.rows().len() as u64;
        run.report(Progress { task: "scoring unknown images", rows, of: dataset.rows(), failed })?;
    }
    if examples.is_empty() {
        let file = dataset.files().next().unwrap_or_default();
        return Err(Error::data(file, format!("none of {rows} examples of unknown images is a usable image")));
    }
    Ok(examples)
}

/// By what an example is known again. Features are wanted as well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digests;

impl Observer for Digests {
    type Value = ExampleDigest;

    fn wants_features(&self) -> bool {
        true
    }

    fn observe(&self, image: &Observed<'_>) -> ExampleDigest {
        *image.digest().first_chunk().expect("a SHA-256 has 32 bytes")
    }

    fn observe_embedding(&self, embedding: &ObservedEmbedding<'_>) -> ExampleDigest {
        *embedding.digest().first_chunk().expect("a SHA-256 has 32 bytes")
    }
}

/// Whether an image is one of these.
pub(super) fn is_among(examples: Option<&UnknownExamples>) -> impl Fn(&ExampleDigest) -> bool {
    move |digest| examples.is_some_and(|examples| examples.contains(digest))
}

/// Features of rows, a random part of more than 20,000.
#[derive(Debug, Clone)]
pub struct KeptFeatures {
    /// Number of the row among those that were offered, and its features.
    pub rows: Vec<(usize, Vec<f16>)>,
    offered: usize,
    random: ChaCha8Rng,
}

impl Default for KeptFeatures {
    fn default() -> Self {
        Self { rows: Vec::new(), offered: 0, random: ChaCha8Rng::seed_from_u64(0) }
    }
}

impl KeptFeatures {
    /// Keeps the next row's features, in the place of another's where there are enough.
    pub fn offer(&mut self, features: &[f32]) {
        let row = self.offered;
        self.offered += 1;
        let kept = || (row, features.iter().map(|value| f16::from_f32(*value)).collect());
        if self.rows.len() < KEPT_ROWS {
            self.rows.push(kept());
        } else if let Some(place) = self.rows.get_mut(self.random.random_range(0..self.offered)) {
            *place = kept();
        }
    }
}
