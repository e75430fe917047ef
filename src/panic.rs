//! Panics of decoders and readers at damaged data, which for a run are errors like any other.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    /// Calls of [`caught`] that this thread is in.
    static CAUGHT: Cell<usize> = const { Cell::new(0) };
}

/// What `work` gives, or the words of its panic. What it worked on must not be used after a panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    CAUGHT.set(CAUGHT.get() + 1);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(CAUGHT.get() - 1);
    result.map_err(|payload| words(&*payload))
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("the reader gave up").to_owned()
}

/// Installs a panic hook that says nothing of panics that become errors anyway, and leaves others to the hook before
/// it. For programs whose standard error people read.
pub fn silence_caught() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if CAUGHT.get() == 0 {
            before(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_panic_become_the_error() {
        let index = std::hint::black_box(7);
        let error = caught(|| [1, 2, 3][index]).expect_err("out of bounds");
        assert!(error.contains("the len is 3 but the index is 7"), "{error}");
        assert_eq!(caught(|| std::panic::panic_any(5)), Err::<(), _>("the reader gave up".into()));
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(CAUGHT.get(), 0, "later panics are told again");
    }
}
