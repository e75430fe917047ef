//! What is known of unknown images before an audit: examples of them, and what a reader said of audited images.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::digest;
use super::novelty::Mark;
use super::observer::{ImageObserver, ShortDigest};
use super::text::shown;
use dismax::calibration::UnknownExamples;
use dismax::dataset::Dataset;
use dismax::error::{Error, Result};
use dismax::run::{Progress, Run};
use dismax::stage::Scanner;

/// Columns of a file of marks; others are not looked at.
const COLUMNS: [&str; 2] = ["image_digest", "mark"];

/// What a reader said of images: of known kinds, or of unknown ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks(HashMap<ShortDigest, Mark>);

impl Marks {
    /// Reads marks that a report exported: CSV with the columns `image_digest`, as in `findings.parquet`, and `mark`,
    /// which is `unknown` or `known`. Lines with another mark are about something else and are left out.
    ///
    /// # Errors
    /// [`Error::Data`] for a file that is no CSV or lacks a column, and for an image that is marked as both.
    pub fn read(path: &Path) -> Result<Self> {
        let mut marks = Self::default();
        marks.add(path)?;
        Ok(marks)
    }

    /// Reads the marks of a further file.
    ///
    /// # Errors
    /// As [`Marks::read`].
    pub fn add(&mut self, path: &Path) -> Result<()> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let damaged = |error: csv::Error| Error::data(&name, format!("is no file of marks: {error}"));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let headers = reader.headers().map_err(damaged)?.clone();
        let columns = COLUMNS.map(|column| headers.iter().position(|header| header == column));
        let [Some(digest_at), Some(mark_at)] = columns else {
            let message =
                format!("has no columns \"{}\" and \"{}\", as marks that a report exports", COLUMNS[0], COLUMNS[1]);
            return Err(Error::data(&name, message));
        };
        for record in reader.records() {
            let record = record.map_err(damaged)?;
            let line = record.position().map_or(0, csv::Position::line);
            let mark = match record.get(mark_at) {
                Some("unknown") => Mark::Unknown,
                Some("known") => Mark::Known,
                _ => continue,
            };
            let text = record.get(digest_at).unwrap_or_default();
            let Some(digest) = digest::parse(text) else {
                let message =
                    format!("line {line}: \"{}\" is no digest of an image (32 hexadecimal digits)", shown(text));
                return Err(Error::data(&name, message));
            };
            if self.0.insert(digest, mark).is_some_and(|before| before != mark) {
                let message = format!("line {line}: image {text} is marked both as known and as unknown; keep one");
                return Err(Error::data(&name, message));
            }
        }
        Ok(())
    }

    /// Number of marked images.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no image is marked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// All that is known of unknown images.
#[derive(Debug, Default)]
pub(super) struct KnownUnknown {
    marks: Marks,
    /// Examples; none where none are known, or the network gives no features.
    pub examples: Option<UnknownExamples>,
}

impl KnownUnknown {
    /// Takes the marks and the examples that the model keeps, and reads further examples through the stage.
    ///
    /// # Errors
    /// Those of reading and scoring.
    pub fn collect(
        stage: &impl Scanner,
        examples: Option<&Dataset>,
        marks: Option<&Marks>,
        run: &mut Run<'_>,
    ) -> Result<Self> {
        let kept = stage.model().feature_statistics().and_then(|statistics| statistics.unknown());
        let mut known = Self { marks: marks.cloned().unwrap_or_default(), examples: kept.cloned() };
        let Some(dataset) = examples else { return Ok(known) };
        let examples = known.examples.get_or_insert_with(|| UnknownExamples::new(stage.model().feature_width()));
        let mut rows = 0;
        for scored in stage.scan_all(dataset, Some(&[]), run.cancel.clone(), Arc::new(ImageObserver::default()))? {
            let (_, scored) = scored?;
            for (row, seen) in scored.observed().iter().enumerate() {
                rows += 1;
                if let Some(features) = scored.output(row).ok().and_then(|output| output.features) {
                    examples.add(seen.digest, features);
                }
            }
            run.report(Progress { task: "scoring unknown images", rows, of: dataset.rows(), failed: 0 })?;
        }
        known.examples = known.examples.filter(|examples| !examples.is_empty());
        Ok(known)
    }

    /// What was said of an image.
    pub fn mark(&self, digest: &ShortDigest) -> Option<Mark> {
        let is_example = || self.examples.as_ref().is_some_and(|examples| examples.contains(digest));
        self.marks.0.get(digest).copied().or_else(|| is_example().then_some(Mark::Example))
    }

    /// Marks, found among the audited images or not.
    pub fn marks(&self) -> u64 {
        self.marks.len() as u64
    }

    /// Marks of images that are not among these different ones.
    pub fn missing<'a>(&self, images: impl Iterator<Item = &'a ShortDigest>) -> u64 {
        self.marks() - images.filter(|digest| self.marks.0.contains_key(*digest)).count() as u64
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.examples.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_and_bad_ones_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("marks.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            Marks::read(&path).map_err(|error| error.to_string())
        };
        let (one, other) = ("0".repeat(32), "f".repeat(32));
        let text = format!("image_digest,kind,mark,file,row\n{one},unknown,unknown,a,1\n{other},blurred,wrong,a,2\n");
        let marks = read(&text).expect("marks");
        assert_eq!((marks.len(), marks.0.get(&[0; 16])), (1, Some(&Mark::Unknown)));
        let both = read(&format!("mark,image_digest\nknown,{one}\nunknown,{one}\n")).expect_err("both");
        assert!(both.contains("line 3") && both.contains("both"), "{both}");
        assert!(read("image_digest,kind\n").expect_err("no marks").contains("\"mark\""));
        assert!(read("image_digest,mark\nxyz,known\n").expect_err("no digest").contains("line 2"));
        assert!(Marks::read(&folder.path().join("none.csv")).is_err());
        assert!(read("image_digest,mark\n").expect("nothing").is_empty());
    }
}
