//! A property's values in a few ranges.

use dismax::metrics::percentile_of_sorted;

/// Ranges of a property with very many values: deciles.
const DECILES: usize = 10;
/// Most different values that have a range each.
const MAX_VALUES: usize = 20;
/// Rows that a range has at least.
const MIN_ROWS: u64 = 20;
/// Values from which the edges are taken, about; of more, evenly spaced ones in their order.
const MAX_SAMPLE: usize = 100_000;

/// Ranges of numbers that lie one after the other.
#[derive(Debug, PartialEq)]
pub(super) struct Ranges {
    /// Upper ends of all but the last, each of which belongs to the range below it.
    edges: Vec<f32>,
}

impl Ranges {
    /// Each value by itself where there are few different ones, else deciles; ranges with few rows are joined with the
    /// next. No label has a say. None where all values lie in one range.
    pub fn of(values: &[f32]) -> Option<Self> {
        let mut sample: Vec<f32> = values.iter().copied().step_by(values.len().div_ceil(MAX_SAMPLE).max(1)).collect();
        sample.sort_unstable_by(f32::total_cmp);
        let mut different = sample.clone();
        different.dedup();
        let edges = match different.len() <= MAX_VALUES {
            true => {
                different.pop();
                different
            }
            false => {
                let quantile = |k: usize| percentile_of_sorted(&sample, 100.0 * k as f64 / DECILES as f64) as f32;
                let mut edges: Vec<f32> = (1..DECILES).map(quantile).collect();
                edges.dedup();
                edges
            }
        };
        let ranges = Self { edges }.joined(values);
        (!ranges.edges.is_empty()).then_some(ranges)
    }

    /// Without ranges of few rows.
    fn joined(self, values: &[f32]) -> Self {
        let mut counts = vec![0u64; self.edges.len() + 1];
        values.iter().for_each(|value| counts[self.position(*value)] += 1);
        let (mut edges, mut rows) = (Vec::new(), 0);
        for (edge, count) in self.edges.iter().zip(&counts) {
            rows += count;
            if rows >= MIN_ROWS {
                edges.push(*edge);
                rows = 0;
            }
        }
        // The last range may be left with few rows.
        if rows + counts.last().copied().unwrap_or(0) < MIN_ROWS {
            edges.pop();
        }
        Self { edges }
    }

    /// The range of a value.
    pub fn position(&self, value: f32) -> usize {
        self.edges.partition_point(|edge| *edge < value)
    }

    /// Number of ranges, at least 2.
    pub fn len(&self) -> usize {
        self.edges.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_a_range_each_and_many_share_deciles() {
        let sizes: Vec<f32> = [[1.0; 30], [4.0; 30], [9.0; 30]].concat();
        let ranges = Ranges::of(&sizes).expect("three values");
        assert_eq!((ranges.len(), [1.0, 4.0, 9.0].map(|size| ranges.position(size))), (3, [0, 1, 2]));
        let light: Vec<f32> = (0..1000u16).map(f32::from).collect();
        let ranges = Ranges::of(&light).expect("many values");
        let mut counts = [0; DECILES];
        light.iter().for_each(|value| counts[ranges.position(*value)] += 1);
        assert_eq!(counts, [100; DECILES]);
        assert_eq!(Ranges::of(&[5.0; 100]), None);
        assert_eq!(Ranges::of(&[]), None);
    }

    #[test]
    fn ranges_of_few_rows_join_their_neighbours() {
        let mut sizes = vec![1.0; 50];
        sizes.extend([2.0, 3.0, 8.0]);
        sizes.extend([9.0; 40]);
        sizes.extend([10.0; 5]);
        let ranges = Ranges::of(&sizes).expect("values");
        assert_eq!((ranges.len(), [1.0, 2.0, 9.0, 10.0].map(|size| ranges.position(size))), (2, [0, 1, 1, 1]));
        assert_eq!(Ranges::of(&[[1.0; 19].as_slice(), &[2.0; 19]].concat()), None);
    }
}
