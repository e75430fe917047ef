//! How well a property predicts the label, and which class goes with which range of it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::checks::proportions::more_than_elsewhere;
use dismax::error::{Error, Result};

/// Seed of the halves: the same rows give the same figures.
const SEED: u64 = 0;
/// Rows that a class has in a range at least to be said to go with it.
const MIN_HITS: u64 = 10;

/// Rows by range and class, in two random halves.
pub(super) struct Counts {
    /// `[half][range][class]`.
    halves: [Vec<Vec<u64>>; 2],
    classes: usize,
}

/// How often the commonest class of a range is right, beside the commonest class of all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judgement {
    pub rows: u64,
    /// Rows that the range's commonest class is right about.
    pub right: u64,
    /// Rows that the commonest class of all is right about.
    pub majority: u64,
    /// Chance of at least so many rows in favour of the range where it says nothing: an exact sign test of the rows
    /// about which the two disagree and one is right (McNemar 1947), one-sided.
    pub p_value: f64,
}

/// A class in a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    pub range: usize,
    pub class: usize,
    /// Rows of the range.
    pub rows: u64,
    /// Those of the class among them.
    pub hits: u64,
    /// Share of the class in all other ranges.
    pub elsewhere: f64,
    /// One-sided.
    pub p_value: f64,
}

impl Counts {
    /// Of rows' ranges and classes.
    pub fn of(rows: impl Iterator<Item = (usize, u32)>, ranges: usize, classes: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut halves = [vec![vec![0; classes]; ranges], vec![vec![0; classes]; ranges]];
        for (range, class) in rows {
            halves[usize::from(rng.random::<bool>())][range][class as usize] += 1;
        }
        Self { halves, classes }
    }

    /// Judges each half by what is commonest in the other, so that nothing is judged by itself.
    ///
    /// # Errors
    /// None that can happen with counts.
    pub fn judgement(&self) -> Result<Judgement> {
        let (mut rows, mut right, mut majority, mut better, mut worse) = (0, 0, 0, 0, 0);
        for (learnt, judged) in [(0, 1), (1, 0)].map(|(a, b)| (&self.halves[a], &self.halves[b])) {
            let all = commonest(&self.totals(learnt)).unwrap_or(0);
            for (learnt, judged) in learnt.iter().zip(judged) {
                let own = commonest(learnt).unwrap_or(all);
                rows += judged.iter().sum::<u64>();
                right += judged[own];
                majority += judged[all];
                if own != all {
                    better += judged[own];
                    worse += judged[all];
                }
            }
        }
        Ok(Judgement { rows, right, majority, p_value: sign_test(better, worse)? })
    }

    /// Every class in every range.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        let both = self.halves[0].iter().zip(&self.halves[1]);
        let counts: Vec<Vec<u64>> =
            both.map(|(one, other)| one.iter().zip(other).map(|(a, b)| a + b).collect()).collect();
        let totals = self.totals(&counts);
        let all: u64 = totals.iter().sum();
        let mut cells = Vec::new();
        for (range, counts) in counts.iter().enumerate() {
            let rows: u64 = counts.iter().sum();
            if rows == 0 || rows == all {
                continue;
            }
            for (class, (&hits, total)) in counts.iter().zip(&totals).enumerate() {
                let (others, of) = (total - hits, all - rows);
                let p_value = match hits {
                    // They count among the tests and say nothing.
                    hits if hits < MIN_HITS => 1.0,
                    _ => more_than_elsewhere(hits, rows, others, of)?,
                };
                cells.push(Cell { range, class, rows, hits, elsewhere: others as f64 / of as f64, p_value });
            }
        }
        Ok(cells)
    }

    fn totals(&self, counts: &[Vec<u64>]) -> Vec<u64> {
        (0..self.classes).map(|class| counts.iter().map(|range| range[class]).sum()).collect()
    }
}

/// The commonest class, the first of equals; none where there are no rows.
fn commonest(counts: &[u64]) -> Option<usize> {
    let most = counts.iter().max().filter(|most| **most > 0)?;
    counts.iter().position(|count| count == most)
}

/// Chance of at least `better` among `better + worse` where both are as likely.
fn sign_test(better: u64, worse: u64) -> Result<f64> {
    let Some(below) = better.checked_sub(1) else { return Ok(1.0) };
    let binomial =
        Binomial::new(0.5, better + worse).map_err(|error| Error::Internal(format!("sign test: {error}")))?;
    Ok(binomial.sf(below).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_test_by_hand() {
        // (1 + 5) / 32 and 1 / 8.
        assert!((sign_test(4, 1).expect("a p-value") - 6.0 / 32.0).abs() < 1e-12);
        assert!((sign_test(3, 0).expect("a p-value") - 0.125).abs() < 1e-12);
        assert_eq!(sign_test(0, 9).expect("a p-value"), 1.0);
    }

    #[test]
    fn a_range_that_says_the_class_is_found_and_one_that_says_nothing_is_not() {
        // 400 rows, two classes: the range is the class but for every tenth row.
        let telling = (0..400u32).map(|row| ((row % 2) as usize ^ usize::from(row % 10 == 0), row % 2));
        let judgement = Counts::of(telling, 2, 2).judgement().expect("counts");
        assert_eq!((judgement.rows, judgement.right), (400, 360));
        assert!(judgement.majority < 230 && judgement.p_value < 1e-12, "{judgement:?}");
        let blind = (0..400u32).map(|row| ((row / 2 % 2) as usize, row % 2));
        let judgement = Counts::of(blind, 2, 2).judgement().expect("counts");
        assert!(judgement.p_value > 0.05, "{judgement:?}");
    }

    #[test]
    fn chance_is_taken_for_something_no_more_often_than_asked() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut low = 0;
        for _ in 0..400 {
            let rows: Vec<(usize, u32)> = (0..300).map(|_| (rng.random_range(0..5), rng.random_range(0..3))).collect();
            low += u32::from(Counts::of(rows.into_iter(), 5, 3).judgement().expect("counts").p_value <= 0.05);
        }
        // 20 expected at most; more than 36 has a chance of 1 in 5,000.
        assert!(low <= 36, "{low} of 400");
    }

    #[test]
    fn cells_by_hand() {
        let rows = (0..200u32).map(|row| (usize::from(row >= 150), u32::from(row >= 160)));
        let cells = Counts::of(rows, 2, 2).cells().expect("counts");
        let cell = cells.iter().find(|cell| cell.range == 1 && cell.class == 1).expect("the cell");
        assert_eq!((cell.rows, cell.hits, cell.elsewhere), (50, 40, 0.0));
        assert!(cell.p_value < 1e-20 && cells.len() == 4, "{cell:?}");
    }
}
