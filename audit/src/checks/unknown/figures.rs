//! Unknown images in figures: how many there are, how many are found, and what the strangest ones are worth.

use serde::{Deserialize, Serialize};

use super::strangeness::Aside;
use crate::novelty::{Detection, Envelope, UnknownMethod};
use dismax::calibration::Estimate;

/// Images are listed for review up to this q-value.
pub(super) const REVIEW_Q_VALUE: f64 = 0.3;
/// Confidence of the bounds on the strangest images.
const LEVEL: f64 = 0.95;
/// Numbers of strangest images of which something is said: these, times powers of ten.
const STEPS: [u64; 3] = [1, 2, 5];
/// Of more images nothing is said.
const MOST_STRANGEST: u64 = 100_000;

/// What is known of unknown images among the audited ones. Equal images count once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnknownFigures {
    /// How images were judged.
    pub method: UnknownMethod,
    /// Images under test: those with a prediction that nobody has reviewed and that are not blank.
    pub tested: u64,
    /// False discovery rate asked for.
    pub fdr: f64,
    /// Images with a q-value of at most that: among such images the expected share of known ones is at most the rate
    /// (Benjamini and Hochberg 1995).
    pub rejected: u64,
    /// Further images for review, with a q-value of at most 0.3. They are listed only where it is certain at 95 % that
    /// there is an unknown image at all.
    pub review: u64,
    /// Estimated share of unknown images among those under test, found or not: 1 minus Storey's estimate (2002) of the
    /// share of true null hypotheses at lambda 0.5, with its 95 % interval. None without images, and where the dataset
    /// has drifted.
    pub out_of_distribution: Option<Estimate>,
    /// The same of all images by the model's score alone, also where the dataset has drifted.
    pub by_score: Option<Estimate>,
    /// The same of all images by the learnt score, which with a drift is the share of images that differ for whatever
    /// reason. None where nothing could be learnt.
    pub by_learnt_score: Option<Estimate>,
    /// Whether the dataset, or a large part of it, differs from the calibration images in what the model's score does
    /// not take for unknown: the learnt score's share is far above what the model's allows. Images are then judged by a
    /// score that learns nothing, and nothing is said of how many are unknown.
    pub has_drifted: bool,
    /// Images under test that are unknown with 95 % confidence, without saying which: a lower bound on their number.
    /// None where the dataset has drifted.
    pub at_least: Option<u64>,
    /// What the strangest images are worth; empty where the dataset has drifted.
    pub strangest: Vec<Strangest>,
    /// Unknown images that must stand out from all calibration rows for any to be found at the rate asked for.
    pub needed: u64,
    /// Examples of unknown images that the method learnt from; 0 without.
    pub known_unknown: u64,
    /// Audited images that a reader has marked as unknown, or that are examples of unknown images. They are findings
    /// and not under test.
    pub marked_unknown: u64,
    /// Audited images that a reader has marked as known. They are no findings and not under test.
    pub marked_known: u64,
    /// Other audited images that are black, white or of one tone. They are findings of these kinds, and neither tested
    /// nor learnt from.
    #[serde(default)]
    pub blank: u64,
}

/// So many of the strangest images, and how many of them are unknown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Strangest {
    /// Number of images.
    pub images: u64,
    /// Estimated number of unknown ones among them.
    pub estimated: f64,
    /// Lower bound with 95 % confidence, which holds for all numbers of images at once.
    pub at_least: u64,
}

impl UnknownFigures {
    /// From what was detected, and the numbers of images that were not under test.
    pub(super) fn of(detection: &Detection, fdr: f64, aside: Aside) -> Self {
        let Aside { marked_unknown, marked_known, blank } = aside;
        let tested = detection.p_values.len() as u64;
        let up_to = |most: f64| detection.q_values.iter().filter(|q_value| f64::from(**q_value) <= most).count() as u64;
        let rejected = up_to(fdr);
        // Without exchangeable calibration rows no bound holds.
        let strangest = if detection.has_drifted { Vec::new() } else { strangest(detection) };
        let at_least = (!detection.has_drifted).then(|| strangest.iter().map(|some| some.at_least).max().unwrap_or(0));
        let is_certain = at_least.is_some_and(|at_least| at_least > 0 || rejected > 0);
        let review = if is_certain { up_to(REVIEW_Q_VALUE).saturating_sub(rejected) } else { 0 };
        let smallest = 1.0 / (detection.calibration_rows as f64 + 1.0);
        Self {
            method: detection.method,
            tested,
            fdr,
            rejected,
            review,
            out_of_distribution: detection.share.filter(|_| !detection.has_drifted),
            by_score: detection.score_share,
            by_learnt_score: detection.learnt_share,
            has_drifted: detection.has_drifted,
            at_least,
            strangest: strangest.into_iter().filter(|some| is_shown(some.images, tested)).collect(),
            needed: (tested as f64 * smallest / fdr).ceil() as u64,
            known_unknown: detection.known,
            marked_unknown,
            marked_known,
            blank,
        }
    }

