//! How many rows each class has.

use serde::{Deserialize, Serialize};

use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::rows::{labels, predictions};
use crate::sections::words::{interval, number};
use crate::sections::{MAX_ROWS, Material};
use crate::text::{count, counted, percent, shown};
use crate::view::{Cell, Section, Table, Tone};
use dismax::calibration::Estimate;
use dismax::error::Result;
use dismax::metrics::share_interval;

/// Confidence level of intervals.
const LEVEL: f64 = 0.95;
/// Share of an even share below which a class is rare: the threshold of cleanlab's check of class imbalance.
const RARE: f64 = 0.1;
/// Most names of classes in a sentence.
const MAX_NAMES: usize = 5;

/// How rows are distributed over classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassBalanceFigures {
    /// `label`, or `prediction` where no row has a label.
    pub of: String,
    /// Rows with a class.
    pub rows: u64,
    /// All classes that rows have, and all classes of the model.
    pub classes: Vec<ClassShare>,
    /// Classes without rows.
    pub empty: u64,
    /// Classes with rows, but fewer than a tenth of what each would have if all had as many.
    pub rare: u64,
    /// Rows of the commonest class divided by those of the rarest that has rows; at least 1.
    pub imbalance_ratio: f64,
    /// Shannon's entropy of the classes divided by the logarithm of their number, in [0, 1] (Pielou's evenness): 1
    /// where all classes have as many rows; none for one class.
    pub evenness: Option<f64>,
}

/// The rows of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassShare {
    /// Name of the class.
    pub class: String,
    /// Its rows.
    pub rows: u64,
    /// Their share of the rows with a class, with its exact 95 % interval.
    pub share: Estimate,
}

/// The check.
pub(super) struct ClassBalance;

const ABOUT: About = About {
    id: "class-balance",
    title: "Class balance",
    question: "How many rows does each class have?",
    how: "Labels, or predicted classes where there are no labels; shares with exact intervals (Clopper and Pearson \
          1934, 95 %). Evenness is Shannon's entropy divided by the logarithm of the number of classes (Pielou 1966). \
          A class is rare with less than a tenth of what each would have if all had as many rows.",
    needs: &[],
    kinds: &[],
};

impl Check for ClassBalance {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let mut counts = vec![0u64; inputs.classes.len()];
        labels(inputs.collected).for_each(|(_, _, label)| counts[label as usize] += 1);
        let mut of = "label";
        if counts.iter().all(|rows| *rows == 0) {
            of = "prediction";
            predictions(inputs.collected).for_each(|(_, _, prediction)| counts[prediction.class as usize] += 1);
        }
        if let Some(figures) = figures(of, &counts, inputs.classes)? {
            found.figures.insert(figures);
        }
        Ok(())
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<ClassBalanceFigures>() else { return Ok(None) };
        let by_labels = figures.of == "label";
        // That a model predicts a class never or seldom need not be a fault of the data.
        let tone = match by_labels && figures.empty + figures.rare > 0 {
            true => Tone::Warn,
            false => Tone::Plain,
        };
        let mut section = ABOUT.section(tone, summary(figures));
        section.tables.push(table(figures));
        Ok(Some(section))
    }
}

/// `counts` are the rows of each class. None for no rows.
fn figures(of: &str, counts: &[u64], classes: &[String]) -> Result<Option<ClassBalanceFigures>> {
    let rows: u64 = counts.iter().sum();
    if rows == 0 {
        return Ok(None);
    }
    let share = |count: u64| count as f64 / rows as f64;
    let even = 1.0 / counts.len() as f64;
    let present = || counts.iter().copied().filter(|count| *count > 0);
    let entropy: f64 = present().map(|count| -share(count) * share(count).ln()).sum();
    let (most, least) = (present().max().unwrap_or(1), present().min().unwrap_or(1));
    let of_class = |(class, count): (&String, &u64)| {
        let interval = share_interval(*count, rows, LEVEL)?;
        Ok(ClassShare { class: class.clone(), rows: *count, share: Estimate { value: share(*count), interval } })
    };
    Ok(Some(ClassBalanceFigures {
        of: of.to_owned(),
        rows,
        classes: classes.iter().zip(counts).map(of_class).collect::<Result<_>>()?,
        empty: counts.iter().filter(|count| **count == 0).count() as u64,
        rare: present().filter(|count| share(*count) < RARE * even).count() as u64,
        imbalance_ratio: most as f64 / least as f64,
        evenness: (counts.len() > 1).then(|| (entropy / (counts.len() as f64).ln()).clamp(0.0, 1.0)),
    }))
}

