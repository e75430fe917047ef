//! Prediction sets: the classes that a row may have, so that its true one is missing with a chance of at most alpha.
//!
//! LAC, the least ambiguous sets with a bound on errors (Sadinle, Lei, Wasserman 2019), class-conditional: a class is
//! in the set of a row exactly where its conformal p-value is above alpha,
//! `(1 + #{calibration rows of this true class whose calibrated probability of it is at most the row's}) / (n + 1) > alpha`.
//! Of the rows of each class at most a share of alpha then lacks it, not only of all rows together. Classes with too
//! few rows are judged together, among the rows of all of them: for these the bound holds in sum. (Ding et al. 2023
//! cluster such classes, which needs more rows than they have here.)
//!
//! A set may be empty: where no class has its usual probability, none is plausible at this alpha.

use serde::{Deserialize, Serialize};

use super::ConformalScores;
use super::conformal::{check_share, rows_to_flag};
use crate::error::{Error, Result};
use crate::metrics::{Interval, share_interval};

/// Rows from which a class is judged among its own. Given n of them, the share of rows that lack the class follows
/// Beta(k, n + 1 - k) with k = floor(alpha (n + 1)): at alpha 0.1 and 100 rows from 4 to 16 %, nineteen times of
/// twenty.
const CLASS_ROWS: usize = 100;
/// Confidence level of the interval of the coverage.
const LEVEL: f64 = 0.95;

/// Calibrated probabilities that calibration rows have of their true class, class by class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionSets {
    /// By true class; none where the class has too few rows.
    classes: Vec<Option<ConformalScores>>,
    /// Of the rows of all classes without their own; none where every class has its own.
    others: Option<ConformalScores>,
    /// How well sets do on rows that had no say; none where half of the rows are too few for sets at the alpha.
    pub held_out: Option<SetFigures>,
}

/// Sets of one half of the calibration rows, from the probabilities of the other half.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetFigures {
    /// Share of rows whose true class may be missing.
    pub alpha: f64,
    /// Share of rows whose set has their true class.
    pub coverage: f64,
    /// Where the coverage of all such rows lies: Clopper-Pearson, at a level of 0.95.
    pub interval: Interval,
    /// Coverage of the class whose rows lack their class most often.
    pub worst_class: f64,
    /// Mean number of classes in a set.
    pub mean_size: f64,
}

/// From which calibrated probability on each class is in a set, at one alpha.
#[derive(Debug, Clone, PartialEq)]
pub struct SetThresholds {
    alpha: f64,
    /// By class the largest probability that is still too small; none where any is enough.
    below: Vec<Option<f32>>,
}

impl PredictionSets {
    /// From `probabilities [N, C]`, the calibrated ones of the calibration rows, and `labels [N]`, their true classes.
    /// What sets at `alpha` are worth is measured on the second of two halves of the rows, judged by the first.
    ///
    /// # Errors
    /// [`Error::Data`] for no rows, a label outside the classes or a probability that is not finite.
    pub(super) fn fit(
        probabilities: &[f32],
        labels: &[usize],
        classes: usize,
        halves: &[Vec<usize>; 2],
        alpha: f64,
    ) -> Result<Self> {
        let of_label: Vec<f32> =
            probabilities.chunks_exact(classes).zip(labels).map(|(row, label)| row[*label]).collect();
        let held_out = SetFigures::of((probabilities, classes), labels, halves, alpha)?;
        Ok(Self { held_out, ..Self::try_new(&of_label, labels, classes, CLASS_ROWS)? })
    }

