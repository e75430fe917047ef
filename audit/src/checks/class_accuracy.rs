//! Accuracy class by class, and which classes are taken for which.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::labels::JointCell;
use super::proportions::more_than_elsewhere;
use super::rows::predictions;
use crate::need::Need;
use crate::sections::words::{interval, number};
use crate::sections::{MAX_ROWS, Material};
use crate::text::{count, p_value, percent, shown};
use crate::view::{Cell, HeatCell, Heatmap, Section, Table, Tone};
use dismax::calibration::{Estimate, benjamini_hochberg};
use dismax::error::Result;
use dismax::metrics::share_interval;

/// Confidence level of intervals.
const LEVEL: f64 = 0.95;
/// Most classes of a heat map; of more, those with the most errors are shown.
const MAX_CLASSES: usize = 20;

/// How often the model is right, by class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassAccuracyFigures {
    /// Rows with a label and a prediction, unknown images among them.
    pub rows: u64,
    /// Share of them whose predicted class is the label, with its exact 95 % interval.
    pub accuracy: Estimate,
    /// Mean recall of the classes that rows are labelled with: all classes weigh the same.
    pub balanced_accuracy: f64,
    /// Classes that rows are labelled with or predicted as, in the model's order.
    pub classes: Vec<ClassAccuracy>,
    /// Rows by label and predicted class, without zeros.
    pub confusion: Vec<JointCell>,
}

/// How often the model is right about a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassAccuracy {
    /// Name of the class.
    pub class: String,
    /// Rows labelled so.
    pub labelled: u64,
    /// Rows predicted so.
    pub predicted: u64,
    /// Rows that are both.
    pub correct: u64,
    /// Share of the rows labelled so that are predicted so, with its exact 95 % interval; none without such rows.
    pub recall: Option<Estimate>,
    /// Share of the rows predicted so that are labelled so, with its exact 95 % interval; none without such rows.
    pub precision: Option<Estimate>,
    /// Chance of so many errors among the rows labelled so where the class is like the others: one-sided, two
    /// proportions or Fisher's exact test.
    pub p_value: f64,
    /// Whether Benjamini-Hochberg over all classes calls the class harder than the others.
    pub significant: bool,
}

/// The check.
pub(super) struct ClassAccuracies;

const ABOUT: About = About {
    id: "class-accuracy",
    title: "Accuracy by class",
    question: "Which classes is the model wrong about, and for what does it take them?",
    how: "Labels against predicted classes, right or wrong labels alike. Recall is the share of a label's rows that \
          are predicted so, precision the share of a prediction's rows that are labelled so; intervals are exact \
          (Clopper and Pearson 1934, 95 %). Each label's errors against those of all others: two proportions, or \
          Fisher's exact test where rows are few; all together under Benjamini and Hochberg.",
    needs: &[Need::Model, Need::Labels],
    kinds: &[],
};

impl Check for ClassAccuracies {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let pairs =
            predictions(inputs.collected).filter_map(|(_, row, prediction)| Some((row.label?, prediction.class)));
        if let Some(figures) = figures(pairs, inputs.classes, inputs.fdr)? {
            found.figures.insert(figures);
        }
        Ok(())
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<ClassAccuracyFigures>() else { return Ok(None) };
        let hard: Vec<&ClassAccuracy> = figures.classes.iter().filter(|class| class.significant).collect();
        let worst = hard.iter().min_by(|a, b| recall(a).total_cmp(&recall(b)));
        let summary = format!(
            "The model is right on {} of {} labelled rows ({}), and on {} where all classes weigh the same.{}",
            percent(figures.accuracy.value),
            count(figures.rows),
            interval(&figures.accuracy),
            percent(figures.balanced_accuracy),
            worst.map_or_else(String::new, |worst| format!(
                " It is clearly worse at {} of {} classes than at the others, most at {} ({}).",
                count(hard.len() as u64),
                count(figures.classes.len() as u64),
                shown(&worst.class),
                percent(recall(worst))
            ))
        );
        let mut section = ABOUT.section(Tone::Plain, summary);
        section.heatmap = Some(heatmap(figures));
        section.tables.push(table(figures));
        Ok(Some(section))
    }
}

