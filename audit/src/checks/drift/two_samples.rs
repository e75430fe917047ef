//! How two samples of numbers or of classes differ.
//!
//! Numbers are compared by the two-sample Kolmogorov-Smirnov test, classes by the chi-square test of homogeneity; the
//! population stability index (PSI) says how large a difference is.

use statrs::distribution::{ChiSquared, ContinuousCDF};

use dismax::error::{Error, Result};
use dismax::metrics::percentile_of_sorted;

/// Bins of the PSI: deciles of the reference.
const DECILES: usize = 10;
/// Most values of a sample that are compared; of more, evenly spaced ones in their order.
const MAX_VALUES: usize = 100_000;
/// Rows that must be expected in each cell of the chi-square test.
const MIN_EXPECTED: f64 = 5.0;

/// Statistic, p-value and PSI.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Difference {
    pub statistic: f64,
    pub p_value: f64,
    pub psi: f64,
}

/// A reference sample of numbers, prepared for many comparisons.
#[derive(Debug)]
pub(super) struct Numbers {
    sample: Vec<f64>,
    /// Inner edges between deciles, ascending, each once.
    edges: Vec<f64>,
    shares: Vec<f64>,
}

impl Numbers {
    /// Of finite values; none for fewer than two.
    pub fn new(values: impl ExactSizeIterator<Item = f32>) -> Option<Self> {
        let mut sample = thinned(values);
        if sample.len() < 2 {
            return None;
        }
        sample.sort_unstable_by(f64::total_cmp);
        let quantile = |k: usize| percentile_of_sorted(&sample, 100.0 * k as f64 / DECILES as f64);
        let deciles: Vec<f64> = (0..=DECILES).map(quantile).collect();
        // A value that makes up a tenth or more has a bin of its own: what lies below it belongs to another.
        let own = deciles.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].next_down());
        let mut edges: Vec<f64> = deciles[1..DECILES].iter().copied().chain(own).collect();
        edges.sort_unstable_by(f64::total_cmp);
        edges.dedup();
        let shares = shares(&sample, &edges);
        Some(Self { sample, edges, shares })
    }

    /// How `values` differ; none for fewer than two, and where all of both are one value.
    pub fn compare(&self, values: impl ExactSizeIterator<Item = f32>) -> Option<Difference> {
        let sample = thinned(values);
        let is_same = |value: &f64| self.sample.first() == Some(value);
        if sample.len() < 2 || self.sample.last().is_some_and(is_same) && sample.iter().all(is_same) {
            return None;
        }
        let psi = psi(&self.shares, &shares(&sample, &self.edges), sample.len().min(self.sample.len()));
        let (statistic, p_value) = kolmogorov_smirnov(&self.sample, sample);
        Some(Difference { statistic, p_value, psi })
    }
}

/// The largest gap between the distributions of an ascending sample and another, and the chance of so large a one where
/// both are drawn alike (asymptotic, two-sided). Own code because the series of statrs does not end where the gap is 0
/// or next to it.
fn kolmogorov_smirnov(sorted: &[f64], mut other: Vec<f64>) -> (f64, f64) {
    other.sort_unstable_by(f64::total_cmp);
    let (n, m) = (sorted.len(), other.len());
    // Whole numbers, so that equal distributions have no gap at all.
    let gap_at = |value: &f64| {
        let below = |sample: &[f64]| sample.partition_point(|x| x <= value) as u64;
        (below(sorted) * m as u64).abs_diff(below(&other) * n as u64)
    };
    let gap = sorted.iter().chain(&other).map(gap_at).max().unwrap_or(0);
    let statistic = gap as f64 / (n as f64 * m as f64);
    let effective = n as f64 * m as f64 / (n as f64 + m as f64);
    (statistic, kolmogorov(statistic * effective.sqrt()))
}

