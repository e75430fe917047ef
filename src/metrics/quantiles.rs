//! Percentiles with linear interpolation between the two nearest rows (NumPy's default), over all rows given.

/// The value below which `percent` (0 to 100, clamped) of the ascending values lie; NaN for an empty slice.
pub fn percentile_of_sorted<T: Copy + Into<f64>>(sorted: &[T], percent: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = last as f64 * (percent / 100.0).clamp(0.0, 1.0);
    let below = (position as usize).min(last);
    let (low, high): (f64, f64) = (sorted[below].into(), sorted[(below + 1).min(last)].into());
    low + (high - low) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_between_rows() {
        let sorted = [0.0f32, 10.0, 40.0];
        for (percent, expected) in [(0.0, 0.0), (25.0, 5.0), (50.0, 10.0), (75.0, 25.0), (100.0, 40.0), (120.0, 40.0)] {
            assert_eq!(percentile_of_sorted(&sorted, percent), expected, "{percent}");
        }
        assert_eq!(percentile_of_sorted(&[7.0f32], 33.0), 7.0);
        assert!(percentile_of_sorted::<f32>(&[], 50.0).is_nan());
    }
}
