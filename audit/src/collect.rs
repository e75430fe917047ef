//! The one pass over the images: a compact record of each row and each different image, and thumbnails aside.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::AuditError;
use super::foreign_labels::ForeignLabels;
use super::groups::{GroupBuilder, GroupColumn, Groups};
use super::inspection::{EncodedFormat, PerceptualHash};
use super::label_classes::LabelClasses;
use super::novelty::FeatureWriter;
use super::observer::{ImageObserver, ObservedImage, ShortDigest};
use super::scan::{Scan, Seen};
use super::text::clipped;
use super::thumbnails::ThumbnailWriter;
use dismax::calibration::Calibration;
use dismax::dataset::{Chunk, Dataset, Given, InputRows, LabelColumn};
use dismax::error::{Error, Result, RowErrorCode};
use dismax::run::{Progress, Run};
use dismax::score::RowScores;

/// Probabilities that are kept of a row.
pub(super) const TOP: usize = 8;
/// Most different messages of failed rows that are kept.
const MAX_MESSAGES: usize = 10_000;

/// What stays of a row: 16 bytes.
#[derive(Debug, Clone, Copy)]
struct Record {
    /// Position of its image.
    image: u32,
    /// Class of the label; [`NO_LABEL`] without.
    label: u32,
    /// Probability of the label; 0 without.
    label_probability: f32,
    /// The format that the name's extension promises.
    promised: Option<EncodedFormat>,
}

/// Stands for no label: no model has so many classes.
const NO_LABEL: u32 = u32::MAX;

/// What stays of an image, however many rows hold it: about 160 bytes.
#[derive(Debug)]
struct ImageRecord {
    digest: ShortDigest,
    prediction: Option<Prediction>,
    look: Option<Look>,
    error: Option<RowErrorCode>,
    cut_off: bool,
}

/// What is known of a different image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<'a> {
    pub digest: &'a ShortDigest,
    /// What the network said; none where the image could not be scored.
    pub prediction: Option<&'a Prediction>,
    /// What it looks like; none where it could not be decoded.
    pub look: Option<&'a Look>,
}

/// What is known of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    /// Position of its image: equal for rows with equal images.
    pub image: u32,
    pub digest: &'a ShortDigest,
    /// What the network said; none where the image could not be scored.
    pub prediction: Option<&'a Prediction>,
    /// What the image looks like; none where it could not be decoded.
    pub look: Option<&'a Look>,
    /// Class of the label; none without.
    pub label: Option<u32>,
    /// Probability of the label; 0 without label or prediction.
    pub label_probability: f32,
    /// The format that the name's extension promises.
    pub promised: Option<EncodedFormat>,
    /// Why the row has no prediction.
    pub error: Option<RowErrorCode>,
    /// Whether the image's bytes end before the image does; looked at where it cannot be decoded.
    pub cut_off: bool,
}

/// Class, probabilities and p-value of an image.
#[derive(Debug, Clone)]
pub(super) struct Prediction {
    pub class: u32,
    pub confidence: f32,
    /// In-distribution score; higher is more in-distribution.
    pub score: f32,
    pub p_value: f64,
    /// The most probable classes, most probable first; `(0, 0.0)` fills up where there are fewer classes.
    pub top: [(u32, f32); TOP],
}

/// Measures of an image.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub width: u32,
    pub height: u32,
    pub luma_mean: f32,
    pub luma_deviation: f32,
    pub colour: f32,
    pub sharpness: f32,
    /// Bytes of the encoded image; 0 for unencoded pixels.
    pub bytes: u32,
    pub hash: PerceptualHash,
    /// The format that the bytes are in.
    pub format: Option<EncodedFormat>,
}

/// Everything that a pass leaves.
#[derive(Debug)]
pub(super) struct Collected {
    records: Vec<Record>,
    images: Vec<ImageRecord>,
    /// Positions of the images by digest, while rows come in.
    of_digest: HashMap<ShortDigest, u32>,
    /// Files in order with the position of their first row.
    files: Vec<(Arc<str>, usize)>,
    pub groups: Vec<Groups>,
    messages: Messages,
    /// Labels that are no classes of the model.
    pub foreign_labels: ForeignLabels,
}

