//! How much the rows of each class count in the training objective.

use std::fmt;
use std::str::FromStr;

use dismax::error::{Error, Result};
use serde::{Deserialize, Serialize};

use super::names::by_name;

/// How much a row counts, by its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// Every row counts the same, so that common classes count more than rare ones.
    #[default]
    Equal,
    /// Every class counts the same: a row counts `rows / (classes * rows of its class)`, which is 1 on average.
    Balanced,
}

impl ClassWeights {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Equal, Self::Balanced];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Balanced => "balanced",
        }
    }

    /// The weight of each class, from its rows. None where all are 1; a class without rows gets 0.
    pub(super) fn of(self, rows: &[usize]) -> Option<Vec<f32>> {
        if self == Self::Equal {
            return None;
        }
        let all: usize = rows.iter().sum();
        let classes = rows.iter().filter(|&&rows| rows > 0).count();
        let weight = |&rows: &usize| if rows == 0 { 0.0 } else { (all as f64 / (classes * rows) as f64) as f32 };
        Some(rows.iter().map(weight).collect())
    }
}

impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ClassWeights {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        by_name(&Self::ALL, Self::name, "class weights", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_classes_count_the_same_and_rows_count_1_on_average() {
        let rows = [90, 0, 10, 20];
        let weights = ClassWeights::Balanced.of(&rows).expect("weights");
        let total = |class: usize| weights[class] * rows[class] as f32;
        assert!([0, 2, 3].into_iter().all(|class| (total(class) - 40.0).abs() < 1e-4), "{weights:?}");
        assert_eq!((weights[1], ClassWeights::Equal.of(&rows)), (0.0, None));
        assert!(
            (weights.iter().zip(rows).map(|(weight, rows)| weight * rows as f32).sum::<f32>() - 120.0).abs() < 1e-3
        );
    }
}
