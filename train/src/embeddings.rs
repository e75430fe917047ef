//! A model of embeddings: a head fitted in closed form.

use dismax::calibration::FeatureStatistics;
use dismax::embedding::EmbeddingSpace;
use dismax::error::{Error, Result};
use dismax::model::Model;
use dismax::run::Run;
use dismax::score::Score;

use super::embedding_job::EmbeddingJob;
use super::embedding_rows::read;
use super::error::TrainError;
use super::fitted::{HeadFit, MOST_HELD_OUT, at_most, calibrate, with_scale};
use super::held_out::{fraction_of_rows, percent};
use super::job::HeldOut;
use super::labelled_dataset::require_disjoint;
use super::labelled_embeddings::LabelledEmbeddings;
use super::labels::require_two_classes;

/// Fits a head on labelled embeddings in one pass over them, calibrates it on the held-out rows, and writes the bundle.
///
/// Memory is that of the covariance of the embeddings' numbers and of the held-out rows, at most 20,000 of a fraction.
///
/// # Errors
/// No column of embeddings or labels; fewer than two classes, or a class with fewer than two usable rows; embeddings of
/// which none can be used; whatever reading and writing say.
pub fn fit_embeddings(job: &EmbeddingJob, run: &mut Run<'_>) -> Result<HeadFit> {
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
    let (is_held_out, source) = match at_most(&job.held_out, rows)? {
        HeldOut::Fraction(fraction) => {
            let words = format!("{} % of the training data, held out of training", percent(fraction));
            (fraction_of_rows(&training.labels, fraction, job.seed), words)
        }
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
    let scorer = with_scale(EmbeddingSpace::of(&classes)?, job.head, &held_out.values, &held_out.labels())?;
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
    let labels = held_out.labels();
    let rows = (logits.as_slice(), held_out.values.as_slice(), labels.as_slice());
    let uncalibrated = calibrate(&mut model, rows, &job.calibration, &source).err();
    model.write(&job.out, job.force)?;
    let held_out_rows = held_out.classes.len();
    Ok(HeadFit { model, rows: fitted_on, held_out_rows, left_out, bad_files, uncalibrated })
}
