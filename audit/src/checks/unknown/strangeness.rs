//! What was found out about each image.

use crate::collect::{Collected, Prediction};
use crate::known_unknown::KnownUnknown;
use crate::novelty::{Detection, Judged, Mark};
use crate::observer::ShortDigest;

/// Stands for an image without a prediction: no audit has so many images.
const NO_PLACE: u32 = u32::MAX;

/// Images with a prediction, in the order in which their features were written.
#[derive(Debug, Default)]
pub(super) struct Predicted {
    /// For each image its place among those with a prediction; [`NO_PLACE`] without.
    places: Vec<u32>,
    pub classes: Vec<u32>,
    pub scores: Vec<f32>,
    pub p_values: Vec<f64>,
    /// Places of reviewed images.
    pub marks: Vec<(usize, Mark)>,
}

impl Predicted {
    /// All images, with what a reader said of them.
    pub fn of(collected: &Collected, known: Option<&KnownUnknown>) -> Self {
        let mut predicted = Self::default();
        for (digest, prediction) in collected.images() {
            let place = prediction.map_or(NO_PLACE, |prediction| predicted.push(digest, prediction, known));
            predicted.places.push(place);
        }
        predicted
    }

    fn push(&mut self, digest: &ShortDigest, prediction: &Prediction, known: Option<&KnownUnknown>) -> u32 {
        let place = self.classes.len();
        self.classes.push(prediction.class);
        self.scores.push(prediction.score);
        self.p_values.push(prediction.p_value);
        self.marks.extend(known.and_then(|known| known.mark(digest)).map(|mark| (place, mark)));
        place as u32
    }

    /// What the model says of them.
    pub fn judged(&self, calibration_rows: u64, score_has_early: bool) -> Judged<'_> {
        let Self { classes, scores, p_values, .. } = self;
        Judged { classes, scores, p_values, calibration_rows, score_has_early }
    }

    /// Images that were marked so.
    pub fn marked(&self, mark: Mark) -> u64 {
        self.marks.iter().filter(|(_, given)| *given == mark).count() as u64
    }
}

/// How strange each image is.
#[derive(Debug)]
pub(crate) struct Strangeness {
    places: Vec<u32>,
    q_values: Vec<f32>,
    scores: Vec<f32>,
    /// Places of images that are marked as unknown, ascending.
    unknown: Vec<u32>,
    /// Number of images with a p-value in each twentieth of (0, 1].
    pub p_values: [u64; Strangeness::BINS],
}

impl Strangeness {
    /// Bins of the p-values' histogram.
    pub const BINS: usize = 20;

    pub(super) fn new(predicted: Predicted, detection: Detection) -> Self {
        let marked = predicted.marks.iter().filter(|(_, mark)| *mark == Mark::Unknown);
        let unknown = marked.map(|(place, _)| *place as u32).collect();
        let mut p_values = [0; Self::BINS];
        for p_value in &detection.p_values {
            let bin = (p_value * Self::BINS as f64).ceil() as usize;
            p_values[bin.clamp(1, Self::BINS) - 1] += 1;
        }
        let Detection { q_values, scores, .. } = detection;
        Self { places: predicted.places, q_values, scores, unknown, p_values }
    }

    fn place(&self, image: u32) -> Option<u32> {
        self.places.get(image as usize).copied().filter(|place| *place != NO_PLACE)
    }

    /// The smallest false discovery rate at which an image is rejected; none where it is not under test.
    pub fn q_value(&self, image: u32) -> Option<f32> {
        let q_value = self.q_values.get(self.place(image)? as usize).copied();
        q_value.filter(|q_value| !q_value.is_nan())
    }

    /// Whether a reader has marked an image as unknown.
    pub fn is_marked_unknown(&self, image: u32) -> bool {
        self.place(image).is_some_and(|place| self.unknown.binary_search(&place).is_ok())
    }

    /// A score of an image under test that is smaller the stranger it is.
    pub fn score(&self, image: u32) -> Option<f32> {
        let score = self.scores.get(self.place(image)? as usize).copied();
        score.filter(|score| *score < f32::INFINITY)
    }
}
