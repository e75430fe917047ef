//! The two ways in which an audit sees images: scored by a network, or decoded alone.

use std::sync::Arc;

use super::error::AuditError;
use super::known_unknown::{KnownUnknown, Marks};
use super::observer::{ImageObserver, ObservedImage};
use dismax::RowError;
use dismax::cancel::Cancel;
use dismax::dataset::{Chunk, Dataset, InputColumn};
use dismax::error::Result;
use dismax::run::Run;
use dismax::score::RowOutput;
use dismax::stage::{Decoded, Decoders, Scanner, Scored};

/// Shows the images of a dataset to an observer, in order.
pub(super) trait Scan {
    /// The column of a dataset with what is audited.
    fn input_column(&self, dataset: &Dataset) -> Result<InputColumn>;

    /// Looks at what is known of unknown images: examples, and marks.
    fn known_unknown(
        &self,
        examples: Option<&Dataset>,
        marks: Option<&Marks>,
        run: &mut Run<'_>,
    ) -> Result<KnownUnknown>;

    /// The chunks of `dataset` with these columns besides the images, and what was seen of their rows.
    fn scan(
        &self,
        dataset: &Dataset,
        columns: &[usize],
        cancel: Cancel,
        observer: Arc<ImageObserver>,
    ) -> Result<impl Iterator<Item = Result<(Chunk, Seen)>>>;
}

/// What was seen of the rows of a chunk.
#[derive(Debug)]
pub(super) enum Seen {
    /// With a model.
    Scored(Scored<ObservedImage>),
    /// Without.
    Decoded(Decoded<ObservedImage>),
}

impl Seen {
    /// What the observer kept of each row.
    pub fn observed(&self) -> &[ObservedImage] {
        match self {
            Self::Scored(scored) => scored.observed(),
            Self::Decoded(decoded) => decoded.observed(),
        }
    }

    /// What the network said of a row, nothing without a model, or why the row cannot be used.
    pub fn output(&self, row: usize) -> Result<Option<RowOutput<'_>>, &RowError> {
        match self {
            Self::Scored(scored) => scored.output(row).map(Some),
            Self::Decoded(decoded) => decoded.rows()[row].as_ref().map(|()| None),
        }
    }
}

/// Images scored by a network.
#[derive(Debug)]
pub(super) struct WithModel<'a, S>(pub &'a S);

impl<S: Scanner> Scan for WithModel<'_, S> {
    fn input_column(&self, dataset: &Dataset) -> Result<InputColumn> {
        self.0.input_column(dataset)
    }

    fn known_unknown(
        &self,
        examples: Option<&Dataset>,
        marks: Option<&Marks>,
        run: &mut Run<'_>,
    ) -> Result<KnownUnknown> {
        KnownUnknown::collect(self.0, examples, marks, run)
    }

    fn scan(
        &self,
        dataset: &Dataset,
        columns: &[usize],
        cancel: Cancel,
        observer: Arc<ImageObserver>,
    ) -> Result<impl Iterator<Item = Result<(Chunk, Seen)>>> {
        let scanned = self.0.scan_all(dataset, Some(columns), cancel, observer)?;
        Ok(scanned.map(|scanned| scanned.map(|(chunk, scored)| (chunk, Seen::Scored(scored)))))
    }
}

/// Images decoded alone.
#[derive(Debug)]
pub(super) struct WithoutModel(pub Decoders);

impl Scan for WithoutModel {
    fn input_column(&self, dataset: &Dataset) -> Result<InputColumn> {
        self.0.image_column(dataset).map(InputColumn::Image)
    }

    fn known_unknown(
        &self,
        examples: Option<&Dataset>,
        marks: Option<&Marks>,
        _: &mut Run<'_>,
    ) -> Result<KnownUnknown> {
        match (examples, marks) {
            (None, None) => Ok(KnownUnknown::default()),
            _ => Err(AuditError::UnknownWithoutModel.into()),
        }
    }

    fn scan(
        &self,
        dataset: &Dataset,
        columns: &[usize],
        cancel: Cancel,
        observer: Arc<ImageObserver>,
    ) -> Result<impl Iterator<Item = Result<(Chunk, Seen)>>> {
        let scanned = self.0.scan(dataset, Some(columns), cancel, observer)?;
        Ok(scanned.map(|scanned| scanned.map(|(chunk, decoded)| (chunk, Seen::Decoded(decoded)))))
    }
}
