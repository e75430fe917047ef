//! What was found out about each image.

use crate::collect::{Collected, Prediction};
use crate::known_unknown::KnownUnknown;
use crate::novelty::{Detection, Judged, Mark};
use crate::quality::is_blank;

/// Stands for an image that is not looked at: no audit has so many images.
const NO_PLACE: u32 = u32::MAX;

/// Images that are looked at: those with a prediction that show something, in the order in which their features were
/// written.
///
/// Blank images, which are black, white or of one tone, have been found already. They lie far out, in a direction of
/// their own, and would draw the learnt score there and away from what else is unknown. Of calibration images the model
/// does not keep whether they are blank. They are images of its classes that somebody has labelled, so hardly any is.
/// One that is counts among those that the tested images are compared with: where it is strange it makes p-values
/// larger, and where it is not, smaller by one part of the calibration images.
#[derive(Debug, Default)]
pub(super) struct Predicted {
    /// For each image its place among those that are looked at; [`NO_PLACE`] for others.
    places: Vec<u32>,
    /// The place of each of these among all images with a prediction: that of their features.
    pub rows: Vec<u32>,
    pub classes: Vec<u32>,
    pub scores: Vec<f32>,
    pub p_values: Vec<f64>,
    /// Places of reviewed images.
    pub marks: Vec<(usize, Mark)>,
    /// Images that are marked as unknown or are examples, ascending, also blank ones.
    unknown: Vec<u32>,
    /// What is not under test.
    pub aside: Aside,
}

/// Numbers of images that are not under test though they have a prediction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Aside {
    pub marked_unknown: u64,
    pub marked_known: u64,
    /// Blank images that nobody has marked.
    pub blank: u64,
}

impl Predicted {
    /// All images, with what a reader said of them.
    pub fn of(collected: &Collected, known: Option<&KnownUnknown>) -> Self {
        let mut predicted = Self::default();
        let mut row = 0;
        for (number, image) in collected.images().enumerate() {
            let mut place = NO_PLACE;
            if let Some(prediction) = image.prediction {
                let mark = known.and_then(|known| known.mark(image.digest));
                let is_blank = image.look.is_some_and(is_blank);
                predicted.count(number as u32, mark, is_blank);
                if !is_blank {
                    place = predicted.push(row, prediction, mark);
                }
                row += 1;
            }
            predicted.places.push(place);
        }
        predicted
    }

    fn count(&mut self, image: u32, mark: Option<Mark>, is_blank: bool) {
        match mark {
            Some(Mark::Unknown | Mark::Example) => {
                self.unknown.push(image);
                self.aside.marked_unknown += 1;
            }
            Some(Mark::Known) => self.aside.marked_known += 1,
            None => self.aside.blank += u64::from(is_blank),
        }
    }

    fn push(&mut self, row: u32, prediction: &Prediction, mark: Option<Mark>) -> u32 {
        let place = self.classes.len();
        self.rows.push(row);
        self.classes.push(prediction.class);
        self.scores.push(prediction.score);
        self.p_values.push(prediction.p_value);
        self.marks.extend(mark.map(|mark| (place, mark)));
        place as u32
    }

    /// What the model says of them.
    pub fn judged(&self, calibration_rows: u64, score_has_early: bool) -> Judged<'_> {
        let Self { classes, scores, p_values, .. } = self;
        Judged { classes, scores, p_values, calibration_rows, score_has_early }
    }
}

/// How strange each image is.
#[derive(Debug)]
pub(crate) struct Strangeness {
    places: Vec<u32>,
    q_values: Vec<f32>,
    scores: Vec<f32>,
    /// Images that are marked as unknown, ascending.
    unknown: Vec<u32>,
    /// Number of images with a p-value in each twentieth of (0, 1].
    pub p_values: [u64; Strangeness::BINS],
}

impl Strangeness {
    /// Bins of the p-values' histogram.
    pub const BINS: usize = 20;

    pub(super) fn new(predicted: Predicted, detection: Detection) -> Self {
        let mut p_values = [0; Self::BINS];
        for p_value in &detection.p_values {
            let bin = (p_value * Self::BINS as f64).ceil() as usize;
            p_values[bin.clamp(1, Self::BINS) - 1] += 1;
        }
        let Detection { q_values, scores, .. } = detection;
        let Predicted { places, unknown, .. } = predicted;
        Self { places, q_values, scores, unknown, p_values }
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
        self.unknown.binary_search(&image).is_ok()
    }

    /// A score of an image under test that is smaller the stranger it is.
    pub fn score(&self, image: u32) -> Option<f32> {
        let score = self.scores.get(self.place(image)? as usize).copied();
        score.filter(|score| *score < f32::INFINITY)
    }
}
