//! Labels that are probably wrong.

use super::words::{are, interval, more, number, plain};
use super::{MAX_ROWS, Material};
use crate::kind::Kind;
use crate::labels::{JointCell, LabelFigures};
use crate::text::{count, counted, percent, shown};
use crate::view::{Cell, HeatCell, Heatmap, Section, Table, Tone};
use dismax::error::Result;

/// Most classes of a heat map; of more, those with the most estimated errors are shown.
const MAX_CLASSES: usize = 20;

impl Material<'_> {
    pub(super) fn labels(&mut self) -> Result<Section> {
        let how = "Confident learning (Northcutt et al. 2021): rows that are confidently of another class than their label says, as many of \
                   each pair of classes as the calibrated joint estimates. Unknown images are left out.";
        let Some(figures) = &self.summary.labels else {
            let why = match self.no_labels {
                Some(why) => format!("No labels were looked at: {}", plain(why)),
                None => "No row has both a label and a prediction.".into(),
            };
            return Ok(Section::new("labels", "Labels", Tone::Plain, why, how));
        };
        let summary = format!(
            "{} of {} suspected to be labelled wrongly; the joint estimates {}. The model agrees with {} of the labels ({}).",
            are(figures.suspects, "row"),
            count(figures.rows),
            counted(figures.estimated_wrong.round() as u64, "wrong label"),
            percent(figures.accuracy.value),
            interval(&figures.accuracy)
        );
        let tone = if figures.suspects > 0 { Tone::Warn } else { Tone::Good };
        let mut section = Section::new("labels", "Labels", tone, summary, how);
        section.count = Some(figures.suspects);
        section.heatmap = heatmap(figures, self.evidence.classes);
        let mut table = Table::new(
            "Noise by label",
            &[
                ("Label", false),
                ("Rows", true),
                ("Suspects", true),
                ("Estimated noise", true),
                ("95 % interval", false),
                ("Threshold", true),
            ],
        );
        for class in figures.classes.iter().take(MAX_ROWS) {
            table.rows.push(vec![
                Cell::text(&class.class),
                number(class.rows),
                number(class.suspects),
                class
                    .noise
                    .map_or_else(|| Cell::text("unknown"), |noise| Cell::number(percent(noise.value), noise.value)),
                Cell::text(&class.noise.as_ref().map(interval).unwrap_or_default()),
                Cell::number(format!("{:.3}", class.threshold), class.threshold),
            ]);
        }
        section.tables.push(table);
        let (gallery, all) = self.gallery(&[Kind::LabelIssue])?;
        section.more = more(gallery.len(), all);
        section.gallery = gallery;
        Ok(section)
    }
}

fn heatmap(figures: &LabelFigures, classes: &[String]) -> Option<Heatmap> {
    let wrong = |class: &str| -> f64 {
        let touches = |cell: &&JointCell| (cell.label == class) != (cell.class == class);
        figures.confusion.iter().filter(touches).map(|cell| cell.rows).sum()
    };
    let mut shown_classes: Vec<&String> = classes.iter().collect();
    if classes.len() > MAX_CLASSES {
        let mut by_errors: Vec<(&String, f64)> = classes.iter().map(|class| (class, wrong(class))).collect();
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
    Some(Heatmap {
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
    })
}
