//! Labels that are probably wrong.

mod confident_learning;

use self::confident_learning::LabelledRow;
pub use self::confident_learning::{ClassNoise, JointCell, LabelFigures};
use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::rows::predictions;
use crate::evidence::{Description, Evidence, quoted};
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::need::Need;
use crate::sections::words::{are, interval, number, plain};
use crate::sections::{MAX_ROWS, Material};
use crate::text::{count, counted, percent};
use crate::view::{Cell, Section, Table, Tile, Tone};
use dismax::error::Result;

/// The check.
pub(super) struct Labels;

const ABOUT: About = About {
    id: "labels",
    title: "Labels",
    question: "Which labels are probably wrong?",
    how: "Confident learning (Northcutt et al. 2021): rows that are confidently of another class than their label \
          says, as many of each pair of classes as the calibrated joint estimates. Unknown images are left out.",
    needs: &[Need::Model, Need::Labels],
    kinds: &[Kind::LabelIssue],
};

impl Check for Labels {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    /// Unknown images have no right label among the model's classes, so they are left out.
    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let unknown = found.rows_of(Kind::Unknown);
        let labelled: Vec<LabelledRow> = predictions(inputs.collected)
            .filter(|(row, _, _)| !unknown.contains(row))
            .filter_map(|(row, record, prediction)| {
                let (label_probability, top) = (record.label_probability, &prediction.top);
                Some(LabelledRow { row, label: record.label?, label_probability, top })
            })
            .collect();
        let Some((figures, suspects)) = confident_learning::find(&labelled, inputs.classes)? else { return Ok(()) };
        found.looked_for.extend(ABOUT.kinds);
        found.findings.extend(suspects.into_iter().map(|suspect| Finding {
            row: suspect.row,
            kind: Kind::LabelIssue,
            severity: match suspect.margin {
                margin if margin >= 0.9 => Severity::High,
                margin if margin >= 0.5 => Severity::Medium,
                _ => Severity::Low,
            },
            score: suspect.margin.into(),
            related: None,
        }));
        found.figures.insert(figures);
        Ok(())
    }

    fn describe(&self, finding: &Finding, evidence: &Evidence<'_>) -> Description {
        let row = evidence.row(finding);
        let prediction = row.prediction.expect("labels are compared with predictions");
        let label = evidence.label(finding.row).expect("only labels can be wrong");
        let predicted = evidence.class(prediction.class);
        let sentence = format!(
            "Labelled {}, to which the model gives {}; it gives {} to {}.",
            quoted(label),
            percent(row.label_probability.into()),
            percent(prediction.confidence.into()),
            quoted(predicted)
        );
        Description { caption: format!("{label} or {predicted}").into(), sentence }
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<LabelFigures>() else {
            let why = match material.no_labels {
                Some(why) => format!("No labels were looked at: {}", plain(why)),
                None => "No row has both a label and a prediction.".into(),
            };
            return Ok(material.calibration.map(|_| ABOUT.section(Tone::Plain, why)));
        };
        let summary = format!(
            "{} of {} suspected to be wrong; the joint estimates {} wrong ones. The model agrees with {} of the labels \
             ({}).",
            count(figures.suspects),
            are(figures.rows, "label"),
            count(figures.estimated_wrong.round() as u64),
            percent(figures.accuracy.value),
            interval(&figures.accuracy)
        );
        let mut section = ABOUT.section(if figures.suspects > 0 { Tone::Warn } else { Tone::Good }, summary);
        section.count = Some(figures.suspects);
        section.tables.push(noise(figures));
        material.show(&mut section, ABOUT.kinds)?;
        Ok(Some(section))
    }

    fn tiles(&self, material: &Material<'_>) -> Vec<Tile> {
        let tile = |figures: &LabelFigures| {
            let tone = if figures.suspects > 0 { Tone::Warn } else { Tone::Good };
            let share = percent(figures.estimated_wrong / figures.rows.max(1) as f64);
            Tile::new("Wrong labels", share, counted(figures.suspects, "suspect"), tone)
        };
        material.figures().get().map(tile).into_iter().collect()
    }
}

fn noise(figures: &LabelFigures) -> Table {
    let columns = [
        ("Label", false),
        ("Rows", true),
        ("Suspects", true),
        ("Estimated noise", true),
        ("95 % interval", false),
        ("Threshold", true),
    ];
    let mut table = Table::new("Noise by label", &columns);
    table.rows.extend(figures.classes.iter().take(MAX_ROWS).map(|class| {
        let noise = class.noise.as_ref();
        vec![
            Cell::text(&class.class),
            number(class.rows),
            number(class.suspects),
            noise.map_or_else(|| Cell::text("unknown"), |noise| Cell::number(percent(noise.value), noise.value)),
            Cell::text(&noise.map(interval).unwrap_or_default()),
            Cell::number(format!("{:.3}", class.threshold), class.threshold),
        ]
    }));
    table
}
