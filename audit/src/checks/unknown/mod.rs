//! Images that are unlike those the model was calibrated on.

mod figures;
mod section;

pub use self::figures::UnknownFigures;
use super::check::{About, Check, Found};
use super::inputs::{Inputs, Need};
use super::rows::predictions;
use crate::collect::Collected;
use crate::evidence::{Description, Evidence, quoted};
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::sections::Material;
use crate::sections::words::interval;
use crate::text::{count, p_value, percent};
use crate::view::{Section, Tile, Tone};
use dismax::error::Result;

/// The check.
pub(super) struct Unknown;

const ABOUT: About = About {
    id: "unknown",
    title: "Unknown images",
    question: "Which images are unlike those that the model was calibrated on?",
    how: "Conformal p-values of the model's score against its calibration rows, selected by Benjamini and Hochberg (1995); the \
          share is 1 minus Storey's estimate (2002) of the share of known images at lambda 0.5, with an interval that allows for the number of calibration rows.",
    needs: &[Need::Model],
    kinds: &[Kind::Unknown],
};

impl Check for Unknown {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let p_values: Vec<f64> = predictions(inputs.collected).map(|(_, _, prediction)| prediction.p_value).collect();
        let figures = figures::figures(&p_values, inputs.fdr, inputs.model().rows)?;
        found.findings.extend(figures.threshold.map(|most| findings(inputs.collected, most)).unwrap_or_default());
        found.figures.insert(figures);
        Ok(())
    }

    fn describe(&self, finding: &Finding, evidence: &Evidence<'_>) -> Description {
        let prediction = evidence.row(finding).prediction.expect("only predicted rows are unknown");
        let class = evidence.class(prediction.class);
        // The page shows the strangest images also where none counts as unknown.
        let threshold = evidence.figures.get::<UnknownFigures>().and_then(|figures| figures.threshold);
        let most = threshold
            .map(|most| format!("; up to {} images are unknown at the false discovery rate asked for", p_value(most)));
        let sentence = format!(
            "A share of {} of the calibration images look at least as strange{}. The nearest class is {}.",
            p_value(prediction.p_value),
            most.unwrap_or_default(),
            quoted(class)
        );
        Description { caption: format!("looks like {class}").into(), sentence }
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        section::section(&ABOUT, material)
    }

    fn tiles(&self, material: &Material<'_>) -> Vec<Tile> {
        let figures = material.figures().get::<UnknownFigures>();
        let share = figures.and_then(|figures| figures.out_of_distribution);
        let tile = |share| {
            let found = material.of(Kind::Unknown);
            let tone = if found > 0 { Tone::Warn } else { Tone::Good };
            let note = format!("{} found, 95 %: {}", count(found), interval(&share));
            Tile::new(ABOUT.title, percent(share.value), note, tone)
        };
        share.map(tile).into_iter().collect()
    }
}

/// Rows whose p-value is at most `most`.
fn findings(collected: &Collected, most: f64) -> Vec<Finding> {
    let severity = |p: f64| match p {
        p if p <= most / 4.0 => Severity::High,
        p if p <= most / 2.0 => Severity::Medium,
        _ => Severity::Low,
    };
    predictions(collected)
        .filter(|(_, _, prediction)| prediction.p_value <= most)
        .map(|(row, _, prediction)| Finding {
            row,
            kind: Kind::Unknown,
            severity: severity(prediction.p_value),
            score: -f64::from(prediction.score),
            related: None,
        })
        .collect()
}
