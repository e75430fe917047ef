//! Thresholds per predicted class: Mondrian conformal prediction (Vovk et al. 2005).
//!
//! With one threshold for all rows, alpha bounds the false alarms of all in-distribution rows together, but a hard
//! class can take most of them. Judged among the calibration rows of the same predicted class, the bound holds within
//! each class. Classes with too few rows are judged together, among the rows of all of them: for these the bound holds
//! in sum. Judged among all rows instead, hard rare classes could take the whole of alpha that the other classes
//! already use up.

use serde::{Deserialize, Serialize};

use super::{ConformalScores, Verdict};
use crate::error::{Error, Result, RowError};

/// Calibration scores of each predicted class that has enough, and of the other classes together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MondrianScores {
    /// Scores of all rows.
    all: ConformalScores,
    /// By class; none where the class had too few rows.
    classes: Vec<Option<ConformalScores>>,
    /// Scores of the rows of all classes without their own; none where there is no such row.
    others: Option<ConformalScores>,
}

impl MondrianScores {
    /// Groups `scores [N]` by `predicted [N]`, the class that the network gave to each calibration row (not its label,
    /// which a new row does not have). A class gets scores of its own from `minimum` rows on (`minimum_rows` is
    /// usual). Where the others together have fewer rows than that, the smallest of the classes with enough join them.
    ///
    /// # Errors
    /// [`Error::Data`] for unequal lengths, a class outside `0..classes`, no rows or a score that is not finite.
    pub fn try_new(scores: &[f32], predicted: &[usize], classes: usize, minimum: usize) -> Result<Self> {
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
        let mut by_rows: Vec<usize> = (0..classes).collect();
        by_rows.sort_by_key(|&class| of_class[class].len());
        let (mut others, mut own) = (Vec::new(), vec![None; classes]);
        for class in by_rows {
            let scores = std::mem::take(&mut of_class[class]);
            if scores.len() < minimum || (1..minimum).contains(&others.len()) {
                others.extend(scores);
            } else {
                own[class] = Some(ConformalScores::try_new(scores)?);
            }
        }
        let others = (!others.is_empty()).then(|| ConformalScores::try_new(others)).transpose()?;
        Ok(Self { all, classes: own, others })
    }

    /// The scores of all rows.
    pub fn all(&self) -> &ConformalScores {
        &self.all
    }

    /// The scores that judge a row of this predicted class: the class's own, or those of the classes without their own.
    /// Where no calibration row was given such a class, those of all rows.
    pub fn of_class(&self, class: usize) -> &ConformalScores {
        let own = self.classes.get(class).and_then(Option::as_ref);
        own.or(self.others.as_ref()).unwrap_or(&self.all)
    }

    /// The classes that have no scores of their own and are judged together.
    pub fn fallback_classes(&self) -> Vec<usize> {
        let missing = self.classes.iter().enumerate().filter(|(_, scores)| scores.is_none());
        missing.map(|(class, _)| class).collect()
    }

    /// Checks that rows of every predicted class can be flagged at `alpha`, which may be another than the scores were
    /// grouped for.
    ///
    /// # Errors
    /// As [`ConformalScores::check_alpha`].
    pub fn check_alpha(&self, alpha: f64) -> Result<()> {
        self.all.check_alpha(alpha)?;
        for class in 0..self.classes.len() {
            self.of_class(class).check_alpha(alpha).map_err(|error| {
                Error::Config(format!("predicted class {class}: {error}; or calibrate again with this alpha"))
            })?;
        }
        Ok(())
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
/// About 1 / alpha rows can flag anything at all, but then one row decides the threshold. Given n calibration rows the
/// share of false alarms follows Beta(k, n + 1 - k) with k = floor(alpha (n + 1)), whose relative spread is about 1 /
/// sqrt(k): 45 % at k = 5.
pub fn minimum_rows(alpha: f64) -> usize {
    (5.0 / alpha).ceil() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

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
        let scores = MondrianScores::try_new(&scores, &predicted, 3, 1).unwrap();
        assert_eq!(scores.of_class(2).rows(), 3);
        assert_eq!(scores.of_class(99), scores.all(), "no class is without its own");
        let (values, predicted) = three_classes();
        let scores = MondrianScores::try_new(&values, &predicted, 3, minimum_rows(0.05)).unwrap();
        // The three rows of class 2 are too few even together, so the smallest class with enough joins them.
        assert_eq!(scores.fallback_classes(), [0, 2]);
        assert_eq!((scores.of_class(0).rows(), scores.of_class(2).rows(), scores.of_class(1).rows()), (203, 203, 200));
        // -0.5 is far below class 0 and above most of class 1, so that one threshold for all would accept it.
        assert!(scores.verdict(0, -0.5, 0.05).unwrap().is_ood);
        assert!(!scores.verdict(1, -0.5, 0.05).unwrap().is_ood);
        assert!(!scores.all().verdict(-0.5, 0.05).unwrap().is_ood);
        assert!(scores.check_alpha(0.005).is_ok());
        let message = scores.check_alpha(0.00491).unwrap_err().to_string();
        assert!(message.contains("predicted class 1: 200 calibration rows"), "{message}");
        let json = serde_json::to_string(&scores).unwrap();
        assert_eq!(serde_json::from_str::<MondrianScores>(&json).unwrap(), scores);
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(MondrianScores::try_new(&[1.0], &[0, 1], 2, 100).is_err());
        let message = MondrianScores::try_new(&[1.0, 1.0], &[0, 2], 2, 100).unwrap_err().to_string();
        assert!(message.contains("row 1 has the predicted class 2"), "{message}");
        assert!(MondrianScores::try_new(&[], &[], 1, 100).is_err());
    }

    /// 15 easy classes and 5 rare hard ones: alpha must bound the false alarms of all rows together, whoever takes
    /// them.
    #[test]
    fn rare_hard_classes_do_not_break_the_bound() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut draw = |rows: usize| -> (Vec<f32>, Vec<usize>) {
            (0..rows)
                .map(|_| match rng.random_range(0..100) {
                    0..95 => (rng.random::<f32>(), rng.random_range(0..15)),
                    _ => (rng.random::<f32>() - 5.0, rng.random_range(15..20)),
                })
                .unzip()
        };
        let (scores, predicted) = draw(4000);
        let thresholds = MondrianScores::try_new(&scores, &predicted, 20, minimum_rows(0.05)).unwrap();
        assert_eq!(thresholds.fallback_classes(), [15, 16, 17, 18, 19]);
        let (scores, predicted) = draw(20_000);
        let rows = scores.iter().zip(&predicted);
        let flagged = rows.filter(|&(&score, &class)| thresholds.verdict(class, score, 0.05).unwrap().is_ood).count();
        let share = flagged as f64 / 20_000.0;
        assert!((0.04..0.06).contains(&share), "{share}");
    }

    proptest! {
        #[test]
        fn minimum_rows_can_flag(alpha in 0.001f64..0.99) {
            let rows = ConformalScores::try_new(vec![0.0; minimum_rows(alpha)]).unwrap();
            prop_assert!(rows.check_alpha(alpha).is_ok());
        }
    }
}
