//! Thresholds per predicted class: Mondrian conformal prediction (Vovk et al. 2005).
//!
//! With one threshold for all rows, alpha bounds the false alarms of all in-distribution rows together, but a hard class can take
//! most of them. Judged among the calibration rows of the same predicted class, the bound holds within each class.
//! A class with too few rows is judged among all rows; for it the bound holds only together with the others.

use serde::{Deserialize, Serialize};

use super::conformal::check_share;
use super::{ConformalScores, Verdict};
use crate::error::{Error, Result, RowError};

/// Calibration scores of all rows and of each predicted class that has enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MondrianScores {
    /// Scores of all rows, for classes without their own.
    all: ConformalScores,
    /// By class; none where the class had too few rows.
    classes: Vec<Option<ConformalScores>>,
}

impl MondrianScores {
    /// Groups `scores [N]` by `predicted [N]`, the class that the network gave to each calibration row (not its label, which a new
    /// row does not have). A class gets scores of its own from [`minimum_rows`] of `alpha` rows on.
    ///
    /// # Errors
    /// [`Error::Data`] for unequal lengths, a class outside `0..classes`, no rows or a score that is not finite; [`Error::Config`] for
    /// an alpha outside (0, 1).
    pub fn try_new(scores: &[f32], predicted: &[usize], classes: usize, alpha: f64) -> Result<Self> {
        check_share(alpha)?;
        if scores.len() != predicted.len() {
            let message = format!("{} scores but {} predicted classes", scores.len(), predicted.len());
            return Err(Error::data("calibration scores", message));
        }
        let mut of_class = vec![Vec::new(); classes];
        for (row, (&score, &class)) in scores.iter().zip(predicted).enumerate() {
            let Some(of_class) = of_class.get_mut(class) else {
                let message = format!("row {row} has the predicted class {class}, but there are {classes} classes");
                return Err(Error::data("calibration scores", message));
            };
            of_class.push(score);
        }
        let all = ConformalScores::try_new(scores.to_vec())?;
        let enough = minimum_rows(alpha);
        let own = |scores: Vec<f32>| (scores.len() >= enough).then(|| ConformalScores::try_new(scores)).transpose();
        Ok(Self { all, classes: of_class.into_iter().map(own).collect::<Result<_>>()? })
    }

    /// The scores of all rows.
    pub fn all(&self) -> &ConformalScores {
        &self.all
    }

    /// The scores that judge a row of this predicted class: the class's own, or those of all rows.
    pub fn of_class(&self, class: usize) -> &ConformalScores {
        self.classes.get(class).and_then(Option::as_ref).unwrap_or(&self.all)
    }

    /// The classes that have no scores of their own and are judged among all rows.
    pub fn fallback_classes(&self) -> Vec<usize> {
        let missing = self.classes.iter().enumerate().filter(|(_, scores)| scores.is_none());
        missing.map(|(class, _)| class).collect()
    }

    /// P-value and flag of a row of this predicted class.
    ///
    /// # Errors
    /// As [`ConformalScores::p_value`].
    pub fn verdict(&self, class: usize, score: f32, alpha: f64) -> Result<Verdict, RowError> {
        self.of_class(class).verdict(score, alpha)
    }
}

/// The fewest rows for which a class gets scores of its own: `5 / alpha`, which is 100 at alpha 0.05.
///
/// About 1 / alpha rows can flag anything at all, but then one row decides the threshold. Given n calibration rows the share of
/// false alarms follows Beta(k, n + 1 - k) with k = floor(alpha (n + 1)), whose relative spread is about 1 / sqrt(k): 45 % at k = 5.
pub fn minimum_rows(alpha: f64) -> usize {
    (5.0 / alpha).ceil() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Class 0 scores around 0, class 1 around -10, class 2 has three rows.
    fn three_classes() -> (Vec<f32>, Vec<usize>) {
        let rows = (0..403).map(|row| match row {
            0..200 => (row as f32 / 200.0, 0),
            200..400 => (-10.0 + (row - 200) as f32 / 200.0, 1),
            _ => (5.0, 2),
        });
        rows.unzip()
    }

    #[test]
    fn each_class_is_judged_by_its_own_rows() {
        let (scores, predicted) = three_classes();
        let scores = MondrianScores::try_new(&scores, &predicted, 3, 0.05).unwrap();
        // -0.5 is far below class 0 and above most of class 1, so that one threshold for all would accept it.
        assert!(scores.verdict(0, -0.5, 0.05).unwrap().is_ood);
        assert!(!scores.verdict(1, -0.5, 0.05).unwrap().is_ood);
        assert!(!scores.all().verdict(-0.5, 0.05).unwrap().is_ood);
        assert_eq!(scores.fallback_classes(), [2]);
        assert_eq!(scores.of_class(2), scores.all());
        assert_eq!(scores.of_class(99), scores.all());
        let json = serde_json::to_string(&scores).unwrap();
        assert_eq!(serde_json::from_str::<MondrianScores>(&json).unwrap(), scores);
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(MondrianScores::try_new(&[1.0], &[0, 1], 2, 0.05).is_err());
        let message = MondrianScores::try_new(&[1.0, 1.0], &[0, 2], 2, 0.05).unwrap_err().to_string();
        assert!(message.contains("row 1 has the predicted class 2"), "{message}");
        assert!(MondrianScores::try_new(&[1.0], &[0], 1, 0.0).is_err());
        assert!(MondrianScores::try_new(&[], &[], 1, 0.05).is_err());
    }

    proptest! {
        #[test]
        fn minimum_rows_can_flag(alpha in 0.001f64..0.99) {
            let rows = ConformalScores::try_new(vec![0.0; minimum_rows(alpha)]).unwrap();
            prop_assert!(rows.check_alpha(alpha).is_ok());
        }
    }
}