/// Chance that Kolmogorov's distribution exceeds `x`, by the series that ends sooner (Marsaglia, Tsang, Wang 2003,
/// section 2).
fn kolmogorov(x: f64) -> f64 {
    const TERMS: i32 = 8;
    if x <= 0.0 {
        return 1.0;
    }
    if x < 1.0 {
        let odd = (1..=TERMS).map(|k| f64::from(2 * k - 1));
        let sum: f64 = odd.map(|k| (-(k * std::f64::consts::PI / x).powi(2) / 8.0).exp()).sum();
        return (1.0 - (2.0 * std::f64::consts::PI).sqrt() / x * sum).clamp(0.0, 1.0);
    }
    let term = |k: i32| (-2.0 * (f64::from(k) * x).powi(2)).exp() * if k % 2 == 0 { -1.0 } else { 1.0 };
    (2.0 * (1..=TERMS).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// Finite values; of very many, evenly spaced ones of all in order, as rows may alternate.
fn thinned(values: impl ExactSizeIterator<Item = f32>) -> Vec<f64> {
    let mut values: Vec<f64> = values.map(f64::from).filter(|value| value.is_finite()).collect();
    if values.len() > MAX_VALUES {
        values.sort_unstable_by(f64::total_cmp);
        let count = values.len();
        values = (0..MAX_VALUES).filter_map(|k| values.get((2 * k + 1) * count / (2 * MAX_VALUES)).copied()).collect();
    }
    values
}

/// Shares of the values between the edges; a value on an edge belongs below it.
fn shares(values: &[f64], edges: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; edges.len() + 1];
    for value in values {
        if let Some(count) = counts.get_mut(edges.partition_point(|edge| edge < value)) {
            *count += 1.0;
        }
    }
    counts.into_iter().map(|count: f64| count / values.len().max(1) as f64).collect()
}

/// `sum (a - e) ln (a / e)`. An empty bin counts as half a row of the smaller sample, as its logarithm would be
/// infinite.
fn psi(expected: &[f64], actual: &[f64], rows: usize) -> f64 {
    let least = 0.5 / rows.max(1) as f64;
    let terms = expected.iter().zip(actual).map(|(expected, actual)| {
        let (expected, actual) = (expected.max(least), actual.max(least));
        (actual - expected) * (actual / expected).ln()
    });
    terms.sum()
}

/// How the classes of two samples differ: `counts` of each class in both. None where one sample is empty or there is
/// one class.
pub(super) fn classes(reference: &[u64], audited: &[u64]) -> Result<Option<Difference>> {
    let (total_reference, total_audited) = (reference.iter().sum::<u64>() as f64, audited.iter().sum::<u64>() as f64);
    let present = || reference.iter().zip(audited).filter(|(a, b)| **a + **b > 0).map(|(a, b)| (*a as f64, *b as f64));
    let all = total_reference + total_audited;
    // Cells in which few rows are expected spoil the test: they are taken together (Cochran 1954).
    let is_small = |(a, b): &(f64, f64)| (a + b) * total_reference.min(total_audited) / all < MIN_EXPECTED;
    let (small, mut cells): (Vec<_>, Vec<_>) = present().partition(is_small);
    let rest = small.iter().fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
    match cells.iter_mut().min_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1))) {
        Some(cell) if is_small(&rest) => *cell = (cell.0 + rest.0, cell.1 + rest.1),
        _ => cells.push(rest),
    }
    let freedom = cells.len().saturating_sub(1);
    if total_reference == 0.0 || total_audited == 0.0 || freedom == 0 {
        return Ok(None);
    }
    let statistic: f64 = cells
        .iter()
        .map(|(a, b)| {
            let (expect_a, expect_b) = ((a + b) * total_reference / all, (a + b) * total_audited / all);
            (a - expect_a).powi(2) / expect_a + (b - expect_b).powi(2) / expect_b
        })
        .sum();
    let distribution =
        ChiSquared::new(freedom as f64).map_err(|error| Error::Internal(format!("chi-square: {error}")))?;
    let share =
        |counts: fn((f64, f64)) -> f64, total: f64| present().map(|pair| counts(pair) / total).collect::<Vec<_>>();
    let smaller = total_reference.min(total_audited) as usize;
    let psi = psi(&share(|pair| pair.0, total_reference), &share(|pair| pair.1, total_audited), smaller);
    Ok(Some(Difference { statistic, p_value: distribution.sf(statistic).clamp(0.0, 1.0), psi }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[f32]) -> Numbers {
        Numbers::new(values.iter().copied()).expect("a sample")
    }

    #[test]
    fn the_statistic_is_the_largest_gap_of_the_distributions() {
        // After 3 the shares are 3/4 and 1/4.
        let difference = numbers(&[1.0, 2.0, 3.0, 6.0]).compare([2.5f32, 4.0, 5.0, 7.0].into_iter()).expect("values");
        assert!((difference.statistic - 0.5).abs() < 1e-9, "{difference:?}");
        let same: Vec<f32> = (0..500).map(|value| value as f32).collect();
        let equal = numbers(&same).compare(same.iter().copied()).expect("values");
        assert_eq!((equal.statistic, equal.p_value, equal.psi), (0.0, 1.0, 0.0));
        let shifted = numbers(&same).compare(same.iter().map(|value| value + 100.0)).expect("values");
        // 2 exp(-2 (0.2)^2 250) = 4.1e-9.
        assert!((shifted.statistic - 0.2).abs() < 1e-9 && (shifted.p_value / 4.1e-9 - 1.0).abs() < 0.05, "{shifted:?}");
        assert_eq!(numbers(&same).compare([1.0f32].into_iter()), None);
        assert!(Numbers::new([1.0f32].into_iter()).is_none());
    }

    #[test]
    fn kolmogorovs_distribution_at_known_points() {
        // Smirnov's table (1948): L(0.5) = 0.036055, L(1) = 0.730000, L(1.36) = 0.950514, L(2) = 0.999329.
        for (x, below) in [(0.5, 0.036_055), (1.0, 0.730_000), (1.36, 0.950_514), (2.0, 0.999_329)] {
            assert!((1.0 - kolmogorov(x) - below).abs() < 2e-6, "{x}: {}", 1.0 - kolmogorov(x));
        }
        // Where the series meet.
        assert!((kolmogorov(1.0 - 1e-12) - kolmogorov(1.0)).abs() < 1e-9);
        assert_eq!((kolmogorov(0.0), kolmogorov(1e-9), kolmogorov(50.0)), (1.0, 1.0, 0.0));
    }

    #[test]
    fn psi_by_hand() {
        // Shares 0.5 and 0.5 become 0.8 and 0.2: 0.3 ln 1.6 + 0.3 ln 2.5.
        let expected = 0.3 * 1.6f64.ln() + 0.3 * 2.5f64.ln();
        assert!((psi(&[0.5, 0.5], &[0.8, 0.2], 100) - expected).abs() < 1e-12);
        assert!(psi(&[0.5, 0.5], &[1.0, 0.0], 100).is_finite());
        // Of a value that all have, others lie below or above. Half a row of four stands for none.
        for other in [2.0f32, 4.0] {
            let ties = numbers(&[3.0; 50]).compare([3.0f32, 3.0, 3.0, other].into_iter()).expect("values");
            let expected = (0.25 - 0.125) * 2f64.ln() + (0.75 - 1.0) * 0.75f64.ln();
            assert!(ties.statistic == 0.25 && (ties.psi - expected).abs() < 1e-12, "{ties:?}");
        }
        assert_eq!(numbers(&[3.0; 50]).compare([3.0f32; 20].into_iter()), None, "there is nothing to compare");
    }

    #[test]
    fn chi_square_of_a_known_table() {
        // R: chisq.test(matrix(c(30, 10, 20, 40), 2), correct = FALSE): X-squared = 16.667, p = 4.456e-05.
        let difference = classes(&[30, 10, 0], &[20, 40, 0]).expect("a test").expect("classes");
        assert!((difference.statistic - 16.6667).abs() < 1e-3, "{difference:?}");
        assert!((difference.p_value - 4.456e-5).abs() < 1e-7, "{difference:?}");
        assert_eq!(classes(&[5, 0], &[7, 0]).expect("no test"), None);
        // One row of a class that is nearly absent elsewhere is no proof.
        let rare = classes(&[5000, 4999, 1], &[15, 14, 1]).expect("a test").expect("classes");
        assert!(rare.p_value > 0.001, "{rare:?}");
        assert_eq!(classes(&[5, 2], &[0, 0]).expect("no test"), None);
    }
}
