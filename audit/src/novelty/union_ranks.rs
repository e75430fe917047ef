//! Scores fused by the logarithms of their ranks among calibration and audited rows together.
//!
//! A function of the union treats both alike, so the fused score keeps the guarantee of conformal p-values.

/// A value of each calibration row and of each audited row; smaller is stranger.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Union {
    pub calibration: Vec<f32>,
    pub audited: Vec<f32>,
}

impl Union {
    /// Zeros for so many rows.
    pub fn zeros(calibration: usize, audited: usize) -> Self {
        Self { calibration: vec![0.0; calibration], audited: vec![0.0; audited] }
    }

    /// Only the rows that are kept.
    pub fn only(&self, keeps_calibration: &[bool], keeps_audited: &[bool]) -> Self {
        let only = |values: &[f32], keeps: &[bool]| {
            values.iter().zip(keeps).filter(|(_, keeps)| **keeps).map(|(value, _)| *value).collect()
        };
        Self { calibration: only(&self.calibration, keeps_calibration), audited: only(&self.audited, keeps_audited) }
    }
}

/// Sums of `weight * ln(rank / rows)` of several values, where the rank of a value counts the rows of the union with at
/// most this value: Fisher's combination (1932) with weights (Good 1955). Weights of 0 are left out.
pub(crate) fn fuse(parts: &[(f64, &Union)]) -> Union {
    let rows = parts.first().map_or((0, 0), |(_, part)| (part.calibration.len(), part.audited.len()));
    let mut fused = Union::zeros(rows.0, rows.1);
    for (weight, part) in parts.iter().filter(|(weight, _)| *weight > 0.0) {
        let mut sorted: Vec<f32> = part.calibration.iter().chain(&part.audited).copied().collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let add = |sums: &mut [f32], values: &[f32]| {
            for (sum, value) in sums.iter_mut().zip(values) {
                let rank = sorted.partition_point(|known| known.total_cmp(value).is_le());
                *sum += (weight * (rank as f64 / sorted.len() as f64).ln()) as f32;
            }
        };
        add(&mut fused.calibration, &part.calibration);
        add(&mut fused.audited, &part.audited);
    }
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_hand() {
        let first = Union { calibration: vec![3.0, 1.0], audited: vec![2.0, 2.0] };
        let second = Union { calibration: vec![-1.0, -2.0], audited: vec![-3.0, -4.0] };
        let fused = fuse(&[(1.0, &first), (2.0, &second), (0.0, &second)]);
        let sum = |first: f64, second: f64| ((first / 4.0).ln() + 2.0 * (second / 4.0).ln()) as f32;
        let near = |found: &[f32], expected: [f32; 2]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&fused.calibration, [sum(4.0, 4.0), sum(1.0, 3.0)]), "{fused:?}");
        assert!(near(&fused.audited, [sum(3.0, 2.0), sum(3.0, 1.0)]), "{fused:?}");
        let only = first.only(&[false, true], &[true, true]);
        assert_eq!(only, Union { calibration: vec![1.0], audited: vec![2.0, 2.0] });
        assert_eq!(fuse(&[]), Union::default());
    }
}
