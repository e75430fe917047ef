//! Figures of drift.

use serde::{Deserialize, Serialize};

use crate::checks::properties::Property;
use dismax::calibration::benjamini_hochberg;
use dismax::error::Result;

/// PSI from which a difference counts as large, by the rule of thumb of credit scoring (Siddiqi 2006): 0.1 to 0.25 is
/// moderate.
pub(crate) const LARGE_PSI: f64 = 0.25;
/// PSI from which a difference counts as moderate.
pub(crate) const MODERATE_PSI: f64 = 0.1;

/// A quantity that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// In-distribution score.
    Score,
    /// Confidence of the predicted class.
    Confidence,
    /// Predicted class.
    Class,
    /// Label.
    Label,
    /// A property of the image; as JSON under the property's name.
    #[serde(untagged)]
    Property(Property),
}

impl Quantity {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let of_rows = [Self::Score, Self::Confidence, Self::Class, Self::Label];
        of_rows.into_iter().chain(Property::ALL.map(Self::Property))
    }

    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Confidence => "confidence",
            Self::Class => "class",
            Self::Label => "label",
            Self::Property(property) => property.name(),
        }
    }
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftTest {
    /// What divides the rows: none for all rows, else a column.
    pub by: Option<String>,
    /// The column's value.
    pub value: Option<String>,
    /// What is compared.
    pub quantity: Quantity,
    /// Rows compared.
    pub rows: u64,
    /// Kolmogorov-Smirnov statistic in [0, 1], or chi-square.
    pub statistic: f64,
    /// Chance of so large a statistic where nothing drifted (asymptotic).
    pub p_value: f64,
    /// Population stability index, at least 0.
    pub psi: f64,
    /// Whether Benjamini-Hochberg over all tests rejects it.
    pub significant: bool,
}

/// All comparisons with one reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftFigures {
    /// `reference`, or `calibration` where the model's own calibration rows stand in; of these only the score is known.
    pub against: String,
    /// Rows of the reference.
    pub reference_rows: u64,
    /// The comparisons: those of all rows first.
    pub tests: Vec<DriftTest>,
}

impl DriftFigures {
    /// The comparisons of all rows.
    pub(crate) fn of_all_rows(&self) -> impl Iterator<Item = &DriftTest> {
        self.tests.iter().filter(|test| test.by.is_none())
    }

    /// The largest significant difference of all rows by its PSI.
    pub(crate) fn worst(&self) -> Option<&DriftTest> {
        self.of_all_rows().filter(|test| test.significant).max_by(|a, b| a.psi.total_cmp(&b.psi))
    }

    /// Marks what is significant at this false discovery rate over all tests.
    pub(super) fn control(&mut self, fdr: f64) -> Result<()> {
        let most = benjamini_hochberg(self.tests.iter().map(|test| test.p_value), fdr)?;
        for test in &mut self.tests {
            test.significant = most.is_some_and(|most| test.p_value <= most);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tests_are_controlled_together() {
        let test = |p_value| DriftTest {
            by: None,
            value: None,
            quantity: Quantity::Score,
            rows: 10,
            statistic: 0.1,
            p_value,
            psi: 0.0,
            significant: false,
        };
        let tests = [0.04, 0.001, 0.9, 0.5].map(test).to_vec();
        let mut figures = DriftFigures { against: "reference".into(), reference_rows: 10, tests };
        figures.control(0.05).expect("p-values");
        // 0.001 <= 0.05 / 4, but 0.04 > 2 * 0.05 / 4.
        assert_eq!(figures.tests.iter().map(|test| test.significant).collect::<Vec<_>>(), [false, true, false, false]);
    }

    #[test]
    fn quantities_come_back_from_their_names() {
        for quantity in Quantity::all() {
            let json = serde_json::to_value(quantity).expect("a name");
            assert_eq!(json, quantity.name());
            assert_eq!(serde_json::from_value::<Quantity>(json).expect("a quantity"), quantity);
        }
    }
}
