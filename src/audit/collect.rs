//! The one pass over the images: a compact record of each row, and thumbnails aside.

use std::collections::HashMap;
use std::sync::Arc;

use super::groups::{GroupBuilder, GroupColumn, Groups};
use super::text::{clipped, shown};
use super::thumbnails::ThumbnailWriter;
use crate::calibration::Calibration;
use crate::cancel::Cancel;
use crate::dataset::{self, Chunk, ClassMap, Dataset, Given, ImageColumn, Images, LabelColumn};
use crate::error::{Error, Result, RowErrorCode};
use crate::image::{EncodedFormat, PerceptualHash, is_cut_off};
use crate::model::Model;
use crate::score::RowScores;
use crate::stage::{Scored, Stage};

/// Probabilities that are kept of a row.
pub(super) const TOP: usize = 8;
/// Most different messages of failed rows that are kept.
const MOST_MESSAGES: usize = 10_000;

/// The first 128 bits of an image's SHA-256: two of a billion different images agree with a chance of 1e-21.
pub(super) type ShortDigest = [u8; 16];

/// What stays of a row: about 170 bytes.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub digest: ShortDigest,
    /// What the network said; none where the image could not be scored.
    pub prediction: Option<Prediction>,
    /// What the image looks like; none where it could not be decoded.
    pub look: Option<Look>,
    /// Class of the label; none without.
    pub label: Option<u32>,
    /// Why the row has no prediction.
    pub error: Option<RowErrorCode>,
    /// Whether the image's bytes end before the image does; looked at where it cannot be decoded.
    pub cut_off: bool,
}

/// Class, probabilities and p-value of a row.
#[derive(Debug, Clone)]
pub(super) struct Prediction {
    pub class: u32,
    pub confidence: f32,
    /// In-distribution score; higher is more in-distribution.
    pub score: f32,
    pub p_value: f64,
    /// Probability of the label; 0 without label.
    pub label_probability: f32,
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
    pub sharpness: f32,
    pub hash: PerceptualHash,
    /// The format that the bytes are in.
    pub format: Option<EncodedFormat>,
    /// The format that the name's extension promises.
    pub promised: Option<EncodedFormat>,
}

/// Everything that a pass leaves.
#[derive(Debug)]
pub(super) struct Collected {
    pub rows: Vec<Row>,
    /// Files in order with the position of their first row.
    files: Vec<(Arc<str>, usize)>,
    pub groups: Vec<Groups>,
    messages: Messages,
    /// Rows whose label is no class of the model, and the first such label with its place.
    pub foreign_labels: (u64, Option<String>),
}

/// Which columns a pass reads besides the images.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub label: Option<LabelColumn>,
    pub groups: Vec<GroupColumn>,
}

/// What a pass works with.
pub(super) struct Pass<'a> {
    pub model: &'a Model,
    pub calibration: &'a Calibration,
    pub stage: &'a Stage,
    pub cancel: &'a Cancel,
}

