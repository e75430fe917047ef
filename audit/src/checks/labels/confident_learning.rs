//! Label problems by confident learning (Northcutt, Jiang, Chuang 2021, arXiv 1911.00068).
//!
//! A class's threshold is the mean probability that the network gives it among the rows labelled so. A row counts as
//! confidently of the most probable class among those whose threshold it reaches; counting rows by label and that class
//! gives the confident joint, which is scaled so that each label has its number of rows. What lies off the diagonal is
//! the estimated number of wrong labels. The suspects are chosen by "prune by class" and "prune by noise rate" both:
//! among the rows of a label those with the lowest probability of it, and among these the ones that favour the other
//! class most, as many as the joint has.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use dismax::calibration::Estimate;
use dismax::error::Result;
use dismax::metrics::share_interval;

/// Confidence level of intervals.
const LEVEL: f64 = 0.95;

/// A row with a label and the network's probabilities.
#[derive(Debug, Clone, Copy)]
pub(super) struct LabelledRow<'a> {
    /// Which row it is.
    pub row: u32,
    pub label: u32,
    pub label_probability: f32,
    /// The most probable classes, most probable first.
    pub top: &'a [(u32, f32)],
}

impl LabelledRow<'_> {
    /// Probability of the most probable class that is not the label, minus that of the label: in [-1, 1].
    fn margin(&self) -> f32 {
        let other = self.top.iter().find(|(class, _)| *class != self.label).map_or(0.0, |(_, p)| *p);
        other - self.label_probability
    }
}

/// A row whose label is probably wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Suspect {
    pub row: u32,
    /// Normalised margin.
    pub margin: f32,
}

/// What the labels of a dataset look like to the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelFigures {
    /// Rows with a label and a prediction.
    pub rows: u64,
    /// Share of them whose predicted class is the label, with its exact 95 % interval.
    pub accuracy: Estimate,
    /// Estimated number of wrong labels: what the calibrated joint has off its diagonal.
    pub estimated_wrong: f64,
    /// Rows that are found.
    pub suspects: u64,
    /// Classes that rows are labelled with, in the model's order.
    pub classes: Vec<ClassNoise>,
    /// Estimated numbers of rows by label and true class: the calibrated confident joint, without its zeros.
    pub joint: Vec<JointCell>,
}

/// How noisy the label of a class is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassNoise {
    /// Name of the class.
    pub class: String,
    /// Rows labelled so.
    pub rows: u64,
    /// The class's threshold: its mean probability among these rows.
    pub threshold: f64,
    /// Share of these rows that are confidently of another class, with its exact 95 % interval; none where no row is
    /// confidently of any.
    pub noise: Option<Estimate>,
    /// Suspects among these rows.
    pub suspects: u64,
}

/// A cell of a matrix of label and class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JointCell {
    /// Name of the label's class.
    pub label: String,
    /// Name of the other class.
    pub class: String,
    /// Rows; not whole for the calibrated joint.
    pub rows: f64,
}