fn recall(class: &ClassAccuracy) -> f64 {
    class.recall.map_or(1.0, |recall| recall.value)
}

/// `pairs` are labels and predicted classes. None where there is none.
fn figures(
    pairs: impl Iterator<Item = (u32, u32)>,
    classes: &[String],
    fdr: f64,
) -> Result<Option<ClassAccuracyFigures>> {
    let mut cells: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    pairs.for_each(|pair| *cells.entry(pair).or_default() += 1);
    let rows: u64 = cells.values().sum();
    if rows == 0 {
        return Ok(None);
    }
    let (mut labelled, mut predicted) = (vec![0u64; classes.len()], vec![0u64; classes.len()]);
    for ((label, class), rows) in &cells {
        labelled[*label as usize] += rows;
        predicted[*class as usize] += rows;
    }
    let correct = |class: usize| cells.get(&(class as u32, class as u32)).copied().unwrap_or(0);
    let right: u64 = (0..classes.len()).map(correct).sum();
    let share = |hits: u64, rows: u64| -> Result<Option<Estimate>> {
        match rows {
            0 => Ok(None),
            _ => Ok(Some(Estimate { value: hits as f64 / rows as f64, interval: share_interval(hits, rows, LEVEL)? })),
        }
    };
    let mut of_classes = Vec::new();
    for (number, class) in classes.iter().enumerate() {
        let (labelled, predicted, correct) = (labelled[number], predicted[number], correct(number));
        if labelled + predicted == 0 {
            continue;
        }
        let (wrong, elsewhere) = (labelled - correct, rows - labelled);
        let p_value = match labelled.min(elsewhere) {
            0 => 1.0,
            _ => more_than_elsewhere(wrong, labelled, rows - right - wrong, elsewhere)?,
        };
        let (recall, precision) = (share(correct, labelled)?, share(correct, predicted)?);
        let class = class.clone();
        of_classes.push(ClassAccuracy {
            class,
            labelled,
            predicted,
            correct,
            recall,
            precision,
            p_value,
            significant: false,
        });
    }
    let most = benjamini_hochberg(of_classes.iter().map(|class| class.p_value), fdr)?;
    for class in &mut of_classes {
        class.significant = most.is_some_and(|most| class.p_value <= most);
    }
    let recalls: Vec<f64> = of_classes.iter().filter_map(|class| Some(class.recall?.value)).collect();
    let name = |class: u32| classes[class as usize].clone();
    Ok(Some(ClassAccuracyFigures {
        rows,
        accuracy: Estimate { value: right as f64 / rows as f64, interval: share_interval(right, rows, LEVEL)? },
        balanced_accuracy: recalls.iter().sum::<f64>() / recalls.len().max(1) as f64,
        classes: of_classes,
        confusion: cells
            .into_iter()
            .map(|((label, class), rows)| JointCell { label: name(label), class: name(class), rows: rows as f64 })
            .collect(),
    }))
}

fn table(figures: &ClassAccuracyFigures) -> Table {
    let columns = [
        ("Class", false),
        ("Labelled", true),
        ("Recall", true),
        ("95 % interval", false),
        ("Predicted", true),
        ("Precision", true),
        ("95 % interval of it", false),
        ("p-value", true),
        ("Verdict", false),
    ];
    let mut table = Table::new("Classes", &columns);
    let mut classes: Vec<&ClassAccuracy> = figures.classes.iter().collect();
    // Of very many classes, those matter that are clearly worse.
    if classes.len() > MAX_ROWS {
        classes.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
    }
    let share = |share: &Option<Estimate>| match share {
        Some(share) => [Cell::bar(percent(share.value), share.value, share.value), Cell::text(&interval(share))],
        None => [Cell::text("none"), Cell::text("")],
    };
    table.rows.extend(classes.into_iter().take(MAX_ROWS).map(|class| {
        let ([recall, recall_interval], [precision, precision_interval]) =
            (share(&class.recall), share(&class.precision));
        vec![
            Cell::text(&class.class),
            number(class.labelled),
            recall,
            recall_interval,
            number(class.predicted),
            precision,
            precision_interval,
            Cell::number(p_value(class.p_value), class.p_value),
            Cell::text(if class.significant { "clearly worse" } else { "" }),
        ]
    }));
    table
}

