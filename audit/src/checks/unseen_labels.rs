//! Labels that the model or the reference does not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::rows::labels;
use crate::collect::Collected;
use crate::evidence::{Description, Evidence, quoted};
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::need::Need;
use crate::sections::words::{are, number};
use crate::sections::{MAX_ROWS, Material};
use crate::text::{count, counted};
use crate::view::{Cell, Section, Table, Tone};
use dismax::error::Result;

/// Most labels that are kept: the commonest.
const MOST: usize = 200;

/// Labels that are new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnseenLabelFigures {
    /// Rows whose label is no class of the model. They count as unlabelled everywhere else.
    pub not_of_model: u64,
    /// Rows whose label is a class that no row of the reference has; none without a reference that has labels.
    pub not_in_reference: Option<u64>,
    /// These labels, commonest first, at most 200.
    pub labels: Vec<UnseenLabel>,
    /// Number of different ones.
    pub different: u64,
}

/// A label that is new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnseenLabel {
    /// The label as it stands, or the name of its class.
    pub label: String,
    /// Rows with this label.
    pub rows: u64,
    /// Whether it is a class: then the reference has no row of it.
    pub is_class: bool,
}

/// The check.
pub(super) struct UnseenLabels;

const ABOUT: About = About {
    id: "unseen-labels",
    title: "Unseen labels",
    question: "Which labels does the model, or the reference, not know?",
    how: "Labels are compared with the model's classes by name, or by number where they are numbers, and with the \
          labels of the reference where it has some.",
    needs: &[Need::KnownLabels],
    kinds: &[Kind::UnseenLabel],
};

impl Check for UnseenLabels {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let foreign = &inputs.collected.foreign_labels;
        let seen = inputs.reference.and_then(|reference| classes_of(reference, inputs.classes.len()));
        if foreign.rows().len() == 0 && labels(inputs.collected).next().is_none() {
            return Ok(());
        }
        found.looked_for.extend(ABOUT.kinds);
        if foreign.rows().len() == 0 && seen.is_none() {
            return Ok(());
        }
        let mut of_model: BTreeMap<&str, u64> = BTreeMap::new();
        foreign.rows().for_each(|(_, label)| *of_model.entry(label).or_default() += 1);
        let is_new = |class: u32| seen.as_ref().is_some_and(|seen| seen.get(class as usize) == Some(&false));
        let mut of_reference: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, _, class) in labels(inputs.collected).filter(|(_, _, class)| is_new(*class)) {
            *of_reference.entry(class).or_default() += 1;
        }
        let finding = |row: u32, rows: u64, severity: Severity| Finding {
            row,
            kind: Kind::UnseenLabel,
            severity,
            score: rows as f64,
            related: None,
        };
        found.findings.extend(foreign.rows().map(|(row, label)| finding(row, of_model[label], Severity::High)));
        found.findings.extend(labels(inputs.collected).filter_map(|(row, _, class)| {
            let rows = of_reference.get(&class)?;
            Some(finding(row, *rows, Severity::Medium))
        }));
        let name = |class: u32| inputs.classes.get(class as usize).cloned().unwrap_or_default();
        let unseen = |label: String, rows: u64, is_class: bool| UnseenLabel { label, rows, is_class };
        let mut labels: Vec<UnseenLabel> = of_model
            .iter()
            .map(|(label, rows)| unseen((*label).to_owned(), *rows, false))
            .chain(of_reference.iter().map(|(class, rows)| unseen(name(*class), *rows, true)))
            .collect();
        labels.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.label.cmp(&b.label)));
        let different = labels.len() as u64;
        labels.truncate(MOST);
        let figures = UnseenLabelFigures {
            not_of_model: foreign.rows().len() as u64,
            not_in_reference: seen.is_some().then(|| of_reference.values().sum()),
            labels,
            different,
        };
        found.warnings.extend(warning(&figures));
        found.figures.insert(figures);
        Ok(())
    }

    fn describe(&self, finding: &Finding, evidence: &Evidence<'_>) -> Description {
        let label = evidence.label(finding.row).expect("only labels can be unseen");
        let rows = are_labelled(finding.score as u64);
        let why = match evidence.row(finding).label {
            Some(_) => "which no row of the reference is",
            None => "which is no class of the model",
        };
        Description {
            caption: label.to_owned().into(),
            sentence: format!("Labelled {}, {why}; {rows} so.", quoted(label)),
        }
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<UnseenLabelFigures>() else { return Ok(None) };
        let of_model = material
            .calibration
            .map(|_| format!("{} labelled with what is no class of the model", are(figures.not_of_model, "row")));
        let of_reference = figures
            .not_in_reference
            .map(|rows| format!("{} labelled with a class that the reference has no row of", are(rows, "row")));
        let summary: Vec<String> = match figures.different {
            0 => vec!["Every label is known".to_owned()],
            _ => of_model.into_iter().chain(of_reference).collect(),
        };
        let tone = match (figures.not_of_model, figures.not_in_reference.unwrap_or(0)) {
            (0, 0) => Tone::Good,
            (0, _) => Tone::Warn,
            _ => Tone::Bad,
        };
        let mut section = ABOUT.section(tone, format!("{}.", summary.join("; ")));
        section.count = Some(material.of(Kind::UnseenLabel));
        if !figures.labels.is_empty() {
            section.tables.push(table(figures));
        }
        material.show(&mut section, ABOUT.kinds)?;
        Ok(Some(section))
    }
}

/// Which classes rows are labelled with; none where no row has a label.
fn classes_of(collected: &Collected, classes: usize) -> Option<Vec<bool>> {
    let mut seen = vec![false; classes];
    for (_, _, class) in labels(collected) {
        if let Some(seen) = seen.get_mut(class as usize) {
            *seen = true;
        }
    }
    seen.contains(&true).then_some(seen)
}

fn warning(figures: &UnseenLabelFigures) -> Option<String> {
    let most = figures.labels.iter().find(|label| !label.is_class)?;
    Some(format!(
        "{} with a label that is no class of the model, so counted as unlabelled; the commonest such label is {} ({}).",
        counted(figures.not_of_model, "row"),
        quoted(&most.label),
        count(most.rows)
    ))
}

/// `1 row is labelled`, `3 rows are labelled`.
fn are_labelled(rows: u64) -> String {
    format!("{} labelled", are(rows, "row"))
}

fn table(figures: &UnseenLabelFigures) -> Table {
    let mut table = Table::new("Labels", &[("Label", false), ("Rows", true), ("Not known to", false)]);
    table.rows.extend(figures.labels.iter().take(MAX_ROWS).map(|label| {
        let stranger = if label.is_class { "the reference" } else { "the model" };
        vec![Cell::text(&label.label), number(label.rows), Cell::text(stranger)]
    }));
    table
}
