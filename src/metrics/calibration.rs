//! Reliability bins and the calibration errors computed from them.
//!
//! A bin compares the mean of some probability with how often it was right. Over the confidence of the predicted class
//! this gives ECE, MCE and the over-confidence error; over the probability of each class in turn, the class-wise
//! errors. Sources: Guo et al. 2017 (ECE, MCE), Thulasidasan et al. 2019 (over-confidence), Nixon et al. 2019 (SCE,
//! ACE, TACE).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::LabelledLogits;
use crate::error::{Error, Result};

/// Bins of the ECE that papers report.
pub const DEFAULT_BINS: usize = 15;

/// Probabilities below this are left out of TACE.
pub const TACE_THRESHOLD: f32 = 0.01;

/// The rows whose probability lies in (`lower`, `upper`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower edge, outside the bin (inside for the first bin).
    pub lower: f32,
    /// Upper edge, inside the bin.
    pub upper: f32,
    /// Rows in the bin.
    pub count: u64,
    /// Mean probability of the bin's rows; 0 where it has none.
    pub confidence: f64,
    /// Share of the bin's rows that were right; 0 where it has none.
    pub accuracy: f64,
}

impl ReliabilityBin {
    /// Absolute difference between confidence and accuracy; 0 for an empty bin.
    pub fn gap(&self) -> f64 {
        (self.confidence - self.accuracy).abs()
    }
}

/// A reliability diagram in numbers: bins in ascending order that together hold every row once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// The bins, ascending.
    pub bins: Vec<ReliabilityBin>,
    /// Rows in all bins together.
    pub rows: u64,
}

impl Reliability {
    /// Bins of equal width over [0, 1], right-closed: a probability of exactly 0.2 with 5 bins is in the first.
    ///
    /// `confidences` are the probabilities of the event that `correct` says came true, for example of the predicted
    /// class.
    ///
    /// # Errors
    /// [`Error::Data`] for no rows, unequal lengths or a value outside [0, 1]; [`Error::Config`] for zero bins.
    pub fn equal_width(confidences: &[f32], correct: &[bool], bins: usize) -> Result<Self> {
        check(confidences, correct, bins)?;
        let mut sums = ReliabilitySums::equal_width(bins)?;
        for (&confidence, &correct) in confidences.iter().zip(correct) {
            sums.add(f64::from(confidence), correct)?;
        }
        Ok(sums.finish())
    }

    /// Bins of equal count: the rows in order of `confidences`, cut into `bins` runs whose lengths differ by at most
    /// one. Ties stay in the order they came; edges are the values at the cuts. With fewer rows than bins, some are
    /// empty.
    ///
    /// # Errors
    /// As [`Reliability::equal_width`].
    pub fn equal_count(confidences: &[f32], correct: &[bool], bins: usize) -> Result<Self> {
        check(confidences, correct, bins)?;
        let mut rows: Vec<(f32, bool)> = confidences.iter().copied().zip(correct.iter().copied()).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut lower = 0.0;
        let bins = runs(rows.len(), bins).map(|run| {
            let run = rows.get(run).unwrap_or_default();
            let mut sums = Sums::default();
            run.iter().for_each(|&(confidence, correct)| sums.add(f64::from(confidence), correct));
            let upper = run.last().map_or(lower, |last| last.0);
            let bin = sums.bin(lower, upper);
            lower = upper;
            bin
        });
        Ok(Self { bins: bins.collect(), rows: rows.len() as u64 })
    }

    /// Expected calibration error: mean gap, weighted by rows. In [0, 1].
    pub fn ece(&self) -> f64 {
        self.weighted(ReliabilityBin::gap)
    }

    /// Maximum calibration error: the largest gap of a bin with rows, however few. In [0, 1].
    pub fn mce(&self) -> f64 {
        self.bins.iter().map(ReliabilityBin::gap).fold(0.0, f64::max)
    }

    /// Over-confidence error: `confidence * max(confidence - accuracy, 0)`, weighted by rows. In [0, 1].
    pub fn over_confidence(&self) -> f64 {
        self.weighted(|bin| bin.confidence * (bin.confidence - bin.accuracy).max(0.0))
    }

