//! How many in-distribution images may lie beyond calibration scores: a bound for all of them at once.
//!
//! Conformal p-values share their calibration rows, so they are not independent; but whatever the score, their joint
//! law is known: `n` calibration rows and `m` in-distribution rows stand in a random order (Gazin, Blanchard and
//! Roquain 2024, *Transductive conformal inference with adaptive scores*, which holds for scores that are learnt from
//! both alike). A bound on the number of in-distribution rows before each calibration row, all at once, bounds the
//! false ones among any rows that are picked, also after looking (Blanchard, Neuvial and Roquain 2020, *Post hoc
//! confidence bounds on false positives using reference families*). The shape of the bound is Berk and Jones's (1979);
//! its height comes from draws of that law.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Binomial, Distribution};

/// Draws of the joint law. The bound holds with the asked confidence whatever their number; more make it steadier.
const DRAWS: usize = 1999;

/// Bounds at some calibration rows, which hold together.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    calibration: u64,
    steps: Vec<Step>,
}

/// At most `most` in-distribution rows are stranger than the calibration row of this rank, counted from 1 at the
/// strangest.
#[derive(Debug, Clone, Copy)]
struct Step {
    rank: u64,
    most: u64,
}

impl Envelope {
    /// For `rows` audited rows, however many of them are in-distribution, against so many calibration rows; all bounds
    /// hold at once with a probability of at least `level`.
    pub fn new(calibration: u64, rows: u64, level: f64) -> Self {
        let ranks = ranks(calibration);
        let law = Law { calibration, rows };
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut strangest: Vec<f64> = (0..DRAWS).map(|_| law.draw(&ranks, &mut random)).collect();
        strangest.sort_unstable_by(f64::total_cmp);
        // With the true one these are DRAWS + 1 draws in a random order: it is among the first `level` of them.
        let place = (level * (DRAWS + 1) as f64).ceil() as usize;
        let height = strangest.get(place - 1).copied().unwrap_or(f64::INFINITY);
        let steps = ranks.into_iter().map(|rank| Step { rank, most: law.most(rank, height) }).collect();
        Self { calibration, steps }
    }

    /// For ascending p-values a function that says how many of the first so many rows are out-of-distribution at least.
    pub fn at_least<'a>(&'a self, sorted: &'a [f64]) -> impl Fn(u64) -> u64 + 'a {
        let beyond = self.steps.iter().map(|step| {
            let p_value = step.rank as f64 / (self.calibration as f64 + 1.0);
            // Weighted p-values are not whole multiples: rounding must not lose one.
            (sorted.partition_point(|known| *known <= p_value * (1.0 + 1e-12)) as u64, step.most)
        });
        let beyond: Vec<(u64, u64)> = beyond.collect();
        move |first| beyond.iter().map(|(rows, most)| first.min(*rows).saturating_sub(*most)).max().unwrap_or(0)
    }
}

/// Ranks at which the bound is set: all small ones, then each a fifth larger, to the middle.
fn ranks(calibration: u64) -> Vec<u64> {
    let next = |rank: &u64| Some((rank + 1).max(rank * 6 / 5));
    std::iter::successors(Some(1), next).take_while(|rank| *rank <= calibration / 2).collect()
}

/// The law of the numbers of in-distribution rows before calibration rows.
struct Law {
    calibration: u64,
    rows: u64,
}

impl Law {
    /// Draws the rows before the calibration rows of these ranks; gives the largest surprise among them.
    fn draw(&self, ranks: &[u64], random: &mut ChaCha8Rng) -> f64 {
        let (mut before, mut drawn, mut surprise) = (0, 0, 0.0f64);
        for rank in ranks {
            // The part of what is left of the in-distribution scores that lies before the next of these ranks.
            let part = Beta::new((rank - before) as f64, (self.calibration + 1 - rank) as f64)
                .expect("ranks ascend and stay within the calibration rows")
                .sample(random);
            let more = Binomial::new(self.rows - drawn, part).expect("a part is between 0 and 1");
            drawn += more.sample(random);
            before = *rank;
            surprise = surprise.max(self.surprise(*rank, drawn));
        }
        surprise
    }

    /// How surprising it is that so many rows lie before the calibration row of this rank: the exponent of the chance
    /// that a share of calibration rows is as small as theirs among both, 0 where it is as expected or larger.
    fn surprise(&self, rank: u64, rows: u64) -> f64 {
        let expected = self.calibration as f64 / (self.calibration + self.rows) as f64;
        let (both, share) = ((rows + rank) as f64, rank as f64 / (rows + rank) as f64);
        if rows == 0 || share >= expected {
            return 0.0;
        }
        both * (share * (share / expected).ln() + (1.0 - share) * ((1.0 - share) / (1.0 - expected)).ln())
    }

    /// The most rows whose surprise is at most `height`.
    fn most(&self, rank: u64, height: f64) -> u64 {
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.surprise(rank, middle) <= height { low = middle } else { high = middle - 1 }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use rand::seq::SliceRandom;

    use super::*;

    /// P-values of `known` in-distribution rows, against `calibration` rows, in a random order.
    fn p_values(calibration: u64, known: u64, random: &mut ChaCha8Rng) -> Vec<f64> {
        let mut order: Vec<bool> = (0..calibration + known).map(|row| row < calibration).collect();
        order.shuffle(random);
        let mut seen = 0;
        let mut p_values = Vec::new();
        for is_calibration in order {
            match is_calibration {
                true => seen += 1,
                false => p_values.push(f64::from(seen + 1) / (calibration + 1) as f64),
            }
        }
        p_values
    }

    #[test]
    fn all_bounds_hold_at_once() {
        for (calibration, rows) in [(50, 300), (500, 100), (1000, 3000)] {
            let envelope = Envelope::new(calibration, rows, 0.95);
            let mut random = ChaCha8Rng::seed_from_u64(7);
            let broken = (0..1000)
                .filter(|_| {
                    let p_values = p_values(calibration, rows, &mut random);
                    let at_least = envelope.at_least(&p_values);
                    // Of in-distribution rows alone every one that is promised is a broken promise.
                    (1..=rows).any(|first| at_least(first) > 0)
                })
                .count();
            // 50 are allowed, give or take 3 standard deviations of 7; far fewer would be a bound that says nothing.
            assert!((15..=71).contains(&broken), "{calibration} {rows}: {broken} of 1000");
        }
    }

    #[test]
    fn bounds_are_below_what_there_is_and_near_it() {
        let (calibration, known, strange) = (1000, 2000, 200);
        let envelope = Envelope::new(calibration, known + strange, 0.95);
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut p_values: Vec<(f64, bool)> =
            p_values(calibration, known, &mut random).into_iter().map(|p| (p, false)).collect();
        p_values.extend((0..strange).map(|_| (1.0 / (calibration + 1) as f64, true)));
        p_values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sorted: Vec<f64> = p_values.iter().map(|(p, _)| *p).collect();
        let at_least = envelope.at_least(&sorted);
        let mut found = 0;
        for (first, (_, is_strange)) in p_values.iter().enumerate() {
            found += u64::from(*is_strange);
            assert!(at_least(first as u64 + 1) <= found, "{first}");
        }
        assert!(at_least(220) >= 180, "{}", at_least(220));
        assert_eq!((at_least(0), at_least(1)), (0, 0));
    }
}
