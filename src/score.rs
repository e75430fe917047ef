//! From one row of logits to class, probabilities and in-distribution score. Pure arithmetic on slices.
//!
//! Scores follow Macêdo et al. 2022 (arXiv 2205.05874). **Higher is more in-distribution**; the column `ood_score` is
//! the negative. Sums run in f64 and results are rounded to f32 once, so the order of a tensor library's reductions
//! does not show.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// An in-distribution score of the logits `z` at temperature 1, with `p = softmax(z)`. Higher is more in-distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Score {
    /// Maximum probability: `max p`, in (0, 1].
    Mps,
    /// Negative entropy: `sum p ln p` in nats, in [-ln C, 0].
    Es,
    /// Minimum distance: `max z`.
    Mds,
    /// Maximum plus mean logit: `max z + mean z`.
    Mmls,
    /// Maximum plus mean logit plus negative entropy: [`Score::Mmls`] + [`Score::Es`].
    #[default]
    Mmles,
    /// [`Score::Mmles`] + [`Score::Mps`].
    Mmleps,
    /// [`Score::Mds`] and how usual the features of the network's early stages are, each as the logarithm of its rank
    /// among training images (Fisher's combination): at most 0. Not a function of the logits alone: see
    /// [`FeatureScore`](crate::calibration::FeatureScore).
    #[serde(rename = "mds+early")]
    MdsEarly,
    /// [`Score::Mds`] and how little all features are like those of examples of unknown images, in the same way.
    #[serde(rename = "mds+unknown")]
    MdsUnknown,
    /// All three of [`Score::MdsEarly`] and [`Score::MdsUnknown`].
    #[serde(rename = "mds+early+unknown")]
    MdsEarlyUnknown,
}

impl Score {
    /// The scores of logits, in the paper's order.
    pub const OF_LOGITS: [Self; 6] = [Self::Mps, Self::Es, Self::Mds, Self::Mmls, Self::Mmles, Self::Mmleps];

    /// All scores.
    pub const ALL: [Self; 9] = [
        Self::Mps,
        Self::Es,
        Self::Mds,
        Self::Mmls,
        Self::Mmles,
        Self::Mmleps,
        Self::MdsEarly,
        Self::MdsUnknown,
        Self::MdsEarlyUnknown,
    ];

    /// Whether it needs features besides the logits.
    pub const fn needs_features(self) -> bool {
        matches!(self, Self::MdsEarly | Self::MdsUnknown | Self::MdsEarlyUnknown)
    }

    /// Whether it needs examples of unknown images.
    pub const fn needs_unknown(self) -> bool {
        matches!(self, Self::MdsUnknown | Self::MdsEarlyUnknown)
    }

    /// Whether how usual the early features are counts in it.
    pub const fn counts_early(self) -> bool {
        matches!(self, Self::MdsEarly | Self::MdsEarlyUnknown)
    }

    /// Lower-case name: `mps`, `es`, `mds`, `mmls`, `mmles`, `mmleps`, `mds+early`, `mds+unknown`, `mds+early+unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mps => "mps",
            Self::Es => "es",
            Self::Mds => "mds",
            Self::Mmls => "mmls",
            Self::Mmles => "mmles",
            Self::Mmleps => "mmleps",
            Self::MdsEarly => "mds+early",
            Self::MdsUnknown => "mds+unknown",
            Self::MdsEarlyUnknown => "mds+early+unknown",
        }
    }

    /// This score of one row of logits, at temperature 1.
    ///
    /// Finite for finite logits however far apart they are (`0 ln 0 = 0`), unless the sum itself leaves the range of
    /// f32. A NaN or +infinite logit, an empty row and a score that needs more than logits give a value that is not
    /// finite: such a row is an error, never in-distribution.
    pub fn of_logits(self, logits: &[f32]) -> f32 {
        self.combine(logits, &Softmax::of(logits, 1.0))
    }

    /// The score from logits and their softmax at temperature 1.
    fn combine(self, logits: &[f32], softmax: &Softmax) -> f32 {
        if !softmax.sum.is_finite() {
            return f32::NAN;
        }
        let max_plus_mean = || {
            let sum: f64 = logits.iter().map(|&z| f64::from(z)).sum();
            softmax.max + sum / logits.len() as f64
        };
        let score = match self {
            Self::Mps => softmax.confidence(),
            Self::Es => softmax.negative_entropy(logits),
            Self::Mds => softmax.max,
            Self::Mmls => max_plus_mean(),
            Self::Mmles => max_plus_mean() + softmax.negative_entropy(logits),
            Self::Mmleps => max_plus_mean() + softmax.negative_entropy(logits) + softmax.confidence(),
            Self::MdsEarly | Self::MdsUnknown | Self::MdsEarlyUnknown => f64::NAN,
        };
        score as f32
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Score {
    type Err = Error;

    /// Reads a name in any case.
    ///
    /// # Errors
    /// [`Error::Config`] with the list of names.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|score| score.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Config(format!("unknown score {name:?}: use one of {names}"))
        })
    }
}

