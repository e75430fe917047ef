//! Heads that are fitted in closed form: what they have in common on embeddings and on a network's features.

use dismax::calibration::{
    CalibrationFeatures, CalibrationOptions, CalibrationRow, Objective, TemperatureSearch, fit_temperature,
};
use dismax::dataset::BadFile;
use dismax::embedding::{EmbeddingHead, EmbeddingScorer, EmbeddingSpace};
use dismax::error::{Error, Result};
use dismax::loss::Loss;
use dismax::metrics::LabelledLogits;
use dismax::model::{HeldOutFeatures, Model};
use dismax::score::{RowOutput, class_and_confidence};
use half::f16;

use super::collector::LeftOut;
use super::error::TrainError;
use super::job::HeldOut;

/// Rows that are held out at most: enough for any calibration, and they stay in memory.
pub(super) const MOST_HELD_OUT: usize = 20_000;

/// A fitted model, written to its place.
#[derive(Debug)]
pub struct HeadFit {
    /// The model.
    pub model: Model,
    /// Rows that it was fitted on.
    pub rows: u64,
    /// Rows that were held out.
    pub held_out_rows: usize,
    /// Rows without a label, or without a usable image or embedding.
    pub left_out: LeftOut,
    /// Damaged files, of which no row is used.
    pub bad_files: Vec<BadFile>,
    /// Why the model could not be calibrated, where that is so.
    pub uncalibrated: Option<Error>,
}

/// The same rows to hold out of so many, of a fraction at most [`MOST_HELD_OUT`].
///
/// # Errors
/// [`TrainError::HeldOutFraction`] for a fraction outside (0, 1).
pub(super) fn at_most(held_out: &HeldOut, rows: usize) -> Result<HeldOut> {
    match held_out {
        HeldOut::Fraction(fraction) if *fraction > 0.0 && *fraction < 1.0 => {
            Ok(HeldOut::Fraction(fraction.min(MOST_HELD_OUT as f64 / rows as f64)))
        }
        HeldOut::Fraction(fraction) => Err(TrainError::HeldOutFraction { fraction: *fraction }.into()),
        HeldOut::Files(_) => Ok(held_out.clone()),
    }
}

/// A head with the best distance scale for held-out embeddings `[N, D]` of length 1 with these labels.
///
/// DisMax learns its distance scale with an entropic scale of 10 on the logits (arXiv 2205.05874, section 3). With
/// class means as prototypes nothing else is left to learn, so that the best scale for the likelihood of rows is that
/// temperature's inverse.
///
/// # Errors
/// As [`LabelledLogits::try_new`].
pub(super) fn with_scale(
    space: EmbeddingSpace,
    head: EmbeddingHead,
    held_out: &[f32],
    labels: &[i64],
) -> Result<EmbeddingScorer> {
    let scorer = EmbeddingScorer::try_new(space, head, 1.0)?;
    if head != EmbeddingHead::Dismax {
        return Ok(scorer);
    }
    let logits = scorer.logits(held_out);
    let labelled = LabelledLogits::try_new(&logits, scorer.space().classes(), labels)?;
    let search = TemperatureSearch { objective: Objective::Nll, ..TemperatureSearch::default() };
    // Rows that say nothing of it leave the scale at 1; calibration says what is wrong with them.
    match fit_temperature(&labelled, &search) {
        Ok(fit) => {
            scorer.with_distance_scale((1.0 / (Loss::Dismax.entropic_scale() * f64::from(fit.temperature))) as f32)
        }
        Err(_) => Ok(scorer),
    }
}

/// Calibrates on held-out rows with logits `[N, C]`, pooled features `[N, F]` and labels `[N]`; `source` says where
/// they come from.
///
/// # Errors
/// As [`Model::calibrate`].
pub(super) fn calibrate(
    model: &mut Model,
    (logits, features, labels): (&[f32], &[f32], &[i64]),
    options: &CalibrationOptions,
    source: &str,
) -> Result<()> {
    let width = model.feature_width();
    let by_features = model.feature_score(options.score)?;
    let (mut rows, mut scores) = (CalibrationFeatures::new(width), Vec::new());
    for (logits, values) in logits.chunks_exact(model.classes().len()).zip(features.chunks_exact(width)) {
        let output = RowOutput { logits, features: Some(values) };
        let score = by_features.as_ref().map_or_else(|| options.score.of_logits(logits), |score| score.of(output));
        let features: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
        rows.push(&features, CalibrationRow { class: class_and_confidence(logits, 1.0).0, score });
        scores.push(score);
    }
    let labelled = LabelledLogits::try_new(logits, model.classes().len(), labels)?;
    let scores = by_features.is_some().then_some(scores.as_slice());
    model.calibrate(&labelled, Some(HeldOutFeatures { rows, scores }), options, source)
}
