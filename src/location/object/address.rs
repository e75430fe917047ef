//! Addresses in their parts.

use std::env;

use object_store::path::Path;
use url::Url;

use crate::error::{Error, Result};
use crate::location::pattern::split;

/// Where datasets of the Hugging Face Hub lie unless `HF_ENDPOINT` says otherwise.
const HUB: &str = "https://huggingface.co";

/// What can be done with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A bucket or a container: it lists, reads and writes.
    Bucket,
    /// A web server: it gives single files.
    Web,
}

/// An address in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// As the user wrote it.
    pub text: String,
    pub kind: Kind,
    /// What comes before the key in the name of an object: `s3://bucket/`.
    pub root: String,
    /// The object's name in its store, or a part or a pattern of names.
    pub key: String,
    /// What [`store_of`] makes a store of.
    pub base: Url,
}

impl Address {
    /// # Errors
    /// Text that is no address of a kind that is read.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| Error::Config(format!("{text}: {why}"));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("is no address"))?;
        match scheme {
            "s3" | "s3a" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss" => {
                // The key is taken as it is: `?` is a character of a pattern there, and not the start of a query.
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                let root = format!("{scheme}://{bucket}/");
                let base = Url::parse(&root).map_err(|error| refuse(&error.to_string()))?;
                if bucket.is_empty() {
                    return Err(refuse(&format!("names no bucket; write {scheme}://BUCKET/NAME")));
                }
                Ok(Self { text: text.into(), kind: Kind::Bucket, root, key: key.into(), base })
            }
            "http" | "https" => Self::web(text, text),
            "hf" => Self::web(
                text,
                &on_the_hub(rest).ok_or_else(|| {
                    refuse("write hf://datasets/OWNER/NAME/FILE, or hf://datasets/OWNER/NAME@REVISION/FILE")
                })?,
            ),
            _ => Err(refuse("is of no kind that is read: s3, gs, az, http, https, hf")),
        }
    }

    fn web(text: &str, address: &str) -> Result<Self> {
        let url = Url::parse(address).map_err(|error| Error::Config(format!("{text}: {error}")))?;
        let key = Path::from_url_path(url.path()).map_err(|error| Error::Config(format!("{text}: {error}")))?;
        let mut base = url.clone();
        base.set_path("/");
        base.set_fragment(None);
        let mut shown = Url::parse(text).map_err(|error| Error::Config(format!("{text}: {error}")))?;
        // Both may hold a key to the data. A scheme without a host has no place for a password.
        shown.set_query(None);
        let _ = shown.set_password(None);
        let key: String = key.into();
        Ok(Self { text: shown.to_string(), kind: Kind::Web, root: shown.to_string(), key, base })
    }

    /// The name of the object with this key.
    pub fn name_of(&self, key: &str) -> String {
        match self.kind {
            Kind::Bucket => format!("{}{key}", self.root),
            Kind::Web => self.root.clone(),
        }
    }

    /// Another name in the same place.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }
}

/// An address without its pattern, and the pattern.
pub(in crate::location) fn address_and_pattern(name: &str) -> Option<(String, Option<String>)> {
    let address = Address::parse(name).ok()?;
    match (address.kind, name.strip_prefix("hf://")) {
        (Kind::Web, Some(rest)) => Some((on_the_hub(rest)?, None)),
        (Kind::Web, None) => Some((name.to_owned(), None)),
        (Kind::Bucket, _) => {
            let (start, rest) = split(&address.key);
            let pattern = (!rest.is_empty()).then(|| rest.to_owned());
            Some((format!("{}{start}", address.root), pattern))
        }
    }
}

/// The web address of `datasets/OWNER/NAME[@REVISION]/FILE`.
fn on_the_hub(rest: &str) -> Option<String> {
    let mut parts = rest.strip_prefix("datasets/")?.splitn(3, '/');
    let (owner, name, file) = (parts.next()?, parts.next()?, parts.next()?);
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    let hub = hub();
    let complete = ![owner, name, revision, file].contains(&"");
    complete.then(|| format!("{}/datasets/{owner}/{name}/resolve/{revision}/{file}", hub.trim_end_matches('/')))
}

/// The address of the Hugging Face Hub.
pub(super) fn hub() -> String {
    env::var("HF_ENDPOINT").unwrap_or_else(|_| HUB.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_their_parts() {
        let parts = |text: &str| {
            let address = Address::parse(text).expect("an address");
            (address.root, address.key)
        };
        assert_eq!(parts("s3://bucket/a/b?.parquet"), ("s3://bucket/".into(), "a/b?.parquet".into()));
        assert_eq!(parts("gs://bucket"), ("gs://bucket/".into(), String::new()));
        let (name, key) = parts("https://me:secret@example.org/a%20b.parquet?token=secret");
        assert_eq!((name.as_str(), key.as_str()), ("https://me@example.org/a%20b.parquet", "a b.parquet"));
        assert_eq!(parts("hf://datasets/o/n/data/x.parquet").1, "datasets/o/n/resolve/main/data/x.parquet");
        assert_eq!(parts("hf://datasets/o/n@v1/x.parquet").1, "datasets/o/n/resolve/v1/x.parquet");
        for text in ["ftp://x/y", "s3:///key", "hf://models/o/n/x", "hf://datasets/o/n"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
