//! The secret that the machines of a cluster share.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use subtle::ConstantTimeEq;

use crate::error::{Error, Result};

/// Fewest bytes of a token.
const MIN_BYTES: usize = 16;

/// A shared secret. It travels as `Authorization: Bearer ...`, and is in no message and no log.
#[derive(Clone)]
pub struct Token(Arc<HeaderValue>);

impl Token {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds no token: at least 16 visible ASCII characters.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).map_err(|source| dismax::Error::Io { path: file.into(), source })?;
        Self::new(text.lines().next().unwrap_or_default().trim()).map_err(|problem| {
            Error::Config(format!(
                "{}: {problem}; write one with: head -c 32 /dev/urandom | base64 > {0}",
                file.display()
            ))
        })
    }

    fn new(text: &str) -> Result<Self, &'static str> {
        if text.len() < MIN_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the first line is no token of at least 16 visible ASCII characters");
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| "the token is no header")?;
        value.set_sensitive(true);
        Ok(Self(Arc::new(value)))
    }

    /// Shows it with a request.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(AUTHORIZATION, HeaderValue::clone(&self.0));
    }

    /// Whether a request shows it. How long the answer takes says nothing about the token.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        headers.get(AUTHORIZATION).is_some_and(|shown| shown.as_bytes().ct_eq(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_is_admitted_and_none_is_shown() {
        let token = Token::new("0123456789abcdef").expect("long enough");
        let mut headers = HeaderMap::new();
        assert!(!token.admits(&headers));
        token.add_to(&mut headers);
        assert!(token.admits(&headers));
        assert!(!Token::new("0123456789abcdeg").expect("long enough").admits(&headers));
        assert!(!format!("{token:?} {headers:?}").contains("0123"));
        assert!(["", "short", "with a space in it", "fünfzehn-umlaute"].iter().all(|text| Token::new(text).is_err()));
    }
}
