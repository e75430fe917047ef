//! The logits of one item, which come back from a device in pieces.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

type Answer = Box<dyn FnOnce(Result<Vec<f32>>) + Send>;

/// Logits `[N, C]` of an item's rows as far as they have come.
pub(super) struct ItemScores {
    classes: usize,
    state: Mutex<State>,
}

struct State {
    logits: Vec<f32>,
    /// Rows whose logits have come.
    scored: usize,
    error: Option<Error>,
    /// Rows that will come, and who waits for them; known once the item is decoded.
    waiting: Option<(usize, Answer)>,
}

impl ItemScores {
    pub fn new(rows: usize, classes: usize) -> Self {
        let state = State { logits: vec![0.0; rows * classes], scored: 0, error: None, waiting: None };
        Self { classes, state: Mutex::new(state) }
    }

    /// Logits of these rows, one after the other.
    pub fn deliver(&self, rows: &[usize], logits: &[f32]) {
        self.change(|state| {
            for (row, values) in rows.iter().zip(logits.chunks_exact(self.classes)) {
                state.logits[row * self.classes..(row + 1) * self.classes].copy_from_slice(values);
            }
            state.scored += rows.len();
        });
    }

    /// The item has no scores: the first reason counts.
    pub fn fail(&self, error: Error) {
        self.change(|state| {
            state.error.get_or_insert(error);
        });
    }

    /// Calls `answer` once the logits of `rows` rows have come, or as soon as it is known that they will not.
    pub fn answer(&self, rows: usize, answer: impl FnOnce(Result<Vec<f32>>) + Send + 'static) {
        self.change(|state| state.waiting = Some((rows, Box::new(answer))));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let (scored, failed) = (state.scored, state.error.is_some());
        let Some((_, answer)) = state.waiting.take_if(|(rows, _)| failed || *rows == scored) else { return };
        let logits = match state.error.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.logits)),
        };
        drop(state);
        answer(logits);
    }
}

impl fmt::Debug for ItemScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemScores").field("classes", &self.classes).finish_non_exhaustive()
    }
}
