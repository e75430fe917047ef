//! What every command is given.

#[cfg(feature = "audit")]
use std::ffi::OsString;

use dismax::Result;
use dismax::cancel::Cancel;
use dismax::run::{Progress, Run};

use crate::ui::{Phase, Ui};

/// Where a command writes its notes, and how it is stopped.
#[derive(Debug)]
pub struct Context {
    /// Standard error.
    pub ui: Ui,
    /// Set by the first Ctrl-C.
    pub cancel: Cancel,
    /// The words of the command line after the program's name.
    #[cfg(feature = "audit")]
    pub words: Vec<OsString>,
    /// All commands and flags, for completions.
    pub definition: fn() -> clap::Command,
}

impl Context {
    /// Calls `body` with a run that shows a bar for each of its tasks. Every task but the last ends with a line about
    /// it.
    pub fn watch<T>(&self, body: impl FnOnce(&mut Run<'_>) -> Result<T>) -> Result<T> {
        let mut current: Option<(&str, Phase)> = None;
        let mut progress = |progress: Progress| match &current {
            Some((task, phase)) if *task == progress.task => phase.update(progress.rows, progress.of),
            _ => {
                if let Some((_, finished)) = current.take() {
                    finished.finish();
                }
                let phase = self.ui.phase(progress.task);
                phase.start_at(progress.rows, progress.of);
                current = Some((progress.task, phase));
            }
        };
        body(&mut Run { cancel: self.cancel.clone(), progress: &mut progress })
    }

    /// Calls `body` with a run that shows one bar, called `name`, and ends with a line about it.
    pub fn watch_as<T>(&self, name: &str, body: impl FnOnce(&mut Run<'_>) -> Result<T>) -> Result<T> {
        let phase = self.ui.phase(name);
        let mut progress = |progress: Progress| phase.update(progress.rows, progress.of);
        let result = body(&mut Run { cancel: self.cancel.clone(), progress: &mut progress })?;
        phase.finish();
        Ok(result)
    }
}
