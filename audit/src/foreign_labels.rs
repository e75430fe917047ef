//! Labels that are no classes.

use std::collections::HashMap;

use super::text::clipped;

/// Most different labels that are told apart; rows with others have one together.
const MAX_LABELS: usize = 10_000;
/// Stands for all labels beyond these.
const OTHERS: &str = "(other labels)";
/// Most characters of a label that is kept.
const LONGEST: usize = 200;

/// Labels that are no classes of the model, each text once, and the rows that have them.
#[derive(Debug, Default)]
pub(super) struct ForeignLabels {
    texts: Vec<String>,
    of_text: HashMap<String, u32>,
    /// Rows in ascending order with the position of their text.
    rows: Vec<(u32, u32)>,
}

impl ForeignLabels {
    /// Appends a row, which comes after all rows before.
    pub fn push(&mut self, row: u32, label: &str) {
        let label = clipped(label, LONGEST);
        let is_known = self.texts.len() < MAX_LABELS || self.of_text.contains_key(&label);
        let label = if is_known { label } else { OTHERS.to_owned() };
        let next = self.texts.len() as u32;
        let position = *self.of_text.entry(label.clone()).or_insert(next);
        if position == next {
            self.texts.push(label);
        }
        self.rows.push((row, position));
    }

    /// The label of a row; none where it has none, or one that is a class.
    pub fn of(&self, row: u32) -> Option<&str> {
        let at = self.rows.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        self.texts.get(self.rows[at].1 as usize).map(String::as_str)
    }

    /// All such rows in their order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (u32, &str)> {
        self.rows.iter().map(|(row, position)| (*row, self.texts[*position as usize].as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_kept_once_and_bounded() {
        let mut labels = ForeignLabels::default();
        for row in 0..MAX_LABELS as u32 + 5 {
            labels.push(2 * row, &row.to_string());
        }
        labels.push(90_001, "7");
        labels.push(90_002, &"x".repeat(1 << 20));
        assert_eq!((labels.of(14), labels.of(15), labels.of(90_001)), (Some("7"), None, Some("7")));
        assert_eq!((labels.of(2 * MAX_LABELS as u32), labels.of(90_002)), (Some(OTHERS), Some(OTHERS)));
        assert_eq!((labels.rows().len(), labels.texts.len()), (MAX_LABELS + 7, MAX_LABELS + 1));
    }
}
