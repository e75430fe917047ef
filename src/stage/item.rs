//! The network's numbers for one item, which come back from a device in pieces.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

type Answer = Box<dyn FnOnce(Result<Vec<f32>>) + Send>;

/// Logits and pooled features `[N, C + F]` of an item's rows as far as they have come.
pub(super) struct ItemScores {
    width: usize,
    state: Mutex<State>,
}

struct State {
    numbers: Vec<f32>,
    /// Rows whose numbers have come.
    scored: usize,
    error: Option<Error>,
    /// Rows that will come, and who waits for them; known once the item is decoded.
    waiting: Option<(usize, Answer)>,
}

impl ItemScores {
    pub fn new(rows: usize, width: usize) -> Self {
        let state = State { numbers: vec![0.0; rows * width], scored: 0, error: None, waiting: None };
        Self { width, state: Mutex::new(state) }
    }

    /// Numbers of these rows, one after the other.
    pub fn deliver(&self, rows: &[usize], numbers: &[f32]) {
        self.change(|state| {
            for (row, values) in rows.iter().zip(numbers.chunks_exact(self.width)) {
                state.numbers[row * self.width..(row + 1) * self.width].copy_from_slice(values);
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

    /// Calls `answer` once the numbers of `rows` rows have come, or as soon as it is known that they will not.
    pub fn answer(&self, rows: usize, answer: impl FnOnce(Result<Vec<f32>>) + Send + 'static) {
        self.change(|state| state.waiting = Some((rows, Box::new(answer))));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let (scored, failed) = (state.scored, state.error.is_some());
        let Some((_, answer)) = state.waiting.take_if(|(rows, _)| failed || *rows == scored) else { return };
        let numbers = match state.error.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.numbers)),
        };
        drop(state);
        answer(numbers);
    }
}

impl fmt::Debug for ItemScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemScores").field("width", &self.width).finish_non_exhaustive()
    }
}
