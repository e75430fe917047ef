//! What the stage returns for the images of one item.

use std::sync::Arc;
use std::time::Duration;

use crate::error::RowError;
use crate::model::Model;
use crate::score::RowOutput;

/// Time that a worker spent on an item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Loading, decoding and resizing.
    pub decode: Duration,
    /// The network; on a GPU this includes the waits for room in a slot and for the device.
    pub network: Duration,
}

/// Logits of an item's images, row by row, or why a row has none; with their pooled features where somebody asked.
///
/// It holds the model that computed them, so that nobody can apply another model's calibration.
#[derive(Debug, Clone)]
pub struct Scored<V = ()> {
    model: Arc<Model>,
    rows: Vec<Result<(), RowError>>,
    values: Values,
    observed: Vec<V>,
    timing: Timing,
}

impl<V> Scored<V> {
    /// `observed` has one value for each row.
    pub(super) fn new(
        model: Arc<Model>,
        rows: Vec<Result<(), RowError>>,
        values: Values,
        observed: Vec<V>,
        timing: Timing,
    ) -> Self {
        debug_assert_eq!((rows.len() * values.width, rows.len()), (values.numbers.len(), observed.len()));
        Self { model, rows, values, observed, timing }
    }

    /// What another process computed with this model: `values [N, C]` or `[N, C + F]` row-major, as
    /// [`Scored::values`] gave them there; those of failed rows are not read.
    ///
    /// # Errors
    /// Lengths that do not fit.
    #[doc(hidden)]
    pub fn of_parts(
        model: Arc<Model>,
        rows: Vec<Result<(), RowError>>,
        values: Vec<f32>,
        observed: Vec<V>,
    ) -> crate::Result<Self> {
        let width = if rows.is_empty() { model.values_width(false) } else { values.len() / rows.len() };
        let fits = [false, true].iter().any(|with_features| width == model.values_width(*with_features))
            && (rows.len() * width, rows.len()) == (values.len(), observed.len());
        match fits {
            true => Ok(Self::new(model, rows, Values { width, numbers: values }, observed, Timing::default())),
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
        self.output(row).map(|output| output.logits)
    }

    /// All that the network gave for a row.
    ///
    /// # Errors
    /// Why it gave nothing.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn output(&self, row: usize) -> Result<RowOutput<'_>, &RowError> {
        self.rows[row].as_ref().map(|()| {
            let (logits, features) = self.values.row(row).split_at(self.model.classes().len());
            RowOutput { logits, features: Some(features).filter(|features| !features.is_empty()) }
        })
    }

    /// Logits, and features where they are wanted, of a row in one, to be sent elsewhere: [`Scored::of_parts`] takes
    /// them. Those of a failed row mean nothing.
    ///
    /// # Panics
    /// If there is no such row, or nobody asked for features when it was scored.
    #[doc(hidden)]
    pub fn values(&self, row: usize, with_features: bool) -> &[f32] {
        &self.values.row(row)[..self.model.values_width(with_features)]
    }
}

/// Numbers of rows, row by row: `[N, C]`, or `[N, C + F]` with pooled features.
#[derive(Debug, Clone)]
pub(super) struct Values {
    /// Numbers of a row.
    pub width: usize,
    pub numbers: Vec<f32>,
}

impl Values {
    fn row(&self, row: usize) -> &[f32] {
        &self.numbers[row * self.width..(row + 1) * self.width]
    }
}

impl<V> Scored<V> {
    /// The rows apart, so many for each. The first has the timing of the whole.
    pub(super) fn split(mut self, lengths: &[usize]) -> Vec<Self> {
        let width = self.values.width;
        let mut parts = Vec::with_capacity(lengths.len());
        for length in lengths.iter().rev() {
            let at = self.rows.len() - length;
            let (rows, observed) = (self.rows.split_off(at), self.observed.split_off(at));
            let values = Values { width, numbers: self.values.numbers.split_off(at * width) };
            parts.push(Self::new(Arc::clone(&self.model), rows, values, observed, Timing::default()));
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
    rows: Vec<Result<(), RowError>>,
    values: Values,
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
        let Scored { rows, values, timing, .. } = scored;
        Self { rows, values, timing }
    }
}

impl Scored {
    /// Rows of `model`, in this order, as if they had been scored together: with features where all rows have them.
    /// They cost nothing again: the timing is zero.
    ///
    /// # Panics
    /// If a row was scored by a model with fewer numbers.
    pub fn gather<'a>(model: &Arc<Model>, rows: impl IntoIterator<Item = (&'a ScoredRows, usize)>) -> Self {
        let rows: Vec<(&ScoredRows, usize)> = rows.into_iter().collect();
        let width = rows.iter().map(|(from, _)| from.values.width).min();
        let width = width.unwrap_or_else(|| model.values_width(false));
        assert!(width >= model.values_width(false), "rows of one model are gathered");
        let (mut outcomes, mut numbers) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len() * width));
        for (from, row) in rows {
            numbers.extend_from_slice(&from.values.row(row)[..width]);
            outcomes.push(from.rows[row].clone());
        }
        let observed = vec![(); outcomes.len()];
        Self::new(Arc::clone(model), outcomes, Values { width, numbers }, observed, Timing::default())
    }
}