    /// The largest q-value that is a finding.
    pub(super) fn most(&self) -> f64 {
        if self.review > 0 { REVIEW_Q_VALUE.max(self.fdr) } else { self.fdr }
    }
}

fn is_shown(images: u64, tested: u64) -> bool {
    let power = 10u64.pow(images.checked_ilog10().unwrap_or(0));
    images >= 10 && (STEPS.contains(&(images / power)) && images.is_multiple_of(power) || images == tested)
}

/// What so many of the strangest images are worth: 1, 2, 5, 10, 20 and so on, and all.
fn strangest(detection: &Detection) -> Vec<Strangest> {
    let sorted = &detection.p_values;
    let tested = sorted.len() as u64;
    if tested == 0 || detection.calibration_rows < 2 {
        return Vec::new();
    }
    let envelope = Envelope::new(detection.calibration_rows, tested, LEVEL);
    let at_least = envelope.at_least(sorted);
    let known = tested as f64 * (1.0 - detection.share.map_or(0.0, |share| share.value));
    let powers = std::iter::successors(Some(1u64), |power| power.checked_mul(10));
    let numbers = powers.flat_map(|power| STEPS.map(|step| step * power));
    let numbers = numbers.take_while(|number| *number < tested.min(MOST_STRANGEST)).chain([tested]);
    let strangest = numbers.map(|images| Strangest {
        images,
        // Of the known images a share of p has a p-value of at most p.
        estimated: (images as f64 - known * sorted[images as usize - 1]).max(0.0),
        at_least: at_least(images),
    });
    strangest.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(p_values: Vec<f64>) -> Detection {
        let q_values = dismax::calibration::q_values(&p_values).expect("p-values");
        Detection {
            method: UnknownMethod::Score,
            scores: p_values.iter().map(|p_value| *p_value as f32).collect(),
            q_values: q_values.into_iter().map(|q_value| q_value as f32).collect(),
            share: None,
            score_share: None,
            learnt_share: None,
            p_values,
            calibration_rows: 999,
            has_drifted: false,
            known: 0,
        }
    }

    /// P-values of so many known images, evenly spread, and so many at 0.001.
    fn mixture(known: u32, unknown: usize) -> Vec<f64> {
        let even = (1..=known).map(|rank| (f64::from(rank) * 999.0 / f64::from(known)).ceil() / 1000.0 + 0.001);
        std::iter::repeat_n(0.001, unknown).chain(even.map(|p_value| p_value.min(1.0))).collect()
    }

    #[test]
    fn a_clear_group_is_found_and_bounded() {
        let aside = Aside { marked_unknown: 3, marked_known: 4, blank: 5 };
        let figures = UnknownFigures::of(&detection(mixture(900, 100)), 0.05, aside);
        assert_eq!((figures.tested, figures.marked_unknown, figures.marked_known, figures.blank), (1000, 3, 4, 5));
        // 1000 * 0.001 / R <= 0.05 takes R = 20.
        assert_eq!(figures.needed, 20);
        // (100 + k) images have a p-value of at most about (k + 1) / 900: q is 0.05 at 5 more.
        assert!((100..=108).contains(&figures.rejected), "{figures:?}");
        assert!(figures.review > 10, "{figures:?}");
        let hundred = figures.strangest.iter().find(|some| some.images == 100).expect("a round number");
        assert!(hundred.estimated > 98.0 && (80..=100).contains(&hundred.at_least), "{hundred:?}");
        assert_eq!(
            figures.strangest.iter().map(|some| some.images).collect::<Vec<_>>(),
            [10, 20, 50, 100, 200, 500, 1000]
        );
        assert!(figures.at_least.is_some_and(|at_least| (80..=105).contains(&at_least)));
        assert_eq!(figures.most(), REVIEW_Q_VALUE);
    }

    #[test]
    fn nothing_is_promised_of_known_images_or_after_a_drift() {
        let figures = UnknownFigures::of(&detection(mixture(1000, 0)), 0.05, Aside::default());
        assert_eq!((figures.rejected, figures.review, figures.at_least), (0, 0, Some(0)));
        let drifted = Detection { has_drifted: true, ..detection(mixture(900, 100)) };
        let figures = UnknownFigures::of(&drifted, 0.05, Aside::default());
        assert!(figures.rejected >= 100 && figures.review == 0 && figures.at_least.is_none());
        assert!(figures.strangest.is_empty() && figures.out_of_distribution.is_none());
        let nothing = UnknownFigures::of(&detection(Vec::new()), 0.05, Aside::default());
        assert_eq!((nothing.tested, nothing.needed, nothing.at_least), (0, 0, Some(0)));
    }
}
