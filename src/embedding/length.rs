//! Lengths of embeddings.

/// Sums that run side by side, so that the processor adds several numbers at once.
const LANES: usize = 16;

/// Sum of the squares of the numbers.
pub(super) fn square_length(row: &[f32]) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += value * value);
    }
    sums.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>()
}

/// Makes a row of finite numbers one of length 1: directions tell what an embedding is of, while its length varies from
/// network to network. Says whether that could be done: a row of zeros has no direction.
pub fn to_unit_length(row: &mut [f32]) -> bool {
    let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    // Divided first by the largest, so that no square leaves the range of f32.
    if !(largest > 0.0 && largest.is_finite()) {
        return false;
    }
    row.iter_mut().for_each(|value| *value /= largest);
    let length = square_length(row).sqrt();
    row.iter_mut().for_each(|value| *value /= length);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_size_get_length_1() {
        for factor in [1e-38f32, 1.0, 3e37] {
            let mut row: Vec<f32> = (0..37).map(|at| (at as f32 - 18.0) / 20.0 * factor).collect();
            assert!(to_unit_length(&mut row));
            assert!((square_length(&row) - 1.0).abs() < 1e-5, "{factor}");
        }
        assert!(!to_unit_length(&mut [0.0; 5]) && !to_unit_length(&mut [f32::INFINITY, 1.0]));
    }
}
