//! Holding a part of the training data out, with the same share of every class.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Row numbers of the two parts, each ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Rows to train on.
    pub train: Vec<usize>,
    /// Rows held out for validation, calibration and thresholds.
    pub held_out: Vec<usize>,
}

/// Holds out `fraction` of the rows of every class (rounded; at least one row of a class with two or more stays on
/// each side), chosen by `seed` alone.
pub fn stratified_split(labels: &[u32], classes: usize, fraction: f64, seed: u64) -> Split {
    let mut rows_of = vec![Vec::new(); classes];
    for (row, &label) in labels.iter().enumerate() {
        if let Some(rows) = rows_of.get_mut(label as usize) {
            rows.push(row);
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut split = Split { train: Vec::new(), held_out: Vec::new() };
    for mut rows in rows_of {
        rows.shuffle(&mut rng);
        let most = rows.len().saturating_sub(1);
        let wanted = (rows.len() as f64 * fraction).round() as usize;
        let count = if fraction > 0.0 { wanted.max(1).min(most) } else { 0 };
        split.held_out.extend_from_slice(&rows[..count]);
        split.train.extend_from_slice(&rows[count..]);
    }
    split.train.sort_unstable();
    split.held_out.sort_unstable();
    split
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_lands_on_exactly_one_side(labels in prop::collection::vec(0u32..5, 0..300), fraction in 0.0f64..0.9) {
            let split = stratified_split(&labels, 5, fraction, 3);
            let mut all: Vec<usize> = split.train.iter().chain(&split.held_out).copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
            for class in 0..5 {
                let total = labels.iter().filter(|&&label| label == class).count();
                let held = split.held_out.iter().filter(|&&row| labels[row] == class).count();
                prop_assert!((held as f64 - total as f64 * fraction).abs() <= 1.0);
                prop_assert!(total == 0 || held < total);
            }
        }
    }

    #[test]
    fn the_seed_decides() {
        let labels: Vec<u32> = (0..1000).map(|row| row % 10).collect();
        assert_eq!(stratified_split(&labels, 10, 0.1, 5), stratified_split(&labels, 10, 0.1, 5));
        assert_ne!(stratified_split(&labels, 10, 0.1, 5), stratified_split(&labels, 10, 0.1, 6));
    }
}
