//! Images that look odd: black, white, of one tone, blurred, of extreme sizes or proportions.

use serde::{Deserialize, Serialize};

use crate::collect::Look;
use crate::evidence::Evidence;
use crate::findings::Finding;
use crate::kind::Kind;
use crate::quality::{aspect, tone};
use crate::text::percent;
use dismax::metrics::percentile_of_sorted;

/// Longer side divided by the shorter, above which proportions are extreme.
const ASPECT: f64 = 4.0;
/// Robust z-score of the size beyond which it is extreme.
const SIZE_Z: f64 = 6.0;
/// Robust z-score of the sharpness below which an image is blurred.
const SHARPNESS_Z: f64 = -4.0;
/// Colour below which an image is grey: two of 255 steps, which leave room for what JPEG makes of grey.
const GREY: f32 = 0.008;
/// The spread is taken to be at least this (a quarter, as logarithm), where nearly all images have one size.
const MIN_SPREAD: f64 = 0.25;
/// Makes the median absolute deviation of normally distributed values their standard deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;
/// Sharpness below which its logarithm is no longer looked at: a Laplacian of half a grey value.
const MIN_SHARPNESS: f32 = 4e-6;

/// Median and robust spread of a quantity's logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RobustScale {
    /// Median of the quantity.
    pub median: f64,
    /// Median absolute deviation of its natural logarithm, times 1.4826; at least 0.25.
    pub spread: f64,
}

impl RobustScale {
    /// Of positive values. None for no values.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut logarithms: Vec<f64> = values.map(f64::ln).collect();
        logarithms.sort_unstable_by(f64::total_cmp);
        if logarithms.is_empty() {
            return None;
        }
        let median = percentile_of_sorted(&logarithms, 50.0);
        logarithms.iter_mut().for_each(|value| *value = (*value - median).abs());
        logarithms.sort_unstable_by(f64::total_cmp);
        let spread = (MAD_TO_DEVIATION * percentile_of_sorted(&logarithms, 50.0)).max(MIN_SPREAD);
        Some(Self { median: median.exp(), spread })
    }

    /// How many spreads a value's logarithm lies above the median's.
    pub fn z(&self, value: f64) -> f64 {
        (value.ln() - self.median.ln()) / self.spread
    }
}

/// What is usual in a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QualityFigures {
    /// Images that could be decoded.
    pub images: u64,
    /// Number of pixels; none without images.
    pub pixels: Option<RobustScale>,
    /// Variance of the Laplacian, of images that are not of one tone; none without such.
    pub sharpness: Option<RobustScale>,
    /// Images without colour.
    pub grey: u64,
}

/// Finds odd images: their positions among `looks`, kind and score.
pub(super) fn find<'a>(
    looks: impl Iterator<Item = (u32, &'a Look)> + Clone,
) -> (QualityFigures, Vec<(u32, Kind, f64)>) {
    let pixels = |look: &Look| f64::from(look.width) * f64::from(look.height);
    let has_detail = |look: &Look| tone(look).is_none();
    let is_grey = |look: &Look| look.colour < GREY;
    let sharpness = |look: &Look| f64::from(look.sharpness.max(MIN_SHARPNESS));
    let figures = QualityFigures {
        images: looks.clone().count() as u64,
        pixels: RobustScale::of(looks.clone().map(|(_, look)| pixels(look))),
        sharpness: RobustScale::of(looks.clone().map(|(_, look)| look).filter(|look| has_detail(look)).map(sharpness)),
        grey: looks.clone().filter(|(_, look)| is_grey(look)).count() as u64,
    };
    // Where most images are grey, grey is not odd.
    let is_coloured = 2 * figures.grey < figures.images;
    let mut found = Vec::new();
    for (row, look) in looks {
        if let Some((kind, score)) = tone(look) {
            found.push((row, kind, score));
        } else if let Some(z) = figures.sharpness.map(|scale| scale.z(sharpness(look))).filter(|z| *z < SHARPNESS_Z) {
            found.push((row, Kind::Blurred, z));
        }
        if is_coloured && is_grey(look) && has_detail(look) {
            found.push((row, Kind::Grey, look.colour.into()));
        }
        if let Some(z) = figures.pixels.map(|scale| scale.z(pixels(look))).filter(|z| z.abs() > SIZE_Z) {
            found.push((row, Kind::ExtremeSize, z));
        }
        let aspect = aspect(look.width, look.height);
        if aspect > ASPECT {
            found.push((row, Kind::ExtremeAspect, aspect));
        }
    }
    (figures, found)
}

