//! What a run says on standard error: notes, log lines and progress bars that do not run into each other.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use dismax::text::{harmless, harmless_lines};
use dismax::{Error, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use log::LevelFilter;
use serde::Serialize;

use crate::text;

/// Redraws of a bar in a second.
const REDRAWS: u8 = 10;

/// Standard error: a terminal, a file or a pipe.
#[derive(Debug, Clone)]
pub struct Ui {
    quiet: bool,
    bars: MultiProgress,
}

impl Ui {
    /// Bars appear if standard error is a terminal. Otherwise each phase writes one line at its end.
    pub fn new(quiet: bool) -> Self {
        let shown = !quiet && io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr_with_hz(REDRAWS) } else { ProgressDrawTarget::hidden() };
        Self { quiet, bars: MultiProgress::with_draw_target(target) }
    }

    /// Log lines go to standard error, above the bars. `RUST_LOG` overrides the flags.
    pub fn start_logging(&self, verbose: u8) {
        let level = match (self.quiet, verbose) {
            (true, _) => LevelFilter::Error,
            (false, 0) => LevelFilter::Warn,
            (false, _) => LevelFilter::Info,
        };
        env_logger::Builder::new()
            .filter_level(level)
            .parse_default_env()
            .format(|line, record| {
                let level = record.level().as_str().to_ascii_lowercase();
                writeln!(line, "dismax: {level}: {}", harmless_lines(&record.args().to_string()))
            })
            .target(env_logger::Target::Pipe(Box::new(AboveBars(self.bars.clone()))))
            .init();
    }

    /// Writes lines for people, not for programs.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.write(text.as_ref());
        }
    }

    /// Says why the exit code is not 0 although the run ended; shown even with `--quiet`.
    pub fn incomplete(&self, text: impl AsRef<str>) {
        self.write(&format!("dismax: {}", text.as_ref()));
    }

    /// A note about something that may be wrong.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.note(format!("dismax: warning: {}", text.as_ref()));
    }

    fn write(&self, text: &str) {
        let text = harmless_lines(text.trim_end_matches('\n'));
        // If standard error is closed, nobody wants to know.
        let _ = AboveBars(self.bars.clone()).write_all(format!("{text}\n").as_bytes());
    }

    /// Begins to count images; `doing` is shown before the bar ("scoring").
    pub fn phase(&self, doing: &str) -> Phase {
        let doing = &harmless(doing);
        let bar = self.bars.add(ProgressBar::no_length().with_prefix(doing.to_owned()));
        bar.set_style(style(false));
        Phase { ui: self.clone(), bar, start: Instant::now(), doing: doing.to_owned() }
    }
}

/// Prints text for people to standard output, without control characters.
///
/// # Errors
/// As [`print()`].
pub fn print_text(text: &str) -> Result<()> {
    print(&harmless_lines(text))
}

/// Prints to standard output.
///
/// # Errors
/// [`Error::Io`] if that fails, for example because the reader of a pipe went away.
pub fn print(text: &str) -> Result<()> {
    write_line(&mut io::stdout().lock(), text).map_err(|error| Error::io("stdout", error))
}

/// Prints to standard error what standard output has no room for.
///
/// # Errors
/// As [`print()`].
pub fn print_to_stderr(text: &str) -> Result<()> {
    write_line(&mut io::stderr().lock(), text).map_err(|error| Error::io("stderr", error))
}

fn write_line(output: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(output, "{}", text.trim_end_matches('\n'))?;
    output.flush()
}

/// A result as one line of JSON.
///
/// # Errors
/// [`Error::Internal`] for what JSON cannot hold.
pub fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Internal(format!("the result as JSON: {error}")))
}

/// A task that goes through images one after the other.
#[derive(Debug)]
pub struct Phase {
    ui: Ui,
    bar: ProgressBar,
    start: Instant,
    doing: String,
}

impl Phase {
    /// `done` images are done, of `of` if that is known.
    pub fn update(&self, done: u64, of: Option<u64>) {
        if let Some(of) = of.filter(|_| self.bar.length().is_none()) {
            self.bar.set_length(of);
            self.bar.set_style(style(true));
        }
        self.bar.set_position(done);
    }

    /// Begins at `done` images: those before say nothing about how fast it goes now.
    pub fn start_at(&self, done: u64, of: Option<u64>) {
        self.update(done, of);
        self.bar.reset_eta();
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Takes the bar away and says how long it took.
    pub fn finish(&self) {
        let (images, seconds) = (self.bar.position(), self.start.elapsed().as_secs_f64());
        self.clear();
        self.ui.note(format!(
            "{}: {} images in {} ({} images/s)",
            self.doing,
            text::count(images),
            text::duration(seconds),
            text::rate(images as f64 / seconds.max(f64::MIN_POSITIVE))
        ));
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        // An error message must not share its line with a bar.
        if !self.bar.is_finished() {
            self.clear();
        }
    }
}

fn style(length_is_known: bool) -> ProgressStyle {
    let template = match length_is_known {
        true => "{prefix} [{bar:30}] {human_pos} of {human_len}  {rate} images/s  {left} left",
        false => "{prefix} {human_pos}  {rate} images/s  {elapsed}",
    };
    let rate = |state: &ProgressState, line: &mut dyn std::fmt::Write| {
        let _ = line.write_str(&text::rate(state.per_sec()));
    };
    let left = |state: &ProgressState, line: &mut dyn std::fmt::Write| {
        let left: Duration = state.eta();
        let _ = line.write_str(&text::clock(left.as_secs_f64()));
    };
    ProgressStyle::with_template(template)
        .expect("both templates are valid")
        .with_key("rate", rate)
        .with_key("left", left)
        .progress_chars("=> ")
}

/// Standard error; the bars are hidden while something is written.
struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
