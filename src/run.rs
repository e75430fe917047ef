//! What the caller of a long run gives it: a way to stop it, and somewhere to report how far it is.

use crate::cancel::Cancel;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, in words: `scoring`.
    pub task: &'static str,
    /// Rows done in this task.
    pub rows: u64,
    /// Rows in all, where that is known beforehand.
    pub of: Option<u64>,
    /// Rows of these that failed.
    pub failed: u64,
}

/// A stop signal and a listener for one run.
pub struct Run<'a> {
    /// The run ends with [`Error::Cancelled`](crate::Error::Cancelled) once this is set.
    pub cancel: Cancel,
    /// Called after every record batch, on the thread that runs.
    pub progress: &'a mut dyn FnMut(Progress),
}

impl Run<'_> {
    /// Reports progress and checks whether to stop.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) once a stop was asked for.
    pub fn report(&mut self, progress: Progress) -> crate::Result<()> {
        (self.progress)(progress);
        self.cancel.check()
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("cancel", &self.cancel).finish_non_exhaustive()
    }
}
