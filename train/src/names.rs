//! Values that users choose by name.

use dismax::error::{Error, Result};

/// The one of `all` that is called `text`; `what` says what is chosen.
///
/// # Errors
/// [`Error::Config`] with all names.
pub(super) fn by_name<T: Copy>(all: &[T], name: fn(T) -> &'static str, what: &str, text: &str) -> Result<T> {
    all.iter().copied().find(|value| name(*value) == text).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|value| name(*value)).collect();
        Error::Config(format!("unknown {what} {text:?}; choose one of {}", names.join(", ")))
    })
}
