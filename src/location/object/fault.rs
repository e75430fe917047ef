//! What a store answers, in words that help.

use std::error::Error as _;
use std::io;

use object_store::Error as StoreError;

use crate::error::Error;

/// The run's error about `url`.
pub(super) fn about(url: &str, error: &StoreError) -> Error {
    Error::io(url, as_io(error))
}

/// As an error of input and output: its kind tells what happened, its text says it.
pub(super) fn as_io(error: &StoreError) -> io::Error {
    let whole = chain(error);
    let said = answer(&whole);
    let with = |text: &str| match &said {
        Some(said) => format!("{text} (the server says {said})"),
        None => text.to_owned(),
    };
    match error {
        StoreError::NotFound { .. } if whole.contains("NoSuchBucket") || whole.contains("ContainerNotFound") => {
            io::Error::new(io::ErrorKind::NotFound, with("there is no such bucket or container"))
        }
        StoreError::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, "there is no such object"),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => io::Error::new(
            io::ErrorKind::PermissionDenied,
            with("access is denied; check the credentials, and whether they may read and write here"),
        ),
        StoreError::Precondition { .. } => io::Error::new(
            io::ErrorKind::InvalidData,
            "the object was replaced while it was read; run again to read the new one",
        ),
        StoreError::AlreadyExists { .. } => io::Error::new(io::ErrorKind::AlreadyExists, "the object exists"),
        StoreError::NotSupported { .. } => {
            io::Error::new(io::ErrorKind::Unsupported, "the server does not give parts of an object (range requests)")
        }
        _ => io::Error::other(with(&short(&whole))),
    }
}

/// Whether an error says that something is not there.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound
        && !source.to_string().contains("bucket"))
}

/// The texts of an error and its causes, each once.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// Code and message in the XML or JSON of an answer.
fn answer(text: &str) -> Option<String> {
    let between = |start: &str, end: &str| Some(text.split_once(start)?.1.split_once(end)?.0.trim().to_owned());
    let code = between("<Code>", "</Code>").or_else(|| between("\"code\":\"", "\""))?;
    let message = between("<Message>", "</Message>").or_else(|| between("\"message\":\"", "\""));
    Some(message.map_or(code.clone(), |message| format!("{code}: {}", message.lines().next().unwrap_or_default())))
}

/// Without the page that an answer came with, which [`answer`] sums up.
fn short(text: &str) -> String {
    let end = text.find("<?xml").or_else(|| text.find('<')).unwrap_or(text.len());
    // The query of an address may hold a key.
    let without_query = |word: &str| match word.split_once('?') {
        Some((address, _)) if address.contains("://") => address.to_owned(),
        _ => word.to_owned(),
    };
    let words: Vec<String> = text[..end].split_whitespace().map(without_query).collect();
    words.join(" ").trim_end_matches([':', ',', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn answers_are_summed_up() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>No match.\nMore</Message></Error>";
        let error = StoreError::PermissionDenied { path: "x".into(), source: xml.into() };
        let error = as_io(&error);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().ends_with("(the server says SignatureDoesNotMatch: No match.)"), "{error}");
        let error = as_io(&generic("GET failed: 503: <html>busy</html>")).to_string();
        assert_eq!(error, "Generic S3 error: GET failed: 503");
        let error = as_io(&generic("performing GET https://x.org/a?sig=secret in 2s")).to_string();
        assert_eq!(error, "Generic S3 error: performing GET https://x.org/a in 2s");
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object() {
        let error = |text: &str| StoreError::NotFound { path: "x".into(), source: text.into() };
        assert!(is_missing(&about("s3://b/x", &error("<Code>NoSuchKey</Code>"))));
        assert!(!is_missing(&about("s3://b/x", &error("<Code>NoSuchBucket</Code>"))));
    }
}
