//! How a score is distributed in several sets.

use serde::{Deserialize, Serialize};

/// Bins of a histogram: fine enough for shapes, coarse enough for some hundred rows.
const BINS: usize = 50;

/// Counts of one score in bins of equal width, the same bins for all sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreHistogram {
    /// Lower edge of the first bin.
    pub lower: f32,
    /// Upper edge of the last bin, above `lower`.
    pub upper: f32,
    /// Rows of the in-distribution set in each bin.
    pub in_dist: Vec<u64>,
    /// The same for each out-of-distribution set.
    pub ood: Vec<Vec<u64>>,
}

impl ScoreHistogram {
    /// Bins from the smallest to the largest of all finite values; `include` is a value that must lie among them unless
    /// it is as far away as only a stand-in for infinity can be.
    pub fn of(in_dist: &[f32], ood: &[Vec<f32>], include: Option<f32>) -> Self {
        let include = include.filter(|value| value.abs() < f32::MAX);
        let all = in_dist.iter().chain(ood.iter().flatten()).copied().chain(include).filter(|value| value.is_finite());
        let (lower, upper) =
            all.fold((f32::INFINITY, f32::NEG_INFINITY), |(lower, upper), value| (lower.min(value), upper.max(value)));
        let (lower, upper) = match lower < upper {
            true => (lower, upper),
            // One value or none: the width is made up, and wide enough to be seen in an f32.
            false if lower.is_finite() => {
                let half = (lower.abs() * 1e-3).max(0.5);
                (lower - half, lower + half)
            }
            false => (0.0, 1.0),
        };
        let count = |values: &[f32]| {
            let mut counts = vec![0; BINS];
            for value in values.iter().filter(|value| value.is_finite()) {
                // In f64: the difference of two f32 may not fit f32.
                let share = (f64::from(*value) - f64::from(lower)) / (f64::from(upper) - f64::from(lower));
                counts[((share * BINS as f64) as usize).min(BINS - 1)] += 1;
            }
            counts
        };
        Self { lower, upper, in_dist: count(in_dist), ood: ood.iter().map(|values| count(values)).collect() }
    }

    /// Edges of a bin.
    pub fn edges(&self, bin: usize) -> (f64, f64) {
        let width = (f64::from(self.upper) - f64::from(self.lower)) / self.in_dist.len().max(1) as f64;
        let lower = f64::from(self.lower) + bin as f64 * width;
        (lower, lower + width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_bin() {
        let histogram = ScoreHistogram::of(&[0.0, 1.0, 10.0], &[vec![5.0, -40.0], vec![]], Some(20.0));
        assert_eq!((histogram.lower, histogram.upper), (-40.0, 20.0));
        assert_eq!(histogram.in_dist.iter().sum::<u64>(), 3);
        assert_eq!(histogram.ood.iter().map(|counts| counts.iter().sum()).collect::<Vec<u64>>(), [2, 0]);
        assert_eq!(histogram.ood[0][0], 1);
        for (bin, &count) in histogram.in_dist.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (lower, upper) = histogram.edges(bin);
            let inside = [0.0, 1.0, 10.0].iter().filter(|value| (lower..upper).contains(*value)).count();
            assert_eq!(inside as u64, count);
        }
    }

    #[test]
    fn one_value_and_none_have_a_width() {
        let one = ScoreHistogram::of(&[3.0, 3.0], &[], None);
        assert_eq!((one.lower, one.upper, one.in_dist.iter().sum::<u64>()), (2.5, 3.5, 2));
        let none = ScoreHistogram::of(&[], &[], Some(f32::MAX));
        assert_eq!((none.lower, none.upper), (0.0, 1.0));
    }
}
