//! What the workers answer to one stream, or to several that want the same.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use dismax::stage::Scored;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;

/// Takes the answer of the workers.
pub(super) type Sender = oneshot::Sender<Result<Arc<Scored>, Arc<DataFusionError>>>;

/// An answer that is there or will be.
pub(super) type Coming = Shared<oneshot::Receiver<Result<Arc<Scored>, Arc<DataFusionError>>>>;

/// An answer that somebody wants. Once nobody does, the workers pass over the record batch.
#[derive(Debug)]
pub(super) struct Wanted {
    coming: Coming,
    /// None where the answer is there.
    token: Option<Arc<()>>,
    scored: Option<Arc<Scored>>,
}

impl Wanted {
    /// An answer to come, and where it must be sent.
    pub fn new() -> (Sender, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self { coming: receiver.shared(), token: Some(Arc::new(())), scored: None })
    }

    /// The same answer for one more; none if all others gave it up before it came, or if the stage failed.
    pub fn again(coming: &Coming, wanted: &Weak<()>) -> Option<Self> {
        let token = match coming.peek() {
            Some(Ok(Ok(_))) => None,
            Some(_) => return None,
            None => Some(wanted.upgrade()?),
        };
        Some(Self { coming: coming.clone(), token, scored: None })
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
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Arc<Scored>>> {
        if let Some(scored) = &self.scored {
            return Poll::Ready(Ok(Arc::clone(scored)));
        }
        let scored = ready!(self.coming.poll_unpin(context))
            .map_err(|_| exec_datafusion_err!("a scoring worker ended unexpectedly"))?
            .map_err(DataFusionError::Shared)?;
        self.scored = Some(Arc::clone(&scored));
        Poll::Ready(Ok(scored))
    }
}
