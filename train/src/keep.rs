//! Which epoch's weights become the model.

use std::fmt;
use std::str::FromStr;

use dismax::error::{Error, Result};
use dismax::model::EpochRecord;
use serde::{Deserialize, Serialize};

use super::names::by_name;

/// Which epoch's weights become the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The last one's.
    #[default]
    Last,
    /// Those of the epoch with the highest accuracy on rows that are set apart for this choice: a tenth of every class
    /// of the training rows. Rows that a choice was made by look better than others, so that they cannot calibrate as
    /// well.
    Best,
}

impl Keep {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Last, Self::Best];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Best => "best",
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Keep {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        by_name(&Self::ALL, Self::name, "epoch to keep", text)
    }
}

/// Whether the last epoch is the best so far by the rows that are set apart. Of equal ones it is the latest: its
/// learning rate is the lowest.
pub(super) fn is_best_so_far(history: &[EpochRecord]) -> bool {
    let Some((last, before)) = history.split_last() else { return false };
    last.selection_accuracy.is_some_and(|accuracy| {
        before.iter().filter_map(|record| record.selection_accuracy).all(|earlier| earlier <= accuracy)
    })
}