fn heatmap(figures: &ClassAccuracyFigures) -> Heatmap {
    let wrong = |class: &str| -> f64 {
        let touches = |cell: &&JointCell| (cell.label == class) != (cell.class == class);
        figures.confusion.iter().filter(touches).map(|cell| cell.rows).sum()
    };
    let classes = &figures.classes;
    let mut shown_classes: Vec<&String> = classes.iter().map(|class| &class.class).collect();
    if classes.len() > MAX_CLASSES {
        let mut by_errors: Vec<(&String, f64)> = shown_classes.iter().map(|class| (*class, wrong(class))).collect();
        by_errors.sort_by(|a, b| b.1.total_cmp(&a.1));
        let kept: std::collections::HashSet<&String> =
            by_errors.into_iter().take(MAX_CLASSES).map(|(class, _)| class).collect();
        shown_classes.retain(|class| kept.contains(class));
    }
    let counts: std::collections::HashMap<(&str, &str), f64> =
        figures.confusion.iter().map(|cell| ((cell.label.as_str(), cell.class.as_str()), cell.rows)).collect();
    let cells = shown_classes.iter().map(|label| {
        let total: f64 = figures.confusion.iter().filter(|cell| cell.label == **label).map(|cell| cell.rows).sum();
        let cell = |class: &&String| {
            let rows = counts.get(&(label.as_str(), class.as_str())).copied().unwrap_or(0.0);
            let share = if total > 0.0 { rows / total } else { 0.0 };
            HeatCell {
                text: count(rows as u64),
                heat: share,
                tip: format!(
                    "{} of the rows labelled {} are predicted as {}",
                    percent(share),
                    shown(label),
                    shown(class)
                ),
            }
        };
        shown_classes.iter().map(cell).collect()
    });
    let names = || shown_classes.iter().map(|class| shown(class)).collect();
    Heatmap {
        title: match shown_classes.len() < classes.len() {
            true => format!(
                "Labels and predictions ({} of {} classes: those with the most differences)",
                shown_classes.len(),
                classes.len()
            ),
            false => "Labels and predictions".into(),
        },
        row_title: "label".into(),
        column_title: "predicted".into(),
        cells: cells.collect(),
        rows: names(),
        columns: names(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_and_precision_by_hand() {
        let classes = ["cat", "dog", "fox", "owl"].map(String::from);
        // 100 cats, of which 10 are taken for dogs; 50 dogs, all right; 20 foxes, of which 15 are taken for dogs.
        let pairs = [((0, 0), 90), ((0, 1), 10), ((1, 1), 50), ((2, 2), 5), ((2, 1), 15)];
        let rows = pairs.into_iter().flat_map(|(pair, rows)| std::iter::repeat_n(pair, rows));
        let figures = figures(rows, &classes, 0.05).expect("shares").expect("rows");
        assert_eq!((figures.rows, figures.accuracy.value), (170, 145.0 / 170.0));
        assert!((figures.balanced_accuracy - (0.9 + 1.0 + 0.25) / 3.0).abs() < 1e-12);
        assert_eq!(figures.classes.len(), 3, "nothing is an owl");
        let dog = &figures.classes[1];
        assert_eq!((dog.labelled, dog.predicted, dog.correct), (50, 75, 50));
        let precision = dog.precision.expect("dogs");
        // R: binom.test(50, 75) gives 0.5483 to 0.7714.
        assert!((precision.interval.lower - 0.5483).abs() < 1e-3 && (precision.interval.upper - 0.7714).abs() < 1e-3);
        let significant: Vec<bool> = figures.classes.iter().map(|class| class.significant).collect();
        assert_eq!(significant, [false, false, true]);
        let map = heatmap(&figures);
        assert_eq!((map.rows.len(), map.cells[2][1].text.as_str(), map.cells[2][1].heat), (3, "15", 0.75));
    }

    #[test]
    fn one_class_is_no_worse_than_others() {
        let classes = ["cat".to_owned()];
        let found = figures([(0, 0); 9].into_iter(), &classes, 0.05).expect("shares").expect("rows");
        assert_eq!((found.classes[0].p_value, found.classes[0].significant), (1.0, false));
        assert_eq!(figures([].into_iter(), &classes, 0.05).expect("nothing"), None);
    }
}
