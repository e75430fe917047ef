//! What the stage returns for the images of one item.

use std::sync::Arc;
use std::time::Duration;

use crate::error::RowError;
use crate::model::Model;

/// Time that a worker spent on an item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Loading, decoding and resizing.
    pub decode: Duration,
    /// The network; on a GPU this includes the waits for room in a slot and for the device.
    pub network: Duration,
}

/// Logits of an item's images, row by row, or why a row has none.
///
/// It holds the model that computed them, so that nobody can apply another model's calibration.
#[derive(Debug, Clone)]
pub struct Scored<V = ()> {
    model: Arc<Model>,
    rows: Vec<Result<(), RowError>>,
    logits: Vec<f32>,
    observed: Vec<V>,
    timing: Timing,
}

impl<V> Scored<V> {
    /// `logits [N, C]` row-major; those of failed rows are not read. `observed` has one value for each row.
    pub(super) fn new(
        model: Arc<Model>,
        rows: Vec<Result<(), RowError>>,
        logits: Vec<f32>,
        observed: Vec<V>,
        timing: Timing,
    ) -> Self {
        debug_assert_eq!((rows.len() * model.classes().len(), rows.len()), (logits.len(), observed.len()));
        Self { model, rows, logits, observed, timing }
    }

    /// What another process computed with this model. `logits [N, C]` row-major; those of failed rows are not read.
    ///
    /// # Errors
    /// Lengths that do not fit.
    #[doc(hidden)]
    pub fn of_parts(
        model: Arc<Model>,
        rows: Vec<Result<(), RowError>>,
        logits: Vec<f32>,
        observed: Vec<V>,
    ) -> crate::Result<Self> {
        match (rows.len() * model.classes().len(), rows.len()) == (logits.len(), observed.len()) {
            true => Ok(Self::new(model, rows, logits, observed, Timing::default())),
            false => Err(crate::Error::data("scores from another process", "have other lengths than their rows")),
        }
    }

    /// The model that computed the logits.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What the workers spent on these images.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// For each row whether it has logits.
    pub fn rows(&self) -> &[Result<(), RowError>] {
        &self.rows
    }

    /// What the observer kept of each row.
    pub fn observed(&self) -> &[V] {
        &self.observed
    }

    /// Logits `[C]` of a row, before temperature.
    ///
    /// # Errors
    /// Why the row has none.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn logits(&self, row: usize) -> Result<&[f32], &RowError> {
        let classes = self.model.classes().len();
        self.rows[row].as_ref().map(|()| &self.logits[row * classes..(row + 1) * classes])
    }
}

impl<V> Scored<V> {
    /// The rows apart, so many for each. The first has the timing of the whole.
    pub(super) fn split(mut self, lengths: &[usize]) -> Vec<Self> {
        let classes = self.model.classes().len();
        let mut parts = Vec::with_capacity(lengths.len());
        for length in lengths.iter().rev() {
            let at = self.rows.len() - length;
            let (rows, observed) = (self.rows.split_off(at), self.observed.split_off(at));
            let logits = self.logits.split_off(at * classes);
            parts.push(Self::new(Arc::clone(&self.model), rows, logits, observed, Timing::default()));
        }
        parts.reverse();
        if let Some(first) = parts.first_mut() {
            first.timing = self.timing;
        }
        parts
    }
}

/// The rows of a [`Scored`] without the model that computed them, for whoever keeps them longer than it.
#[derive(Debug, Clone)]
pub struct ScoredRows {
    classes: usize,
    rows: Vec<Result<(), RowError>>,
    logits: Vec<f32>,
    timing: Timing,
}

impl ScoredRows {
    /// What the workers spent on these images.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl From<Scored> for ScoredRows {
    fn from(scored: Scored) -> Self {
        let Scored { model, rows, logits, timing, .. } = scored;
        Self { classes: model.classes().len(), rows, logits, timing }
    }
}

impl Scored {
    /// Rows of `model`, in this order, as if they had been scored together. They cost nothing again: the timing is zero.
    ///
    /// # Panics
    /// If a row was scored by a model with another number of classes.
    pub fn gather<'a>(model: &Arc<Model>, rows: impl IntoIterator<Item = (&'a ScoredRows, usize)>) -> Self {
        let classes = model.classes().len();
        let (mut outcomes, mut logits) = (Vec::new(), Vec::new());
        for (from, row) in rows {
            assert_eq!(from.classes, classes, "rows of one model are gathered");
            logits.extend_from_slice(&from.logits[row * classes..(row + 1) * classes]);
            outcomes.push(from.rows[row].clone());
        }
        let observed = vec![(); outcomes.len()];
        Self::new(Arc::clone(model), outcomes, logits, observed, Timing::default())
    }
}