fn summary(figures: &ClassBalanceFigures) -> String {
    let what = if figures.of == "label" { "labelled rows" } else { "rows by their predicted class" };
    let mut text = format!(
        "{} {what} in {}: the commonest class has {:.1} times the rows of the rarest{}.",
        count(figures.rows),
        classes(figures.classes.len() as u64),
        figures.imbalance_ratio,
        figures.evenness.map(|evenness| format!(" (evenness {evenness:.3} of 1)")).unwrap_or_default()
    );
    let named = |is_meant: &dyn Fn(&ClassShare) -> bool| {
        let mut names: Vec<String> =
            figures.classes.iter().filter(|class| is_meant(class)).map(|class| shown(&class.class)).collect();
        let rest = names.len().saturating_sub(MAX_NAMES);
        names.truncate(MAX_NAMES);
        if rest > 0 {
            names.push(format!("{} more", count(rest as u64)));
        }
        names.join(", ")
    };
    if figures.empty > 0 {
        text.push_str(&format!(" Without rows: {}.", named(&|class| class.rows == 0)));
    }
    if figures.rare > 0 {
        let even = 1.0 / figures.classes.len() as f64;
        text.push_str(&format!(" Rare: {}.", named(&|class| class.rows > 0 && class.share.value < RARE * even)));
    }
    text
}

/// `1 class`, `3 classes`.
fn classes(number: u64) -> String {
    if number == 1 { counted(1, "class") } else { format!("{} classes", count(number)) }
}

fn table(figures: &ClassBalanceFigures) -> Table {
    let columns = [("Class", false), ("Rows", true), ("Share", true), ("95 % interval", false)];
    let mut table = Table::new("Classes", &columns);
    let mut classes: Vec<&ClassShare> = figures.classes.iter().collect();
    if classes.len() > MAX_ROWS {
        table.title = format!("The {} rarest classes", count(MAX_ROWS as u64));
        classes.sort_by_key(|class| class.rows);
    }
    let most = figures.classes.iter().map(|class| class.share.value).fold(f64::MIN_POSITIVE, f64::max);
    table.rows.extend(classes.into_iter().take(MAX_ROWS).map(|class| {
        vec![
            Cell::text(&class.class),
            number(class.rows),
            Cell::bar(percent(class.share.value), class.share.value, class.share.value / most),
            Cell::text(&interval(&class.share)),
        ]
    }));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balance_by_hand() {
        let classes = ["a", "b", "c", "d"].map(String::from);
        let of = |counts: &[u64]| figures("label", counts, &classes).expect("shares").expect("rows");
        let even = of(&[5, 5, 5, 5]);
        assert_eq!((even.imbalance_ratio, even.empty, even.rare), (1.0, 0, 0));
        assert!((even.evenness.expect("classes") - 1.0).abs() < 1e-12);
        // 1 of 100 is below a tenth of a quarter; ln 4 = 1.3863, entropy 0.5 ln 2 + 0.49 ln (100 / 49) + 0.01 ln 100.
        let uneven = of(&[50, 49, 1, 0]);
        assert_eq!((uneven.imbalance_ratio, uneven.empty, uneven.rare), (50.0, 1, 1));
        let entropy = 0.5 * 2f64.ln() + 0.49 * (100.0f64 / 49.0).ln() + 0.01 * 100f64.ln();
        assert!((uneven.evenness.expect("classes") - entropy / 4f64.ln()).abs() < 1e-12);
        let text = summary(&uneven);
        assert!(text.contains("Without rows: d.") && text.contains("Rare: c."), "{text}");
        // R: binom.test(49, 100) gives 0.3886 to 0.5920.
        let share = uneven.classes[1].share;
        assert!((share.interval.lower - 0.3886).abs() < 1e-3 && (share.interval.upper - 0.5920).abs() < 1e-3);
        assert_eq!(figures("label", &[0, 0], &classes[..2]).expect("nothing"), None);
        assert_eq!(figures("label", &[3], &classes[..1]).expect("shares").expect("rows").evenness, None);
    }
}
