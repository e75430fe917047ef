//! A map of the dataset: images whose features are alike lie close together. Which lie together, and where the findings
//! are, a reader sees at once. Asked for in ultralytics/yolov5#1402; compare FiftyOne's `compute_visualization`.
//!
//! The plane is that of the first two principal components of the features as the head sees them, those of the last
//! stage at length 1, in one pass over all images; a sample of them is drawn.

mod components;
mod drawing;
mod plane;
mod sample;
mod sheet;

use self::drawing::Drawing;
use super::check::{About, Check, Found};
use super::inputs::Inputs;
use crate::findings;
use crate::need::Need;
use crate::sections::Material;
use crate::view::Section;
use dismax::error::Result;

/// The check, which finds nothing: it shows.
pub(super) struct Map;

const ABOUT: About = About {
    id: "map",
    title: "Map of the images",
    question: "Which images are alike to the model, and where among them are the findings?",
    how: "Principal components of the features that the network's head sees, at length 1, over all images. Images with \
          findings come first, of each kind as many as of the next and at most a half; the rest are drawn at random.",
    needs: &[Need::Model],
    kinds: &[],
};

/// What is shown, made while features and divisions are at hand.
struct Drawn(Section);

impl Check for Map {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    /// Shows the findings of the checks before it.
    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        let Some(features) = inputs.features.as_deref_mut() else { return Ok(()) };
        let mut findings = found.findings.clone();
        findings::sort(&mut findings);
        let mut drawing = Drawing {
            collected: inputs.collected,
            classes: inputs.classes,
            findings: &findings,
            divisions: &inputs.divisions,
            thumbnails: inputs.thumbnails,
            head_features: inputs.head_features,
        };
        let section = drawing.section(&ABOUT, |show| features.each(show))?;
        found.figures.insert(section.map(Drawn));
        Ok(())
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let drawn = material.figures().get::<Option<Drawn>>().and_then(Option::as_ref);
        Ok(drawn.map(|drawn| drawn.0.clone()))
    }
}
