//! Rows that somebody has looked at, and what must be left out with them.

use super::union_ranks::Union;

/// What is known of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    /// A reader says that it is of none of the model's classes.
    Unknown,
    /// It is one of the examples of unknown rows from elsewhere, which count already.
    Example,
    /// A reader says that it is of one of the model's classes.
    Known,
}

/// Which rows stay under test where some were reviewed.
///
/// Readers look at the strangest rows first. Without these the rest looks less strange than the calibration rows, so of
/// the calibration rows the equally strange ones are left out as well; what stays is exchangeable again. All audited
/// rows beyond the same score are left out, also the few there that nobody marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub calibration: Vec<bool>,
    pub audited: Vec<bool>,
}

impl Kept {
    /// From the score by which the rows were shown to the reader, and the positions of the reviewed rows. The reviewed
    /// part ends where fewer than half of the rows before are reviewed; single reviewed rows beyond are left out alone.
    pub fn of(scores: &Union, reviewed: &[usize]) -> Self {
        let mut sorted = scores.audited.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let mut marked: Vec<f32> = reviewed.iter().map(|row| scores.audited[*row]).collect();
        marked.sort_unstable_by(f32::total_cmp);
        let rows_until = |score: f32| sorted.partition_point(|known| known.total_cmp(&score).is_le());
        let end = marked.iter().enumerate().rev().find(|(before, score)| 2 * (before + 1) > rows_until(**score));
        let beyond = |score: &f32| end.is_none_or(|(_, end)| score.total_cmp(end).is_gt());
        let mut audited: Vec<bool> = scores.audited.iter().map(beyond).collect();
        reviewed.iter().for_each(|row| audited[*row] = false);
        Self { calibration: scores.calibration.iter().map(beyond).collect(), audited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reviewed_part_is_left_out_of_both() {
        let scores = Union { calibration: vec![1.5, 3.5, 9.0], audited: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0] };
        // 1, 3 and 4 are three of the first four; 8 is one of four that would be left out with it.
        let kept = Kept::of(&scores, &[0, 2, 3, 7]);
        assert_eq!(kept.audited, [false, false, false, false, true, true, true, false]);
        assert_eq!(kept.calibration, [false, false, true]);
        let alone = Kept::of(&scores, &[6]);
        assert_eq!(alone.audited.iter().filter(|kept| !**kept).count(), 1);
        assert_eq!(alone.calibration, [true; 3]);
        assert_eq!(Kept::of(&scores, &[]), Kept { calibration: vec![true; 3], audited: vec![true; 8] });
    }
}
