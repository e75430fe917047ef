//! Items through a stage, in order and with bounded memory.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use crossbeam::channel::{Receiver, bounded};

use super::observer::Observer;
use super::pool::{MAX_IN_FLIGHT_BYTES, Stage, worker_ended};
use super::scored::Scored;
use crate::dataset::InputRows;
use crate::error::{Error, Result};

impl Stage {
    /// Scores images or embeddings as they come. The iterator yields what the caller sent with each item and its
    /// scores, in order. It reads ahead only as far as the workers need; dropping it stops reading.
    pub fn score<T, I, R>(&self, items: I) -> ScoreStream<'_, I::IntoIter, T>
    where
        I: IntoIterator<Item = Result<(R, T)>>,
        R: Into<InputRows>,
    {
        self.score_observed(items, Arc::new(()))
    }

    /// As [`Stage::score`], with an observer that sees every image.
    pub fn score_observed<T, I, R, O>(&self, items: I, observer: Arc<O>) -> ScoreStream<'_, I::IntoIter, T, O>
    where
        I: IntoIterator<Item = Result<(R, T)>>,
        R: Into<InputRows>,
        O: Observer,
    {
        ScoreStream::new(self, items.into_iter(), observer)
    }
}

/// Iterator over scored items; see [`Stage::score`].
#[derive(Debug)]
pub struct ScoreStream<'a, I, T, O: Observer = ()> {
    stage: &'a Stage,
    items: I,
    observer: Arc<O>,
    in_flight: VecDeque<InFlight<T, O::Value>>,
    in_flight_bytes: usize,
    input: InputState,
    /// Workers skip what is still queued once this is gone.
    alive: Arc<()>,
}

/// What is left of a stream's input.
#[derive(Debug)]
enum InputState {
    More,
    /// The items before the error are still to be yielded.
    Failed(Error),
    Ended,
}

#[derive(Debug)]
struct InFlight<T, V> {
    mine: T,
    bytes: usize,
    answer: Receiver<Result<Scored<V>>>,
}

impl<'a, I, T, O: Observer> ScoreStream<'a, I, T, O> {
    pub(super) fn new(stage: &'a Stage, items: I, observer: Arc<O>) -> Self {
        Self {
            stage,
            items,
            observer,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            input: InputState::More,
            alive: Arc::new(()),
        }
    }
}

impl<I, T, R, O> ScoreStream<'_, I, T, O>
where
    I: Iterator<Item = Result<(R, T)>>,
    R: Into<InputRows>,
    O: Observer,
{
    fn fill(&mut self) -> Result<()> {
        while matches!(self.input, InputState::More)
            && self.in_flight.len() < self.stage.items_in_flight()
            && self.in_flight_bytes <= MAX_IN_FLIGHT_BYTES
        {
            match self.items.next() {
                Some(Ok((rows, mine))) => {
                    let rows = rows.into();
                    let bytes = rows.bytes();
                    let (sender, answer) = bounded(1);
                    // The stream may be dropped while its rows are scored.
                    let send = move |scored| drop(sender.send(scored));
                    self.stage.submit_observed(rows, &self.observer, Arc::downgrade(&self.alive), send)?;
                    self.in_flight_bytes += bytes;
                    self.in_flight.push_back(InFlight { mine, bytes, answer });
                }
                Some(Err(error)) => self.input = InputState::Failed(error),
                None => self.input = InputState::Ended,
            }
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<(T, Scored<O::Value>)>> {
        self.fill()?;
        let Some(InFlight { mine, bytes, answer }) = self.in_flight.pop_front() else {
            return match mem::replace(&mut self.input, InputState::Ended) {
                InputState::Failed(error) => Err(error),
                InputState::More | InputState::Ended => Ok(None),
            };
        };
        self.in_flight_bytes -= bytes;
        let scored = answer.recv().map_err(|_| worker_ended())??;
        Ok(Some((mine, scored)))
    }
}

impl<I, T, R, O> Iterator for ScoreStream<'_, I, T, O>
where
    I: Iterator<Item = Result<(R, T)>>,
    R: Into<InputRows>,
    O: Observer,
{
    /// What the caller sent with the images, and their scores.
    type Item = Result<(T, Scored<O::Value>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            // The first error ends the stream.
            self.input = InputState::Ended;
            self.in_flight.clear();
        }
        next.transpose()
    }
}