/// Which columns a pass reads besides the images.
#[derive(Debug, Default)]
pub(super) struct PassColumns {
    pub label: Option<LabelColumn>,
    pub groups: Vec<GroupColumn>,
}

/// Where a pass puts what does not stay in memory.
pub(super) struct Aside {
    pub thumbnails: ThumbnailWriter,
    /// Features of each different image with a prediction, in order; none where nobody wants them or the network gives
    /// none.
    pub features: Option<FeatureWriter>,
}

/// What a pass works with.
pub(super) struct Pass<'a, S> {
    pub scan: &'a S,
    pub classes: LabelClasses<'a>,
    /// The model's; none without a model.
    pub calibration: Option<&'a Calibration>,
}

impl<S: Scan> Pass<'_, S> {
    /// Looks at all images of the dataset; `task` names it in progress reports.
    pub fn run(
        &mut self,
        dataset: &Dataset,
        wanted: &PassColumns,
        aside: &mut Aside,
        task: &'static str,
        run: &mut Run<'_>,
    ) -> Result<Collected> {
        let input = self.scan.input_column(dataset)?;
        let columns: Vec<usize> =
            wanted.label.iter().map(LabelColumn::index).chain(wanted.groups.iter().map(|group| group.index)).collect();
        let (scan, calibration) = (self.scan, self.calibration);
        let mut probabilities = match &self.classes {
            LabelClasses::OfModel(classes) => vec![0.0; classes.len()],
            LabelClasses::OfData(_) => Vec::new(),
        };
        let mut labelling = wanted.label.as_ref().map(|column| self.classes.labelling(column));
        let mut groups: Vec<GroupBuilder> = wanted.groups.iter().cloned().map(GroupBuilder::new).collect();
        let mut collected = Collected {
            records: Vec::new(),
            images: Vec::new(),
            of_digest: HashMap::new(),
            files: Vec::new(),
            groups: Vec::new(),
            messages: Messages::default(),
            foreign_labels: ForeignLabels::default(),
        };
        let observer = Arc::new(ImageObserver::default());
        for seen in scan.scan(dataset, &columns, run.cancel.clone(), observer)? {
            let (chunk, seen) = seen?;
            collected.begin_file(&chunk);
            let labels = match &mut labelling {
                Some(labelling) => labelling.given(&chunk)?,
                None => vec![Given::Null; chunk.record_batch.num_rows()],
            };
            for group in &mut groups {
                let name = &group.column().name;
                let array = chunk.record_batch.column_by_name(name).ok_or_else(|| missing(name, &chunk))?.clone();
                group.push(&array)?;
            }
            let inputs = input.rows(&chunk)?;
            collected.add(&seen, &inputs, labels, calibration, &mut probabilities, aside)?;
            run.report(Progress { task, rows: collected.len() as u64, of: dataset.rows(), failed: 0 })?;
        }
        if u32::try_from(collected.len()).is_err() {
            return Err(AuditError::TooManyRows.into());
        }
        collected.records.shrink_to_fit();
        collected.of_digest = HashMap::new();
        collected.groups = groups.into_iter().map(GroupBuilder::finish).collect();
        Ok(collected)
    }
}

impl Aside {
    /// Without features of one image those of the others are of no use.
    fn push_features(&mut self, features: Option<&[f32]>) -> Result<()> {
        match features.zip(self.features.as_mut()) {
            Some((features, writer)) => writer.push(features),
            None => {
                self.features = None;
                Ok(())
            }
        }
    }
}

fn missing(name: &str, chunk: &Chunk) -> Error {
    Error::data(&chunk.file, format!("a record batch has no column \"{name}\""))
}

impl Look {
    /// None where the image could not be decoded.
    fn of(seen: &ObservedImage) -> Option<Self> {
        let inspection = seen.inspection.as_ref()?;
        Some(Self {
            width: inspection.width,
            height: inspection.height,
            luma_mean: inspection.luma_mean,
            luma_deviation: inspection.luma_deviation,
            colour: inspection.colour,
            bytes: seen.bytes,
            sharpness: inspection.sharpness,
            hash: inspection.hash,
            format: seen.format,
        })
    }
}