/// Finds suspects, most suspicious first. `rows` are those that could be of the model's classes at all: without unknown
/// images. None where there is no row.
pub(super) fn find(rows: &[LabelledRow], classes: &[String]) -> Result<Option<(LabelFigures, Vec<Suspect>)>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let mut of_label: BTreeMap<u32, Vec<&LabelledRow>> = BTreeMap::new();
    for row in rows {
        of_label.entry(row.label).or_default().push(row);
    }
    let mean = |rows: &[&LabelledRow]| {
        rows.iter().map(|row| f64::from(row.label_probability)).sum::<f64>() / rows.len() as f64
    };
    let thresholds: BTreeMap<u32, f64> = of_label.iter().map(|(&label, rows)| (label, mean(rows))).collect();

    let name = |class: u32| classes.get(class as usize).cloned().unwrap_or_default();
    let (mut noises, mut joint) = (Vec::new(), Vec::new());
    let mut suspects = Vec::new();
    let mut estimated_wrong = 0.0;
    let mut right = 0;
    for (&label, rows) in &of_label {
        let mut counts = BTreeMap::<u32, u64>::new();
        for row in rows {
            let class = row.top.first().map_or(0, |(class, _)| *class);
            right += u64::from(class == label);
            if let Some(class) = confident_class(row, &thresholds) {
                *counts.entry(class).or_default() += 1;
            }
        }
        let confident: u64 = counts.values().sum();
        let wrong = confident - counts.get(&label).copied().unwrap_or(0);
        // Scaled to the label's rows. Where no row is confidently of any class, all count as right.
        let scale = rows.len() as f64 / confident.max(1) as f64;
        let calibrated: BTreeMap<u32, f64> = match confident {
            0 => BTreeMap::from([(label, rows.len() as f64)]),
            _ => counts.iter().map(|(&class, &count)| (class, count as f64 * scale)).collect(),
        };
        let off_diagonal: f64 = calibrated.iter().filter(|(class, _)| **class != label).map(|(_, rows)| rows).sum();
        estimated_wrong += off_diagonal;
        let found = pruned(label, rows, &calibrated, off_diagonal);
        noises.push(ClassNoise {
            class: name(label),
            rows: rows.len() as u64,
            threshold: thresholds.get(&label).copied().unwrap_or(0.0),
            noise: match confident {
                0 => None,
                _ => Some(Estimate {
                    value: wrong as f64 / confident as f64,
                    interval: share_interval(wrong, confident, LEVEL)?,
                }),
            },
            suspects: found.len() as u64,
        });
        let cell = |(class, rows)| JointCell { label: name(label), class: name(class), rows };
        joint.extend(calibrated.into_iter().map(cell));
        suspects.extend(found);
    }
    suspects.sort_by(|a: &Suspect, b| b.margin.total_cmp(&a.margin).then(a.row.cmp(&b.row)));
    let all = rows.len() as u64;
    let figures = LabelFigures {
        rows: all,
        accuracy: Estimate { value: right as f64 / all as f64, interval: share_interval(right, all, LEVEL)? },
        estimated_wrong,
        suspects: suspects.len() as u64,
        classes: noises,
        joint,
    };
    Ok(Some((figures, suspects)))
}

/// The most probable class among those whose threshold the row reaches. A class that no row is labelled with has no
/// threshold.
fn confident_class(row: &LabelledRow, thresholds: &BTreeMap<u32, f64>) -> Option<u32> {
    let reaches =
        |class: u32, p: f32| thresholds.get(&class).is_some_and(|threshold| p > 0.0 && f64::from(p) >= *threshold);
    let own = Some((row.label, row.label_probability)).into_iter();
    let candidates = row.top.iter().copied().chain(own).filter(|&(class, p)| reaches(class, p));
    // The first of equals: `top` is in descending order.
    candidates.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(class, _)| class)
}

