//! Holding a part of the training data out, with the same share of every class.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Holds out `fraction` of the rows of every class (rounded; of a class with two or more rows at least one stays on
/// each side), chosen by `seed` alone. Gives the held-out rows, ascending.
pub(super) fn stratified_split(labels: &[u32], classes: usize, fraction: f64, seed: u64) -> Vec<usize> {
    let mut rows_by_class = vec![Vec::new(); classes];
    for (row, &label) in labels.iter().enumerate() {
        rows_by_class[label as usize].push(row);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut held_out = Vec::new();
    for mut rows in rows_by_class {
        rows.shuffle(&mut rng);
        let most = rows.len().saturating_sub(1);
        let wanted = (rows.len() as f64 * fraction).round() as usize;
        held_out.extend_from_slice(&rows[..wanted.max(1).min(most)]);
    }
    held_out.sort_unstable();
    held_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_class_keeps_its_share(labels in prop::collection::vec(0u32..5, 0..300), fraction in 0.01f64..0.9) {
            let held_out = stratified_split(&labels, 5, fraction, 3);
            prop_assert!(held_out.windows(2).all(|pair| pair[0] < pair[1]));
            for class in 0..5 {
                let total = labels.iter().filter(|&&label| label == class).count();
                let held = held_out.iter().filter(|&&row| labels[row] == class).count();
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
