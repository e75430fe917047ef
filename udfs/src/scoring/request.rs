//! The images of one chunk, asked of the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::{self, Thread};

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::compute::take;
use datafusion::common::Result;
use dismax::dataset::{Image, ImageDigest, Images, InputColumn, InputRows};
use dismax::stage::{Scored, Stage, Timing, WithFeatures};

use super::answer::{Sender, Wanted};
use super::cache::{Claim, Own};
use crate::models::{ScoringModel, external};

/// Images at the workers, or with scores that are remembered. Once it is dropped the workers pass over them, unless
/// somebody else waits for the same.
pub(crate) struct Request {
    /// Of the chunk itself and of others that have some of its images.
    answers: Vec<Wanted>,
    /// For each row which answer has its scores, and in which row; none where that is the only answer, row by row.
    places: Option<Vec<(usize, usize)>>,
    /// What was sent to the workers for it.
    sent: Option<Sent>,
}

/// Images that a chunk sent to the workers.
#[derive(Clone, Copy)]
struct Sent {
    images: usize,
    answer: usize,
}

/// Scores of a chunk, row by row.
pub(crate) struct Answered {
    pub scored: Scored,
    /// Images that the workers decoded and scored for it.
    pub sent: usize,
    pub timing: Timing,
}

impl Request {
    /// Asks the model for the scores of `images`, which has the type of `column`, and for their pooled features.
    pub fn send(model: &ScoringModel, column: &InputColumn, images: &ArrayRef, with_features: bool) -> Result<Self> {
        let working = model.working()?;
        let remembered = if with_features { &working.remembered_features } else { &working.remembered };
        // An embedding is scored in less time than it is told from others.
        let known = match column.rows_of(images).map_err(external)? {
            InputRows::Images(known) if remembered.is_on() && !column.holds_paths() => Some(known),
            _ => None,
        };
        let Some(known) = known else {
            let (sender, answer) = Wanted::new();
            submit(&working.stage, column, images, (&answer, sender), with_features)?;
            let sent = Some(Sent { images: images.len(), answer: 0 });
            return Ok(Self { answers: vec![answer], places: None, sent });
        };
        let digests: Vec<ImageDigest> = (0..images.len()).map(|row| known_by(&known, row)).collect();
        let Claim { answers, places, own } = remembered.claim(&digests);
        let Some(Own { rows, answer, sender }) = own else {
            return Ok(Self { answers, places: Some(places), sent: None });
        };
        let sent = Some(Sent { images: rows.len(), answer });
        if rows.len() == images.len() {
            submit(&working.stage, column, images, (&answers[answer], sender), with_features)?;
            return Ok(Self { answers, places: None, sent });
        }
        let missing = take(images, &UInt64Array::from(rows), None)?;
        submit(&working.stage, column, &missing, (&answers[answer], sender), with_features)?;
        Ok(Self { answers, places: Some(places), sent })
    }

    /// The scores once they are there, however often it is asked. The model is the one that was asked.
    pub fn poll(&self, model: &ScoringModel, context: &mut Context<'_>) -> Poll<Result<Answered>> {
        let mut answers = Vec::with_capacity(self.answers.len());
        for answer in &self.answers {
            answers.push(ready!(answer.poll(context))?);
        }
        let (sent, timing) =
            self.sent.map_or_else(Default::default, |sent| (sent.images, answers[sent.answer].timing()));
        let stage_model = model.working()?.stage.model();
        let scored = match &self.places {
            None => Scored::gather(stage_model, (0..answers[0].len()).map(|row| (&*answers[0], row))),
            Some(places) => Scored::gather(stage_model, places.iter().map(|(answer, row)| (&*answers[*answer], *row))),
        };
        Poll::Ready(Ok(Answered { scored, sent, timing }))
    }

    /// The scores, for which this thread waits. The workers are others.
    pub fn wait(&self, model: &ScoringModel) -> Result<Answered> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            match self.poll(model, &mut Context::from_waker(&waker)) {
                Poll::Ready(answered) => return answered,
                Poll::Pending => thread::park(),
            }
        }
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// By what an image is found again. What lies in a file may change, so a row that names one is never found.
fn known_by(images: &Images, row: usize) -> ImageDigest {
    static FILES: AtomicU64 = AtomicU64::new(0);
    match images.get(row) {
        Ok(Image::Path(_)) => {
            let mut digest = ImageDigest::default();
            digest[..8].copy_from_slice(&FILES.fetch_add(1, Ordering::Relaxed).to_le_bytes());
            digest
        }
        _ => images.digest(row),
    }
}

fn submit(
    stage: &Stage,
    column: &InputColumn,
    images: &ArrayRef,
    (answer, sender): (&Wanted, Sender),
    with_features: bool,
) -> Result<()> {
    let rows = column.rows_of(images).map_err(external)?;
    // Whoever asked may be gone while the images are scored.
    let send = move |scored: dismax::Result<Scored>| sender.send(scored.map_err(external));
    let submitted = match with_features {
        true => stage.submit_observed(rows, &Arc::new(WithFeatures), answer.token(), send),
        false => stage.submit(rows, answer.token(), send),
    };
    submitted.map_err(external)
}