impl Pass<'_> {
    /// Streams the dataset through the stage. `progress` hears how many rows are done.
    pub fn run(
        &self,
        dataset: &Dataset,
        wanted: &Wanted,
        thumbnails: &mut ThumbnailWriter,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Collected> {
        let image = self.stage.image_column(dataset)?;
        let columns: Vec<usize> = [image.index()]
            .into_iter()
            .chain(wanted.label.as_ref().map(LabelColumn::index))
            .chain(wanted.groups.iter().map(|group| group.index))
            .collect();
        let map = wanted.label.as_ref().map(|column| ClassMap::new(column, self.model.classes()));
        let mut groups: Vec<GroupBuilder> = wanted.groups.iter().cloned().map(GroupBuilder::new).collect();
        let mut collected = Collected {
            rows: Vec::with_capacity(
                dataset.rows().and_then(|rows| usize::try_from(rows).ok()).unwrap_or(0).min(1 << 24),
            ),
            files: Vec::new(),
            groups: Vec::new(),
            messages: Messages::default(),
            foreign_labels: (0, None),
        };
        let mut probabilities = vec![0.0; self.model.classes().len()];
        let chunks = dataset.read(self.stage.chunk_rows(dataset), Some(&columns))?;
        for scored in self.stage.score(image.clone(), chunks) {
            self.cancel.check()?;
            let (chunk, scored) = scored?;
            collected.begin_file(&chunk);
            let labels = match &map {
                Some(map) => map.given(&chunk)?,
                None => vec![Given::Null; chunk.record_batch.num_rows()],
            };
            for group in &mut groups {
                let name = &group.column().name;
                let array = chunk.record_batch.column_by_name(name).ok_or_else(|| missing(name, &chunk))?.clone();
                group.push(&array)?;
            }
            self.add(&chunk, &scored, &image, labels, &mut probabilities, thumbnails, &mut collected)?;
            progress(collected.rows.len() as u64, dataset.rows());
        }
        self.cancel.check()?;
        if u32::try_from(collected.rows.len()).is_err() {
            return Err(Error::Config(
                "more than 4,294,967,295 rows are too many for one audit; audit parts of them".into(),
            ));
        }
        collected.rows.shrink_to_fit();
        collected.groups = groups.into_iter().map(GroupBuilder::finish).collect();
        Ok(collected)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one record batch and where they go")]
    fn add(
        &self,
        chunk: &Chunk,
        scored: &Scored,
        image: &ImageColumn,
        labels: Vec<Given>,
        probabilities: &mut [f32],
        thumbnails: &mut ThumbnailWriter,
        collected: &mut Collected,
    ) -> Result<()> {
        let images = image.values(&chunk.record_batch)?;
        for (row, label) in labels.into_iter().enumerate() {
            let label = collected.class_of(label, chunk, row);
            let inspected = scored.inspection(row);
            let name = images.name(row);
            let mut prediction = None;
            let mut error = None;
            match scored.judge(row, self.calibration, probabilities) {
                Ok((scores, verdict)) => {
                    prediction = Some(Prediction::of(&scores, verdict.p_value, probabilities, label));
                }
                Err(why) => {
                    error = Some(why.code);
                    collected.messages.push(collected.rows.len(), &why.detail);
                }
            }
            let digest = inspected.and_then(|inspected| inspected.source.file_digest);
            let digest = digest.unwrap_or_else(|| images.digest(row));
            let mut short = ShortDigest::default();
            short.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
            let cut_off = error == Some(RowErrorCode::DecodeFailed) && self.is_cut_off(&images, row, &chunk.file);
            thumbnails.push(name, inspected.map(|inspected| &inspected.image))?;
            let look = inspected.map(|inspected| Look {
                width: inspected.image.width,
                height: inspected.image.height,
                luma_mean: inspected.image.luma_mean,
                luma_deviation: inspected.image.luma_deviation,
                sharpness: inspected.image.sharpness,
                hash: inspected.image.hash,
                format: inspected.source.format,
                promised: name.and_then(EncodedFormat::of_name),
            });
            collected.rows.push(Row { digest: short, prediction, look, label, error, cut_off });
        }
        Ok(())
    }

    /// Looks at the bytes again: the decoder does not tell.
    fn is_cut_off(&self, images: &Images, row: usize, file: &str) -> bool {
        let bytes = images.get(row).and_then(|image| {
            dataset::encoded(&image, file, &self.stage.load_options()).map(|bytes| bytes.into_owned())
        });
        bytes.is_ok_and(|bytes| is_cut_off(&bytes))
    }
}

fn missing(name: &str, chunk: &Chunk) -> Error {
    Error::data(&chunk.file, format!("a record batch has no column \"{name}\""))
}

impl Prediction {
    fn of(scores: &RowScores, p_value: f64, probabilities: &[f32], label: Option<u32>) -> Self {
        let of_label = label.and_then(|label| probabilities.get(label as usize)).copied();
        Self {
            class: scores.class as u32,
            confidence: scores.confidence,
            score: scores.score,
            p_value,
            label_probability: of_label.unwrap_or(0.0),
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
    fn begin_file(&mut self, chunk: &Chunk) {
        // A file's rows come one after the other, and each file is named once.
        if self.files.last().is_none_or(|(file, _)| *file != chunk.file) {
            self.files.push((Arc::clone(&chunk.file), self.rows.len()));
        }
    }

    fn class_of(&mut self, label: Given, chunk: &Chunk, row: usize) -> Option<u32> {
        match label {
            Given::Null => None,
            Given::Class(class) => Some(class as u32),
            Given::Foreign(label) => {
                self.foreign_labels.0 += 1;
                self.foreign_labels.1.get_or_insert_with(|| {
                    format!("\"{}\" ({}, row {})", shown(&label), shown(&chunk.file), chunk.first_row + row as u64)
                });
                None
            }
        }
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
            None if self.texts.len() >= MOST_MESSAGES => return,
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
        for row in 20..MOST_MESSAGES + 100 {
            messages.push(row, &row.to_string());
        }
        assert_eq!(messages.texts.len(), MOST_MESSAGES);
    }

    #[test]
    fn a_row_stays_small() {
        assert!(size_of::<Row>() <= 190, "{}", size_of::<Row>());
    }
}