/// The rows that both rules choose.
fn pruned(label: u32, rows: &[&LabelledRow], calibrated: &BTreeMap<u32, f64>, off_diagonal: f64) -> Vec<Suspect> {
    // Prune by class: the lowest probabilities of the label.
    let mut by_class = rows.to_vec();
    by_class.sort_by(|a, b| a.label_probability.total_cmp(&b.label_probability).then(a.row.cmp(&b.row)));
    let lowest: BTreeSet<u32> = by_class.iter().take(off_diagonal.round() as usize).map(|row| row.row).collect();
    // Prune by noise rate: for each other class the largest margins towards it.
    let mut towards: BTreeMap<u32, Vec<(f32, u32)>> = BTreeMap::new();
    for row in rows {
        let others = row.top.iter().filter(|(class, p)| *class != label && *p > row.label_probability);
        others.for_each(|&(class, p)| towards.entry(class).or_default().push((p - row.label_probability, row.row)));
    }
    let mut largest = BTreeSet::new();
    for (class, mut margins) in towards {
        let many = calibrated.get(&class).copied().unwrap_or(0.0).round() as usize;
        margins.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        largest.extend(margins.into_iter().take(many).map(|(_, row)| row));
    }
    let both = |row: &&&LabelledRow| lowest.contains(&row.row) && largest.contains(&row.row);
    rows.iter().filter(both).map(|row| Suspect { row: row.row, margin: row.margin() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(row: u32, label: u32, p: [f32; 2]) -> LabelledRow<'static> {
        let top = if p[1] > p[0] { [(1, p[1]), (0, p[0])] } else { [(0, p[0]), (1, p[1])] };
        LabelledRow { row, label, label_probability: p[label as usize], top: Vec::leak(top.to_vec()) }
    }

    fn names() -> Vec<String> {
        vec!["cat".into(), "dog".into()]
    }

    #[test]
    fn the_joint_by_hand() {
        // Labelled cat: 0.9, 0.8, 0.1 of cat: threshold 0.6. Labelled dog: 0.7, 0.9, 0.2 of dog: threshold 0.6.
        let rows = [
            row(0, 0, [0.9, 0.1]),
            row(1, 0, [0.8, 0.2]),
            row(2, 0, [0.1, 0.9]),
            row(3, 1, [0.3, 0.7]),
            row(4, 1, [0.1, 0.9]),
            row(5, 1, [0.8, 0.2]),
            // Reaches neither threshold: it counts in the mean and in the rows alone. The dogs' threshold is now
            // 0.5625.
            row(6, 1, [0.55, 0.45]),
        ];
        let (figures, suspects) = find(&rows, &names()).expect("shares").expect("rows");
        let thresholds: Vec<f64> = figures.classes.iter().map(|class| (class.threshold * 1e4).round() / 1e4).collect();
        assert_eq!(thresholds, [0.6, 0.5625]);
        let cell = |label: &str, class: &str, rows: f64| JointCell { label: label.into(), class: class.into(), rows };
        // Dogs: 2 confident of dog, 1 of cat, scaled from 3 to 4 rows.
        let expected = [
            cell("cat", "cat", 2.0),
            cell("cat", "dog", 1.0),
            cell("dog", "cat", 4.0 / 3.0),
            cell("dog", "dog", 8.0 / 3.0),
        ];
        for (got, expected) in figures.joint.iter().zip(&expected) {
            assert!(
                (got.rows - expected.rows).abs() < 1e-9 && got.label == expected.label && got.class == expected.class
            );
        }
        assert_eq!(figures.joint.len(), 4);
        assert!((figures.estimated_wrong - (1.0 + 4.0 / 3.0)).abs() < 1e-9);
        assert_eq!(suspects.iter().map(|suspect| suspect.row).collect::<Vec<_>>(), [2, 5]);
        assert!((suspects[0].margin - 0.8).abs() < 1e-6 && (suspects[1].margin - 0.6).abs() < 1e-6);
        assert_eq!((figures.accuracy.value, figures.suspects), (4.0 / 7.0, 2));
        let noise = figures.classes[0].noise.expect("confident rows");
        assert!((noise.value - 1.0 / 3.0).abs() < 1e-9 && noise.interval.lower < 0.1 && noise.interval.upper > 0.8);
    }

    /// Flipped labels are found among rows of a good network, and right ones are left alone.
    #[test]
    fn planted_flips_are_found() {
        let confidence = |row: u32| 0.75 + (row * 37 % 100) as f32 / 410.0;
        let is_flipped = |row: u32| row % 20 == 7;
        let rows: Vec<LabelledRow> = (0..1000)
            .map(|number| {
                let truth = number % 2;
                let mut p = [1.0 - confidence(number); 2];
                p[truth as usize] = confidence(number);
                row(number, if is_flipped(number) { 1 - truth } else { truth }, p)
            })
            .collect();
        let (figures, suspects) = find(&rows, &names()).expect("shares").expect("rows");
        let found = suspects.iter().filter(|suspect| is_flipped(suspect.row)).count();
        assert_eq!(found, suspects.len(), "no right label is suspected");
        assert!(found >= 35, "{found} of 50");
        assert!((figures.estimated_wrong - 50.0).abs() < 15.0, "{}", figures.estimated_wrong);
        assert!(suspects.is_sorted_by(|a, b| a.margin >= b.margin));
    }

    #[test]
    fn nothing_to_look_at() {
        assert_eq!(find(&[], &names()).expect("nothing"), None);
        let (figures, suspects) = find(&[row(0, 0, [0.0, 1.0])], &names()).expect("shares").expect("a row");
        assert!(suspects.is_empty() && figures.classes[0].noise.is_none(), "{figures:?}");
    }
}