    /// From `probabilities [N]`, those that the rows have of their true classes; a class is judged among its own rows
    /// from `minimum` of them on.
    fn try_new(probabilities: &[f32], labels: &[usize], classes: usize, minimum: usize) -> Result<Self> {
        let fail = |message: String| Err(Error::data("probabilities of labels", message));
        if probabilities.len() != labels.len() {
            return fail(format!("{} probabilities but {} labels", probabilities.len(), labels.len()));
        }
        let mut of_class = vec![Vec::new(); classes];
        for (row, (&probability, &label)) in probabilities.iter().zip(labels).enumerate() {
            match of_class.get_mut(label) {
                Some(of_class) => of_class.push(probability),
                None => return fail(format!("row {row} has the label {label}, but there are {classes} classes")),
            }
        }
        let mut by_rows: Vec<usize> = (0..classes).collect();
        by_rows.sort_by_key(|&class| of_class[class].len());
        let (mut others, mut own) = (Vec::new(), vec![None; classes]);
        let mut are_open = false;
        for class in by_rows {
            let probabilities = std::mem::take(&mut of_class[class]);
            // Where the others together are too few, the smallest of the classes with enough rows join them.
            are_open = probabilities.len() < minimum || are_open && others.len() < minimum;
            match are_open {
                true => others.extend(probabilities),
                false => own[class] = Some(ConformalScores::try_new(probabilities)?),
            }
        }
        let others = own.iter().any(Option::is_none).then(|| ConformalScores::try_new(others)).transpose()?;
        Ok(Self { classes: own, others, held_out: None })
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Calibration rows among which this class is judged, at least 1.
    pub fn rows(&self, class: usize) -> usize {
        self.of_class(class).rows()
    }

    fn of_class(&self, class: usize) -> &ConformalScores {
        let own = self.classes.get(class).and_then(Option::as_ref);
        own.or(self.others.as_ref()).expect("a class without its own rows is among the others")
    }

    /// What decides about the classes of a set at `alpha`, the share of rows whose true class may be missing.
    ///
    /// # Errors
    /// [`Error::Config`] for an alpha outside (0, 1), and where so few rows of a class cannot leave it out of any set;
    /// the message says how many are needed.
    pub fn at(&self, alpha: f64) -> Result<SetThresholds> {
        check_share(alpha)?;
        let fewest = (0..self.classes()).min_by_key(|&class| self.rows(class));
        if let Some(class) = fewest.filter(|&class| self.of_class(class).smallest_p_value() > alpha) {
            let scores = self.of_class(class);
            let (rows, needed, smallest) = (scores.rows(), rows_to_flag(alpha), scores.smallest_p_value());
            return Err(Error::Config(format!(
                "prediction sets at alpha {alpha} need {needed} calibration rows of each class, and class {class} is judged by \
                 {rows}: calibrate on more rows, or give an alpha of at least {smallest:.4}"
            )));
        }
        let below = (0..self.classes()).map(|class| self.of_class(class).threshold(alpha)).collect();
        Ok(SetThresholds { alpha, below })
    }

    /// Checks what a file may hold.
    ///
    /// # Errors
    /// [`Error::Config`] where a class has no rows to be judged by.
    pub(super) fn validate(&self) -> Result<()> {
        match self.others.is_none() && self.classes.iter().any(Option::is_none) {
            false => Ok(()),
            true => Err(Error::Config("a class has no rows to make prediction sets from".into())),
        }
    }
}

impl SetThresholds {
    /// Share of rows whose true class may be missing.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The set of a row with these calibrated `probabilities [C]`: classes in ascending order.
    pub fn set<'a>(&'a self, probabilities: &'a [f32]) -> impl Iterator<Item = usize> + 'a {
        let classes = probabilities.iter().enumerate().take(self.below.len());
        classes.filter(|(class, probability)| self.has(*class, **probability)).map(|(class, _)| class)
    }