/// What speaks for such a finding.
pub(super) fn sentence(finding: &Finding, evidence: &Evidence<'_>) -> String {
    let row = evidence.row(finding);
    let figures = evidence.figures.get::<QualityFigures>().expect("odd images lie far from what is usual");
    let look = row.look.expect("only decoded images look odd");
    let median = |scale: Option<RobustScale>| scale.expect("odd images lie far from a median").median;
    let (size, score) = (format!("{} x {} pixels", look.width, look.height), finding.score);
    match finding.kind {
        Kind::NearBlack | Kind::NearWhite => format!("Mean luma {score:.3} of 1."),
        Kind::NearUniform => format!("The luma's standard deviation is {score:.4}: nearly one tone."),
        Kind::ExtremeSize => {
            let median = median(figures.pixels).round();
            format!("{size}, while the median image has {median} pixels: {score:+.1} robust deviations.")
        }
        Kind::ExtremeAspect => {
            format!("{size}: one side is {:.1} times the other.", aspect(look.width, look.height))
        }
        Kind::Grey => format!(
            "The channels differ by {score:.4} of 1 on average, while {} of the images have colour.",
            percent(1.0 - figures.grey as f64 / figures.images.max(1) as f64)
        ),
        _ => format!(
            "Sharpness {:.5}, while the median image has {:.5}: {score:+.1} robust deviations.",
            look.sharpness,
            median(figures.sharpness)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(width: u32, height: u32, luma_mean: f32, luma_deviation: f32, sharpness: f32) -> Look {
        let (colour, bytes, hash) = (0.3, 0, [0; 16]);
        Look { width, height, luma_mean, luma_deviation, colour, sharpness, bytes, hash, format: None }
    }

    fn kinds(looks: &[Look]) -> Vec<(u32, Kind)> {
        let (_, found) = find(looks.iter().enumerate().map(|(row, look)| (row as u32, look)));
        found.into_iter().map(|(row, kind, _)| (row, kind)).collect()
    }

    #[test]
    fn the_robust_scale_by_hand() {
        // Logarithms 0, 1, 2, 3, 10: median 2, absolute deviations 0, 1, 1, 2, 8.
        let scale = RobustScale::of([0.0f64, 1.0, 2.0, 3.0, 10.0].into_iter().map(f64::exp)).expect("values");
        assert!((scale.median - 2f64.exp()).abs() < 1e-9 && (scale.spread - 1.4826).abs() < 1e-9);
        assert!((scale.z(10f64.exp()) - 8.0 / 1.4826).abs() < 1e-9);
        assert_eq!(RobustScale::of([5.0; 9].into_iter()).expect("values").spread, MIN_SPREAD);
        assert_eq!(RobustScale::of([].into_iter()), None);
    }

    #[test]
    fn each_oddity_is_found_and_ordinary_images_are_not() {
        let mut looks: Vec<Look> =
            (0..100).map(|row| look(100 + row, 100, 0.5, 0.2, 0.01 * (1.0 + row as f32 / 100.0))).collect();
        assert_eq!(kinds(&looks), []);
        looks.push(look(100, 100, 0.01, 0.01, 0.0));
        looks.push(look(100, 100, 0.99, 0.01, 0.0));
        looks.push(look(100, 100, 0.5, 0.01, 0.0));
        looks.push(look(100, 100, 0.5, 0.2, 0.0001));
        looks.push(look(4000, 3000, 0.5, 0.2, 0.01));
        looks.push(look(10, 10, 0.5, 0.2, 0.01));
        looks.push(look(300, 60, 0.5, 0.2, 0.01));
        looks.push(Look { colour: 0.004, ..look(100, 100, 0.5, 0.2, 0.01) });
        // One tone says more than grey.
        looks.push(Look { colour: 0.0, ..look(100, 100, 0.5, 0.01, 0.01) });
        let expected = [
            (100, Kind::NearBlack),
            (101, Kind::NearWhite),
            (102, Kind::NearUniform),
            (103, Kind::Blurred),
            (104, Kind::ExtremeSize),
            (105, Kind::ExtremeSize),
            (106, Kind::ExtremeAspect),
            (107, Kind::Grey),
            (108, Kind::NearUniform),
        ];
        assert_eq!(kinds(&looks), expected);
        let grey: Vec<Look> = looks[..100].iter().map(|look| Look { colour: 0.0, ..look.clone() }).collect();
        assert_eq!(kinds(&grey), [], "where all are grey, grey is usual");
    }
}