impl Prediction {
    fn of(scores: &RowScores, p_value: f64, probabilities: &[f32]) -> Self {
        Self {
            class: scores.class as u32,
            confidence: scores.confidence,
            score: scores.score,
            p_value,
            top: most_probable(probabilities),
        }
    }
}

/// The largest probabilities with their classes, largest first.
fn most_probable(probabilities: &[f32]) -> [(u32, f32); TOP] {
    let mut top = [(0, 0.0); TOP];
    for (class, &probability) in probabilities.iter().enumerate() {
        if top.last().is_some_and(|last| probability > last.1) {
            let at = top.partition_point(|entry| entry.1 >= probability);
            if let Some(tail) = top.get_mut(at..) {
                tail.rotate_right(1);
                if let Some(first) = tail.first_mut() {
                    *first = (class as u32, probability);
                }
            }
        }
    }
    top
}

impl Collected {
    fn add(
        &mut self,
        seen: &Seen,
        inputs: &InputRows,
        labels: Vec<Given>,
        calibration: Option<&Calibration>,
        probabilities: &mut [f32],
        aside: &mut Aside,
    ) -> Result<()> {
        for (row, (label, image)) in labels.into_iter().zip(seen.observed()).enumerate() {
            let label = self.class_of(label);
            let name = inputs.name(row);
            // A prediction, nothing without a model, or why the row has none.
            let calibrated = seen.output(row).map_err(Clone::clone).and_then(|output| {
                output.zip(calibration).map(|(output, by)| by.apply(output, probabilities)).transpose()
            });
            if let Err(why) = &calibrated {
                self.messages.push(self.records.len(), &why.detail);
            }
            let has_prediction = matches!(calibrated, Ok(Some(_)));
            let of_label =
                label.filter(|_| has_prediction).and_then(|label| probabilities.get(label as usize)).copied();
            let next = self.images.len() as u32;
            // Of what cannot be read no digest may be known but that of its name, which is another file elsewhere.
            let position = match &calibrated {
                Ok(_) => *self.of_digest.entry(image.digest).or_insert(next),
                Err(_) => next,
            };
            aside.thumbnails.push(name, position, image)?;
            if position == next {
                if let (Ok(Some(_)), Ok(Some(output))) = (&calibrated, seen.output(row)) {
                    aside.push_features(output.features)?;
                }
                let error = calibrated.as_ref().err().map(|why| why.code);
                self.images.push(ImageRecord {
                    digest: image.digest,
                    prediction: calibrated
                        .ok()
                        .flatten()
                        .map(|(scores, verdict)| Prediction::of(&scores, verdict.p_value, probabilities)),
                    look: Look::of(image),
                    error,
                    cut_off: image.cut_off,
                });
            }
            self.records.push(Record {
                image: position,
                label: label.unwrap_or(NO_LABEL),
                label_probability: of_label.unwrap_or(0.0),
                promised: name.and_then(EncodedFormat::from_name),
            });
        }
        Ok(())
    }

    fn begin_file(&mut self, chunk: &Chunk) {
        // A file's rows come one after the other. Names that are no text may look alike.
        if chunk.first_row == 0 || self.files.last().is_none_or(|(file, _)| *file != chunk.file) {
            self.files.push((Arc::clone(&chunk.file), self.records.len()));
        }
    }

    /// Class of the label of the next row.
    fn class_of(&mut self, label: Given) -> Option<u32> {
        match label {
            Given::Null => None,
            Given::Class(class) => Some(class as u32),
            Given::Foreign(label) => {
                self.foreign_labels.push(self.records.len() as u32, &label);
                None
            }
        }
    }

    /// Gives each label's class another number, or takes all labels away.
    pub fn renumber(&mut self, places: Option<&[u32]>) {
        for record in self.records.iter_mut().filter(|record| record.label != NO_LABEL) {
            record.label = places.and_then(|places| places.get(record.label as usize)).copied().unwrap_or(NO_LABEL);
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// A row; none beyond the end.
    pub fn row(&self, row: usize) -> Option<Row<'_>> {
        self.records.get(row).and_then(|record| self.joined(record))
    }

    /// All rows in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> + Clone {
        // Every record has an image.
        self.records.iter().filter_map(|record| self.joined(record))
    }