    fn weighted(&self, of: impl Fn(&ReliabilityBin) -> f64) -> f64 {
        self.bins.iter().map(|bin| bin.count as f64 * of(bin)).sum::<f64>() / self.rows as f64
    }
}

/// Bins of equal width while rows come in, in any order and from several places.
#[derive(Debug, Clone, PartialEq)]
pub struct ReliabilitySums {
    edges: Vec<f32>,
    sums: Vec<Sums>,
}

impl ReliabilitySums {
    /// Empty bins, as [`Reliability::equal_width`] cuts them.
    ///
    /// # Errors
    /// [`Error::Config`] for zero bins.
    pub fn equal_width(bins: usize) -> Result<Self> {
        if bins == 0 {
            return Err(no_bins());
        }
        Ok(Self { edges: equal_width_edges(bins), sums: vec![Sums::default(); bins] })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::Data`] for a confidence outside [0, 1].
    pub fn add(&mut self, confidence: f64, correct: bool) -> Result<()> {
        if !(0.0..=1.0).contains(&confidence) {
            return Err(Error::data("calibration", format!("the confidence {confidence} is not in [0, 1]")));
        }
        // `bin_of` gives an index below the number of bins for every value.
        if let Some(sums) = self.sums.get_mut(bin_of(&self.edges, confidence as f32)) {
            sums.add(confidence, correct);
        }
        Ok(())
    }

    /// Adds what others counted: for each bin its rows, the sum of their confidences and how many were right.
    ///
    /// # Errors
    /// [`Error::Data`] for another number of bins.
    pub fn merge(&mut self, others: &[(u64, f64, u64)]) -> Result<()> {
        if others.len() != self.sums.len() {
            let (a, b) = (others.len(), self.sums.len());
            return Err(Error::data("calibration", format!("{a} bins cannot be added to {b}")));
        }
        for (sums, (count, confidence, correct)) in self.sums.iter_mut().zip(others) {
            sums.count += count;
            sums.confidence += confidence;
            sums.correct += correct;
        }
        Ok(())
    }

    /// For each bin its rows, the sum of their confidences and how many were right.
    pub fn parts(&self) -> Vec<(u64, f64, u64)> {
        self.sums.iter().map(|sums| (sums.count, sums.confidence, sums.correct)).collect()
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.sums.iter().map(|sums| sums.count).sum()
    }

    /// What the bins say. With no rows every figure of it is NaN.
    pub fn finish(&self) -> Reliability {
        let bins = self.sums.iter().zip(self.edges.windows(2)).map(|(sums, edge)| sums.bin(edge[0], edge[1]));
        Reliability { bins: bins.collect(), rows: self.rows() }
    }
}

/// ECE of the predicted class's confidence with [`DEFAULT_BINS`] equal-width bins, in [0, 1].
///
/// # Errors
/// As [`Reliability::equal_width`].
pub fn ece(confidences: &[f32], correct: &[bool]) -> Result<f64> {
    Ok(Reliability::equal_width(confidences, correct, DEFAULT_BINS)?.ece())
}

/// Class-wise (static) calibration error, SCE: the ECE of each class's probability against "the label is this class",
/// equal width, averaged over classes.
///
/// The Python implementation computes another number under this name: it counts a row as right for a class where label
/// and prediction agree about that class, so true negatives with a probability near 0 count as gaps near 1.
///
/// # Errors
/// As [`Reliability::equal_width`].
pub fn class_wise_ece(rows: &LabelledLogits, temperature: f32, bins: usize) -> Result<f64> {
    over_classes(rows, temperature, |p, hit| Ok(Reliability::equal_width(p, hit, bins)?.ece()))
}

/// Adaptive calibration error, ACE: as [`class_wise_ece`] with bins of equal count.
///
/// # Errors
/// As [`Reliability::equal_width`].
pub fn ace(rows: &LabelledLogits, temperature: f32, bins: usize) -> Result<f64> {
    tace(rows, temperature, bins, 0.0)
}

/// Thresholded adaptive calibration error, TACE: as [`ace`] over the probabilities of at least `threshold` (0.01 in the
/// paper: [`TACE_THRESHOLD`]), so that many classes with next to no probability do not hide the rest. A class without
/// any counts 0.
///
/// # Errors
/// As [`Reliability::equal_width`].
pub fn tace(rows: &LabelledLogits, temperature: f32, bins: usize, threshold: f32) -> Result<f64> {
    over_classes(rows, temperature, |p, hit| {
        let kept = p.iter().copied().zip(hit.iter().copied()).filter(|&(p, _)| p >= threshold);
        let (p, hit): (Vec<f32>, Vec<bool>) = kept.unzip();
        if p.is_empty() { Ok(0.0) } else { Ok(Reliability::equal_count(&p, &hit, bins)?.ece()) }
    })
}

/// Mean over classes of an error of (probability of the class, label is the class).
fn over_classes(
    rows: &LabelledLogits,
    temperature: f32,
    error: impl Fn(&[f32], &[bool]) -> Result<f64>,
) -> Result<f64> {
    let probabilities = rows.probabilities(temperature);
    let mut sum = 0.0;
    for class in 0..rows.classes() {
        let of_class: Vec<f32> = probabilities.iter().skip(class).step_by(rows.classes()).copied().collect();
        let hit: Vec<bool> = rows.iter().map(|(_, label)| label == class).collect();
        sum += error(&of_class, &hit)?;
    }
    Ok(sum / rows.classes() as f64)
}

/// Refuses what the bins cannot hold.
pub(crate) fn check(confidences: &[f32], correct: &[bool], bins: usize) -> Result<()> {
    if bins == 0 {
        return Err(no_bins());
    }
    if confidences.is_empty() || confidences.len() != correct.len() {
        let (a, b) = (confidences.len(), correct.len());
        return Err(Error::data("calibration", format!("{a} confidences and {b} outcomes: as many, and at least one")));
    }
    match confidences.iter().position(|p| !(0.0..=1.0).contains(p)) {
        None => Ok(()),
        Some(row) => Err(Error::data("calibration", format!("row {row}: the confidence is not in [0, 1]"))),
    }
}

fn no_bins() -> Error {
    Error::Config("calibration bins: at least 1 is needed, 15 is usual".into())
}

/// `bins + 1` edges from 0 to 1, as f32: a confidence of 0.2f32 then lies on the edge 0.2, not above it.
pub(crate) fn equal_width_edges(bins: usize) -> Vec<f32> {
    (0..=bins).map(|edge| (edge as f64 / bins as f64) as f32).collect()
}

/// The right-closed bin that holds `confidence`, below `edges.len() - 1`. Values outside the edges go to the ends.
pub(crate) fn bin_of(edges: &[f32], confidence: f32) -> usize {
    let bins = edges.len() - 1;
    // The product is at most one bin off; comparing with the edges settles it.
    let mut bin = ((confidence * bins as f32) as usize).min(bins - 1);
    while bin > 0 && confidence <= edges[bin] {
        bin -= 1;
    }
    while bin + 1 < bins && confidence > edges[bin + 1] {
        bin += 1;
    }
    bin
}

/// `0..rows` cut into `parts` runs whose lengths differ by at most one.
fn runs(rows: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let cut = move |part: usize| (part as u128 * rows as u128 / parts as u128) as usize;
    (0..parts).map(move |part| cut(part)..cut(part + 1))
}

/// What a bin adds up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) count: u64,
    pub(crate) confidence: f64,
    pub(crate) correct: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, confidence: f64, correct: bool) {
        self.count += 1;
        self.confidence += confidence;
        self.correct += u64::from(correct);
    }

    /// Rows times gap: ECE is the sum of these over bins, divided by the rows.
    pub(crate) fn weighted_gap(&self) -> f64 {
        (self.confidence - self.correct as f64).abs()
    }

    fn bin(&self, lower: f32, upper: f32) -> ReliabilityBin {
        let rows = self.count.max(1) as f64;
        ReliabilityBin {
            lower,
            upper,
            count: self.count,
            confidence: self.confidence / rows,
            accuracy: self.correct as f64 / rows,
        }
    }
}

#[cfg(test)]
#[path = "calibration_tests.rs"]
mod tests;
