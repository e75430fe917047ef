//! A model of embeddings: a head fitted in closed form.

use dismax::calibration::{
    CalibrationFeatures, CalibrationRow, FeatureStatistics, Objective, TemperatureSearch, fit_temperature,
};
use dismax::embedding::{EmbeddingHead, EmbeddingScorer, EmbeddingSpace};
use dismax::error::{Error, Result};
use dismax::loss::Loss;
use dismax::metrics::LabelledLogits;
use dismax::model::{HeldOutFeatures, Model};
use dismax::run::Run;
use dismax::score::{RowOutput, Score, class_and_confidence};
use half::f16;

use super::embedding_job::{EmbeddingFit, EmbeddingJob};
use super::embedding_rows::{HeldOutEmbeddings, read};
use super::error::TrainError;
use super::held_out::{fraction_of_rows, percent};
use super::job::HeldOut;
use super::labelled_dataset::require_disjoint;
use super::labelled_embeddings::LabelledEmbeddings;
use super::labels::require_two_classes;

/// Rows that are held out at most: enough for any calibration, and they stay in memory.
const MOST_HELD_OUT: usize = 20_000;

/// Fits a head on labelled embeddings in one pass over them, calibrates it on the held-out rows, and writes the bundle.
///
/// Memory is that of the covariance of the embeddings' numbers and of the held-out rows, at most 20,000 of a fraction.
///
/// # Errors
/// No column of embeddings or labels; fewer than two classes, or a class with fewer than two usable rows; embeddings of
/// which none can be used; whatever reading and writing say.
pub fn fit_embeddings(job: &EmbeddingJob, run: &mut Run<'_>) -> Result<EmbeddingFit> {
    if job.calibration.score.needs_unknown() {
        return Err(Error::NoUnknownExamples { score: job.calibration.score.name() });
    }
    if !job.calibration.tta.is_none() {
        return Err(Error::Config("embeddings have no mirror images to average with".into()));
    }
    Model::check_place(&job.out, job.force)?;
    let (training, label) = LabelledEmbeddings::open(&job.inputs, job, None, run)?;
    require_two_classes(&training.labels, &training.dataset, &label)?;
    let other = match &job.held_out {
        HeldOut::Fraction(_) => None,
        HeldOut::Files(files) => {
            let (held_out, _) = LabelledEmbeddings::open(files, job, Some(&training.labels.names), run)?;
            require_disjoint(&training.dataset, &held_out.dataset)?;
            Some(held_out)
        }
    };
    let rows = training.labels.classes.len();
    let (is_held_out, source) = match &job.held_out {
        HeldOut::Fraction(fraction) if *fraction > 0.0 && *fraction < 1.0 => {
            let fraction = fraction.min(MOST_HELD_OUT as f64 / rows as f64);
            let words = format!("{} % of the training data, held out of training", percent(fraction));
            (fraction_of_rows(&training.labels, fraction, job.seed), words)
        }
        HeldOut::Fraction(fraction) => return Err(TrainError::HeldOutFraction { fraction: *fraction }.into()),
        HeldOut::Files(files) => (vec![false; rows], files.join(", ")),
    };
    let read_rows = read(&training, &is_held_out, None, run)?;
    let (mut left_out, dimensions, mut held_out) = (read_rows.left_out, read_rows.dimensions, read_rows.held_out);
    let mut bad_files = training.dataset.bad_files();
    if let Some(other) = &other {
        let rows = other.labels.classes.len();
        let chosen = match rows > MOST_HELD_OUT {
            true => fraction_of_rows(&other.labels, MOST_HELD_OUT as f64 / rows as f64, job.seed),
            false => vec![true; rows],
        };
        let read_rows = read(other, &chosen, Some(dimensions), run)?;
        left_out.add(read_rows.left_out);
        bad_files.extend(other.dataset.bad_files());
        held_out = read_rows.held_out;
    }
    if held_out.classes.is_empty() {
        return Err(TrainError::NothingHeldOut { example: left_out.example }.into());
    }

    let names = training.labels.names;
    let classes = read_rows.moments.finish(&names)?;
    let fitted_on = classes.rows().iter().sum();
    let scorer = with_scale(EmbeddingSpace::of(&classes)?, job.head, &held_out)?;
    let origin = format!(
        "fitted with dismax {} on {fitted_on} embeddings ({}, seed {})",
        env!("CARGO_PKG_VERSION"),
        job.head,
        job.seed
    );
    let mut model = Model::of_embeddings(&scorer, names, origin)?;
    let logits = scorer.logits(&held_out.values);
    let mds = logits.chunks_exact(model.classes().len()).map(|row| Score::Mds.of_logits(row)).collect();
    model.set_feature_statistics(FeatureStatistics::of_embeddings(
        classes.rows(),
        classes.means(),
        classes.covariance(),
        mds,
    )?)?;
    let uncalibrated = calibrate(&mut model, &logits, &held_out, job, &source).err();
    model.write(&job.out, job.force)?;
    let held_out_rows = held_out.classes.len();
    Ok(EmbeddingFit { model, rows: fitted_on, held_out_rows, left_out, bad_files, uncalibrated })
}

/// DisMax learns its distance scale with an entropic scale of 10 on the logits (arXiv 2205.05874, section 3). With class
/// means as prototypes nothing else is left to learn, so that the best scale for the likelihood of rows is that
/// temperature's inverse.
fn with_scale(space: EmbeddingSpace, head: EmbeddingHead, held_out: &HeldOutEmbeddings) -> Result<EmbeddingScorer> {
    let scorer = EmbeddingScorer::try_new(space, head, 1.0)?;
    if head != EmbeddingHead::Dismax {
        return Ok(scorer);
    }
    let logits = scorer.logits(&held_out.values);
    let labels = held_out.labels();
    let labelled = LabelledLogits::try_new(&logits, scorer.space().classes(), &labels)?;
    let search = TemperatureSearch { objective: Objective::Nll, ..TemperatureSearch::default() };
    // Rows that say nothing of it leave the scale at 1; calibration says what is wrong with them.
    match fit_temperature(&labelled, &search) {
        Ok(fit) => {
            scorer.with_distance_scale((1.0 / (Loss::Dismax.entropic_scale() * f64::from(fit.temperature))) as f32)
        }
        Err(_) => Ok(scorer),
    }
}

fn calibrate(
    model: &mut Model,
    logits: &[f32],
    held_out: &HeldOutEmbeddings,
    job: &EmbeddingJob,
    source: &str,
) -> Result<()> {
    let dimensions = model.feature_width();
    let own = job.calibration.score;
    let by_features = model.feature_score(own)?;
    let (mut rows, mut scores) = (CalibrationFeatures::new(dimensions), Vec::new());
    for (logits, values) in logits.chunks_exact(model.classes().len()).zip(held_out.values.chunks_exact(dimensions)) {
        let output = RowOutput { logits, features: Some(values) };
        let score = by_features.as_ref().map_or_else(|| own.of_logits(logits), |score| score.of(output));
        let features: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
        rows.push(&features, CalibrationRow { class: class_and_confidence(logits, 1.0).0, score });
        scores.push(score);
    }
    let labels = held_out.labels();
    let labelled = LabelledLogits::try_new(logits, model.classes().len(), &labels)?;
    let scores = by_features.is_some().then_some(scores.as_slice());
    model.calibrate(&labelled, Some(HeldOutFeatures { rows, scores }), &job.calibration, source)
}
