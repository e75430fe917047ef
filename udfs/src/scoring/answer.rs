//! What the workers answer, to one stream or to several that want the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use dismax::stage::{Scored, ScoredRows};

/// Rows without their model, which a cache would keep alive.
type Answer = Result<Arc<ScoredRows>, Arc<DataFusionError>>;

/// A place for an answer and those who wait for it.
#[derive(Debug, Default)]
struct Slot {
    answer: Option<Answer>,
    wakers: Vec<Waker>,
}

/// An answer that is there or will be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coming(Arc<Mutex<Slot>>);

/// Gives the answer. Dropped without one, it says that the workers ended.
#[derive(Debug)]
pub(crate) struct Sender(Coming);

/// An answer that somebody wants. Once nobody does, the workers pass over the record batch.
#[derive(Debug)]
pub(crate) struct Wanted {
    coming: Coming,
    /// None where the answer is there.
    token: Option<Arc<()>>,
}

impl Wanted {
    /// An answer to come, and where it must be sent.
    pub fn new() -> (Sender, Self) {
        let coming = Coming::default();
        (Sender(coming.clone()), Self { coming, token: Some(Arc::new(())) })
    }

    /// The same answer for one more; none if all others gave it up before it came, or if the stage failed.
    pub fn again(coming: &Coming, wanted: &Weak<()>) -> Option<Self> {
        let token = match &coming.slot().answer {
            Some(Ok(_)) => None,
            Some(Err(_)) => return None,
            None => Some(wanted.upgrade()?),
        };
        Some(Self { coming: coming.clone(), token })
    }

    /// The answer, for others.
    pub fn coming(&self) -> Coming {
        self.coming.clone()
    }

    /// Gone once nobody wants the answer.
    pub fn token(&self) -> Weak<()> {
        self.token.as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    /// The scores once they are there, however often it is asked.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Arc<ScoredRows>>> {
        let mut slot = self.coming.slot();
        match &slot.answer {
            Some(answer) => Poll::Ready(answer.clone().map_err(DataFusionError::Shared)),
            None => {
                if !slot.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                    slot.wakers.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Coming {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        // Nothing that holds the lock can leave the slot half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    /// Wakes everybody who waits.
    pub fn send(self, answer: Result<Scored>) {
        self.fill(|| answer.map(|scored| Arc::new(scored.into())).map_err(Arc::new));
    }

    fn fill(&self, answer: impl FnOnce() -> Answer) {
        let mut slot = self.0.slot();
        slot.answer.get_or_insert_with(answer);
        let wakers = std::mem::take(&mut slot.wakers);
        drop(slot);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.fill(|| Err(Arc::new(exec_datafusion_err!("a scoring worker ended unexpectedly"))));
    }
}