    /// The different images in the order in which they first come.
    pub fn images(&self) -> impl Iterator<Item = Image<'_>> {
        self.images.iter().map(|image| Image {
            digest: &image.digest,
            prediction: image.prediction.as_ref(),
            look: image.look.as_ref(),
        })
    }

    fn joined(&self, record: &Record) -> Option<Row<'_>> {
        let image = self.images.get(record.image as usize)?;
        Some(Row {
            image: record.image,
            digest: &image.digest,
            prediction: image.prediction.as_ref(),
            look: image.look.as_ref(),
            label: Some(record.label).filter(|label| *label != NO_LABEL),
            label_probability: record.label_probability,
            promised: record.promised,
            error: image.error,
            cut_off: image.cut_off,
        })
    }

    /// File of a row and its number there.
    pub fn place(&self, row: usize) -> (&str, u64) {
        let file = self.files.partition_point(|(_, first)| *first <= row);
        match file.checked_sub(1).and_then(|file| self.files.get(file)) {
            Some((name, first)) => (name, (row - first) as u64),
            None => ("", row as u64),
        }
    }

    /// The files with the position of each one's first row.
    pub fn files(&self) -> &[(Arc<str>, usize)] {
        &self.files
    }

    /// Why a row could not be scored, in words; may be empty.
    pub fn message(&self, row: usize) -> &str {
        self.messages.of(row)
    }
}

/// Messages of failed rows, each text once.
#[derive(Debug, Default)]
struct Messages {
    texts: Vec<String>,
    of_text: HashMap<String, u32>,
    /// Rows in ascending order with the position of their text.
    rows: Vec<(u32, u32)>,
}

impl Messages {
    fn push(&mut self, row: usize, text: &str) {
        let text = clipped(text, 200);
        if text.is_empty() {
            return;
        }
        let next = self.texts.len() as u32;
        let position = match self.of_text.get(&text) {
            Some(&position) => position,
            // Where nearly every row has a message of its own, as with names of files, the first ones must do.
            None if self.texts.len() >= MAX_MESSAGES => return,
            None => {
                self.texts.push(text.clone());
                self.of_text.insert(text, next);
                next
            }
        };
        self.rows.push((row as u32, position));
    }

    fn of(&self, row: usize) -> &str {
        let at = self.rows.binary_search_by_key(&(row as u64), |(row, _)| u64::from(*row)).ok();
        let position = at.and_then(|at| self.rows.get(at)).map(|(_, position)| *position as usize);
        position.and_then(|position| self.texts.get(position)).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_probable_classes_come_first() {
        assert_eq!(most_probable(&[0.1, 0.6, 0.3])[..4], [(1, 0.6), (2, 0.3), (0, 0.1), (0, 0.0)]);
        let many: Vec<f32> = (0..20).map(|class| ((class * 7) % 20) as f32 / 190.0).collect();
        let mut sorted: Vec<(u32, f32)> = many.iter().enumerate().map(|(class, p)| (class as u32, *p)).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(most_probable(&many)[..], sorted[..TOP]);
    }

    #[test]
    fn messages_are_kept_once_and_bounded() {
        let mut messages = Messages::default();
        messages.push(3, "cut off");
        messages.push(4, "");
        messages.push(9, "cut off");
        messages.push(10, &"x".repeat(1 << 20));
        assert_eq!((messages.of(3), messages.of(9), messages.of(4), messages.of(5)), ("cut off", "cut off", "", ""));
        assert_eq!(messages.of(10).chars().count(), 200);
        for row in 20..MAX_MESSAGES + 100 {
            messages.push(row, &row.to_string());
        }
        assert_eq!(messages.texts.len(), MAX_MESSAGES);
    }

    #[test]
    fn rows_and_images_stay_small() {
        assert_eq!(size_of::<Record>(), 16);
        assert!(size_of::<ImageRecord>() <= 168, "{}", size_of::<ImageRecord>());
    }
}
