//! The pictures of an evaluation.

use dismax::evaluate::{Evaluation, Flagged};
use dismax::metrics::Reliability;
use dismax_charts::{Bin, ReliabilityPanel, ScoreHistogram, ScoreSet};

/// Reliability diagrams of the test set before and after calibration, as SVG.
pub fn reliability(evaluation: &Evaluation) -> String {
    let test = &evaluation.in_dist;
    let (before, after) = (bins(&test.reliability_before), bins(&test.reliability_after));
    let name = format!("Temperature {:.3}", evaluation.temperature);
    dismax_charts::reliability([
        ReliabilityPanel { name: "Temperature 1", ece: test.before.ece, bins: &before },
        ReliabilityPanel { name: &name, ece: test.after.ece, bins: &after },
    ])
}

fn bins(reliability: &Reliability) -> Vec<Bin> {
    let bins = reliability.bins.iter().map(|bin| Bin {
        lower: f64::from(bin.lower),
        upper: f64::from(bin.upper),
        count: bin.count,
        confidence: bin.confidence,
        accuracy: bin.accuracy,
    });
    bins.collect()
}

/// Histograms of the out-of-distribution scores of the test set and each OOD set, as SVG.
pub fn score_histogram(evaluation: &Evaluation) -> String {
    let histogram = &evaluation.ood_score_histogram;
    let in_dist = &evaluation.in_dist;
    let score = evaluation.score.name().to_uppercase();
    // f32::MAX stands for a threshold that no row reaches.
    let threshold = evaluation.ood_score_threshold.filter(|value| value.abs() < f32::MAX);
    let sets = evaluation.ood.iter().zip(&histogram.ood);
    dismax_charts::score_histogram(&ScoreHistogram {
        score: &format!("ood_score (minus {score}; higher is more out-of-distribution)"),
        lower: f64::from(histogram.lower),
        upper: f64::from(histogram.upper),
        threshold: threshold.map(f64::from),
        in_dist: score_set("in-distribution test set", in_dist.scored, &in_dist.flagged, &histogram.in_dist),
        ood: sets.map(|(set, counts)| score_set(&set.name, set.scored, &set.flagged, counts)).collect(),
    })
}

fn score_set<'a>(name: &'a str, rows: u64, flagged: &Flagged, counts: &'a [u64]) -> ScoreSet<'a> {
    ScoreSet { name, rows, flagged: flagged.share, counts }
}