/// What the network gives for one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowOutput<'a> {
    /// `[C]`, before temperature.
    pub logits: &'a [f32],
    /// Means over height and width of what each stage of the network gives, one stage after the other
    /// ([`Architecture::stages`](crate::network::Architecture::stages)); none where nobody asked for them.
    pub features: Option<&'a [f32]>,
}

/// What the scoring stage needs to know of a row besides its probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
#[doc(hidden)]
pub struct RowScores {
    /// Index of the largest logit, the first one where they tie; does not depend on the temperature.
    pub class: usize,
    /// Probability of that class at the given temperature, in (0, 1].
    pub confidence: f32,
    /// In-distribution score at temperature 1: higher is more in-distribution.
    pub score: f32,
}

impl RowScores {
    /// Whether both numbers can be used. A row where this is false must become a row error (`non_finite_score`).
    pub fn is_finite(&self) -> bool {
        self.confidence.is_finite() && self.score.is_finite()
    }
}

/// Scores one row: `probabilities = softmax(logits / temperature)` and the in-distribution score at temperature 1.
///
/// `logits` are those of temperature 1 (not yet divided). `probabilities` takes one value per class; where it is
/// shorter or longer than `logits`, the common part is written. Check [`RowScores::is_finite`] before use.
#[doc(hidden)]
pub fn row(logits: &[f32], temperature: f32, score: Score, probabilities: &mut [f32]) -> RowScores {
    let temperature = f64::from(temperature);
    let softmax = Softmax::of(logits, temperature);
    for (out, &logit) in probabilities.iter_mut().zip(logits) {
        *out = (softmax.term(logit) / softmax.sum) as f32;
    }
    let at_one = if temperature == 1.0 { softmax } else { Softmax::of(logits, 1.0) };
    RowScores { class: softmax.class, confidence: softmax.confidence() as f32, score: score.combine(logits, &at_one) }
}

/// Class and confidence at `temperature`: exactly those of [`row`], without the rest.
#[doc(hidden)]
pub fn class_and_confidence(logits: &[f32], temperature: f32) -> (usize, f32) {
    let softmax = Softmax::of(logits, f64::from(temperature));
    (softmax.class, softmax.confidence() as f32)
}

/// `-ln softmax(logits / temperature)[label]` in nats; NaN where the label is outside the row.
#[doc(hidden)]
pub fn nll_of_row(logits: &[f32], temperature: f32, label: usize) -> f64 {
    let softmax = Softmax::of(logits, f64::from(temperature));
    logits.get(label).map_or(f64::NAN, |&logit| softmax.sum.ln() - softmax.exponent(logit))
}

/// The parts of a stable softmax.
#[derive(Debug, Clone, Copy)]
struct Softmax {
    class: usize,
    max: f64,
    temperature: f64,
    /// `sum_j exp((z_j - max z) / T)`, from 1 to C; NaN where no softmax exists.
    sum: f64,
}

impl Softmax {
    fn of(logits: &[f32], temperature: f64) -> Self {
        let (mut class, mut max) = (0, f32::NEG_INFINITY);
        for (index, &logit) in logits.iter().enumerate() {
            if logit > max {
                (class, max) = (index, logit);
            }
        }
        let max = f64::from(max);
        let mut softmax = Self { class, max, temperature, sum: f64::NAN };
        if !logits.is_empty() {
            // The sum starts from the largest term. A term below half an ulp of 1 then changes nothing, so skipping it
            // is exact and saves most of the exponentials at a small temperature. A NaN logit is not skipped: the sum
            // is NaN.
            let rest = logits.iter().enumerate().filter(|&(index, _)| index != class);
            softmax.sum = rest.fold(if max.is_finite() { 1.0 } else { f64::NAN }, |sum, (_, &logit)| {
                let exponent = softmax.exponent(logit);
                if exponent < NEGLIGIBLE_EXPONENT { sum } else { sum + exponent.exp() }
            });
        }
        softmax
    }

    /// `(z - max z) / T`, at most 0.
    fn exponent(&self, logit: f32) -> f64 {
        (f64::from(logit) - self.max) / self.temperature
    }

    fn term(&self, logit: f32) -> f64 {
        self.exponent(logit).exp()
    }

    fn confidence(&self) -> f64 {
        1.0 / self.sum
    }

    /// `sum p ln p`. Writing `ln p` as `exponent - ln sum` keeps it finite where p underflows.
    fn negative_entropy(&self, logits: &[f32]) -> f64 {
        let weighted = logits.iter().map(|&logit| {
            let (exponent, term) = (self.exponent(logit), self.term(logit));
            if term == 0.0 { 0.0 } else { term * exponent }
        });
        weighted.sum::<f64>() / self.sum - self.sum.ln()
    }
}

/// exp(-37.5) is 5e-17, below half an ulp of 1 (1.1e-16).
const NEGLIGIBLE_EXPONENT: f64 = -37.5;

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;
