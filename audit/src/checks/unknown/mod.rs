//! Images that are unlike those the model was calibrated on.

mod figures;
mod section;
mod strangeness;

pub use self::figures::{Strangest, UnknownFigures};
use self::strangeness::Predicted;
pub(crate) use self::strangeness::Strangeness;
use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::rows::predictions;
use crate::collect::Collected;
use crate::evidence::{Description, Evidence, quoted};
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::known_unknown::KnownUnknown;
use crate::need::Need;
use crate::novelty::{Background, Features, detect};
use crate::sections::Material;
use crate::sections::words::{are, interval};
use crate::text::{count, counted, p_value, percent};
use crate::view::{Section, Tile, Tone};
use dismax::error::Result;

/// The check.
pub(super) struct Unknown;

const ABOUT: About = About {
    id: "unknown",
    title: "Unknown images",
    question: "Which images are unlike those that the model was calibrated on?",
    how: "Where the model keeps its training images' moments and its calibration images' features: AdaDetect (Marandon et al. 2024) in \
          closed form, a score that is learnt from the audited images, weighted by predicted class; else the model's score. Conformal \
          p-values against the calibration images become q-values by Benjamini and Hochberg (1995). The share is 1 minus Storey's \
          estimate (2002) of the share of known images at lambda 0.5. The bounds on the strangest images are post hoc bounds \
          (Blanchard, Neuvial and Roquain 2020) under the joint law of conformal p-values (Gazin, Blanchard and Roquain 2024). \
          Images that are black, white or of one tone are findings of their own: they are neither tested nor learnt from.",
    needs: &[Need::Model],
    kinds: &[Kind::Unknown],
};

impl Check for Unknown {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let calibration = inputs.model();
        let predicted = Predicted::of(inputs.collected, inputs.known_unknown);
        let features = inputs.statistics.and_then(Background::of).zip(inputs.features.as_deref_mut());
        let examples = inputs.known_unknown.and_then(|known| known.examples.as_ref());
        let known = examples.map(|examples| examples.scatter().clone());
        let rows = &predicted.rows;
        let features = features.map(|(background, audited)| Features { background, audited, rows, known });
        let judged = predicted.judged(calibration.rows, calibration.score.counts_early());
        let detection = detect(&judged, features, &predicted.marks)?;
        found.warnings.extend(inputs.known_unknown.and_then(|known| missing(known, inputs.collected)));
        if inputs.known_unknown.is_some() && detection.known == 0 {
            found.warnings.push(NOTHING_LEARNT.into());
        }
        found.looked_for.extend(ABOUT.kinds);
        let figures = UnknownFigures::of(&detection, inputs.fdr, predicted.aside);
        let strangeness = Strangeness::new(predicted, detection);
        for (row, record, prediction) in predictions(inputs.collected) {
            let q_value = strangeness.q_value(record.image).map(f64::from);
            let severity = match q_value {
                _ if strangeness.is_marked_unknown(record.image) => Severity::High,
                Some(q_value) if q_value <= figures.fdr => Severity::High,
                Some(q_value) if q_value <= figures.most().min(2.0 * figures.fdr) => Severity::Medium,
                Some(q_value) if q_value <= figures.most() => Severity::Low,
                _ => continue,
            };
            let score = -f64::from(prediction.score);
            found.findings.push(Finding { row, kind: Kind::Unknown, severity, score, related: None });
        }
        found.figures.insert(figures);
        found.figures.insert(strangeness);
        Ok(())
    }

    fn describe(&self, finding: &Finding, evidence: &Evidence<'_>) -> Description {
        let row = evidence.row(finding);
        let prediction = row.prediction.expect("only predicted rows are unknown");
        let class = evidence.class(prediction.class);
        let strangeness = evidence.figures.get::<Strangeness>();
        let why = match evidence.q_value(&row).map(f64::from) {
            _ if strangeness.is_some_and(|strangeness| strangeness.is_marked_unknown(row.image)) => {
                "Marked as unknown by a reader, or an example of unknown images".to_owned()
            }
            Some(q_value) if q_value < 1.0 => format!(
                "Of the images that are at least as strange, about {} are expected to be known after all",
                percent(q_value)
            ),
            _ => format!("A share of {} of the calibration images have as low a score", p_value(prediction.p_value)),
        };
        let sentence = format!("{why}. The nearest class is {}.", quoted(class));
        Description { caption: format!("looks like {class}").into(), sentence }
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        section::section(&ABOUT, material)
    }

    fn tiles(&self, material: &Material<'_>) -> Vec<Tile> {
        let tile = |figures: &UnknownFigures| {
            let found = material.of(Kind::Unknown);
            let tone = if found > 0 { Tone::Warn } else { Tone::Good };
            match figures.out_of_distribution {
                _ if figures.has_drifted => {
                    let note = "many images differ from the calibration images".to_owned();
                    Some(Tile::new(ABOUT.title, counted(found, "finding"), note, Tone::Warn))
                }
                Some(share) => {
                    let note = format!("{} found, 95 %: {}", count(found), interval(&share));
                    Some(Tile::new(ABOUT.title, percent(share.value), note, tone))
                }
                None => None,
            }
        };
        material.figures().get().and_then(tile).into_iter().collect()
    }
}

/// Said where examples of unknown images did not count.
const NOTHING_LEARNT: &str = "Nothing was learnt from known unknown images: there are none, the model keeps no features of its training \
                              images, or the dataset as a whole differs from the calibration images.";

/// Says so where marks did not count.
fn missing(known: &KnownUnknown, collected: &Collected) -> Option<String> {
    let scored = collected.images().filter(|image| image.prediction.is_some());
    let missing = known.missing(scored.map(|image| image.digest));
    (missing > 0).then(|| {
        let marked = counted(known.marks(), "marked image");
        format!(
            "Of {marked} {} not among the audited images that could be scored, and did not count.",
            are(missing, "image")
        )
    })
}