    /// Whether a class is in the set of a row with this calibrated `probability` of it. A class that is none is in no
    /// set.
    pub fn has(&self, class: usize, probability: f32) -> bool {
        self.below.get(class).is_some_and(|below| below.is_none_or(|below| probability > below))
    }
}

impl SetFigures {
    /// `probabilities [N, C]` row-major, with C.
    fn of(
        (probabilities, classes): (&[f32], usize),
        labels: &[usize],
        [first, second]: &[Vec<usize>; 2],
        alpha: f64,
    ) -> Result<Option<Self>> {
        let of_row = |row: usize| &probabilities[row * classes..(row + 1) * classes];
        let of_label: Vec<f32> = first.iter().map(|&row| of_row(row)[labels[row]]).collect();
        let their_labels: Vec<usize> = first.iter().map(|&row| labels[row]).collect();
        // Half of the rows, so half of the minimum: nearly the same classes are judged among their own.
        let sets = PredictionSets::try_new(&of_label, &their_labels, classes, CLASS_ROWS.div_ceil(2))?;
        let Ok(thresholds) = sets.at(alpha) else { return Ok(None) };
        let (mut covered, mut of_class, mut size) = (0, vec![(0u64, 0u64); classes], 0);
        for &row in second {
            let set: Vec<usize> = thresholds.set(of_row(row)).collect();
            let has_label = u64::from(set.contains(&labels[row]));
            let (rows, with_label) = &mut of_class[labels[row]];
            (*rows, *with_label) = (*rows + 1, *with_label + has_label);
            covered += has_label;
            size += set.len();
        }
        let rows = second.len();
        let shares = of_class.iter().filter(|(rows, _)| *rows > 0).map(|(rows, with)| *with as f64 / *rows as f64);
        Ok(Some(Self {
            alpha,
            coverage: covered as f64 / rows as f64,
            interval: share_interval(covered, rows as u64, LEVEL)?,
            worst_class: shares.fold(1.0, f64::min),
            mean_size: size as f64 / rows as f64,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Rows of three classes with the shares 0.6, 0.37, 0.03: probabilities `[N, 3]` and labels. Class 1 is mistaken
    /// for class 0 half of the time.
    fn rows(count: usize, seed: u64) -> (Vec<f32>, Vec<usize>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut probabilities, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let label = match rng.random_range(0..100) {
                0..60 => 0,
                60..97 => 1,
                _ => 2,
            };
            let own: f32 = if label == 1 { rng.random() } else { 0.5 + 0.5 * rng.random::<f32>() };
            let rest = 1.0 - own;
            let mut row = [rest / 2.0; 3];
            (row[usize::from(label == 0)], row[2 - label / 2], row[label]) = (rest, 0.0, own);
            probabilities.extend(row);
            labels.push(label);
        }
        (probabilities, labels)
    }

    fn of_rows(probabilities: &[f32], labels: &[usize], classes: usize) -> Result<PredictionSets> {
        PredictionSets::try_new(probabilities, labels, classes, CLASS_ROWS)
    }

    fn of_labels(probabilities: &[f32], labels: &[usize]) -> Vec<f32> {
        probabilities.chunks_exact(3).zip(labels).map(|(row, label)| row[*label]).collect()
    }

    #[test]
    fn every_class_is_covered_and_not_only_their_sum() {
        let (probabilities, labels) = rows(6000, 1);
        let sets = of_rows(&of_labels(&probabilities, &labels), &labels, 3).unwrap();
        assert!(sets.rows(1) > 2000 && (100..400).contains(&sets.rows(2)), "each class has its own rows");
        let thresholds = sets.at(0.1).unwrap();
        let (probabilities, labels) = rows(20_000, 2);
        let mut shares = [(0.0, 0.0); 3];
        for (row, &label) in probabilities.chunks_exact(3).zip(&labels) {
            shares[label].0 += 1.0;
            shares[label].1 += f64::from(thresholds.set(row).any(|class| class == label));
        }
        for (class, (rows, covered)) in shares.into_iter().enumerate() {
            let coverage: f64 = covered / rows;
            // Three deviations of the share and of the threshold.
            let slack = 3.0 * (0.09 / rows + 0.09 / sets.rows(class) as f64).sqrt();
            assert!((coverage - 0.9).abs() < slack, "class {class}: {coverage}");
        }
    }

    #[test]
    fn rare_classes_are_judged_together() {
        let labels: Vec<usize> = (0..250).map(|row| usize::from(row >= 150) * (1 + row % 2)).collect();
        let probabilities: Vec<f32> = (0..250).map(|row| row as f32 / 250.0).collect();
        let sets = of_rows(&probabilities, &labels, 4).unwrap();
        // Fifty rows of each of two classes, none of the last.
        assert_eq!([0, 1, 2, 3].map(|class| sets.rows(class)), [150, 100, 100, 100]);
        let few = of_rows(&probabilities[..160], &labels[..160], 3).unwrap();
        assert_eq!([0, 1, 2].map(|class| few.rows(class)), [160; 3], "ten rows are too few even together");
        let json = serde_json::to_string(&sets).unwrap();
        assert_eq!(serde_json::from_str::<PredictionSets>(&json).unwrap(), sets);
    }

    #[test]
    fn a_class_is_in_the_set_where_its_p_value_is_above_alpha() {
        // 99 rows: p-values are hundredths.
        let probabilities: Vec<f32> = (1..100).map(|row| row as f32 / 100.0).collect();
        let thresholds = of_rows(&probabilities, &[0; 99], 2).unwrap().at(0.1).unwrap();
        let set = |row: [f32; 2]| thresholds.set(&row).collect::<Vec<_>>();
        // With 0.10 there are ten rows at most as probable, so that the p-value is 0.11; below there are nine.
        assert_eq!(set([0.10, 0.0999]), [0]);
        assert_eq!(set([0.5, 0.5]), [0, 1]);
        assert_eq!(set([0.0, 0.05]), [0; 0]);
    }

    #[test]
    fn what_cannot_be_bounded_is_refused_with_a_number() {
        let sets = of_rows(&[0.5; 120], &[0; 120], 2).unwrap();
        assert!(sets.at(0.01).is_ok());
        let message = sets.at(0.005).unwrap_err().to_string();
        assert!(message.contains("need 199 calibration rows") && message.contains("at least 0.0083"), "{message}");
        for alpha in [0.0, 1.0, f64::NAN] {
            assert!(sets.at(alpha).unwrap_err().to_string().contains("between 0 and 1"));
        }
        assert!(of_rows(&[0.5], &[2], 2).is_err());
        assert!(of_rows(&[0.5], &[0, 1], 2).is_err());
        assert!(of_rows(&[], &[], 2).is_err());
    }

    #[test]
    fn figures_are_of_rows_that_had_no_say() {
        let (probabilities, labels) = rows(4000, 3);
        let halves = [(0..2000).collect(), (2000..4000).collect()];
        let figures = SetFigures::of((&probabilities, 3), &labels, &halves, 0.1).unwrap().unwrap();
        assert!(figures.interval.lower <= 0.9 && figures.interval.upper >= 0.88, "{figures:?}");
        assert!(figures.worst_class <= figures.coverage && (1.0..2.0).contains(&figures.mean_size), "{figures:?}");
        assert_eq!(SetFigures::of((&probabilities, 3), &labels, &halves, 0.0001).unwrap(), None);
    }
}
