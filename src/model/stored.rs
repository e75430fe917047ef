//! The bytes of `model.safetensors` while no network is built from them.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::hex::hex;

/// Bytes that are read at once to be hashed.
const CHUNK: usize = 1 << 20;

/// Weights in a file's form. Those of a bundle stay in its file, which is kept open: a large network's weights are then
/// not in memory twice, and a bundle that is replaced meanwhile goes on as it was. Bytes that somebody writes into that
/// very file are found by its length and the time of the last change, which is all there is without reading it twice.
/// Clones share them.
#[derive(Clone)]
pub(super) enum StoredWeights {
    /// Of a model that no folder holds yet.
    Memory(Arc<[u8]>),
    /// Of a bundle's file.
    File { file: Arc<File>, length: usize, modified: SystemTime },
}

impl StoredWeights {
    /// Those of an open file, and their SHA-256 as hexadecimal digits.
    pub(super) fn of_file(file: File) -> io::Result<(Self, String)> {
        let metadata = file.metadata()?;
        let (length, modified) = (metadata.len(), metadata.modified()?);
        let (mut digest, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
        let mut bytes = (&file).take(length);
        loop {
            match bytes.read(&mut chunk)? {
                0 => break,
                count => digest.update(&chunk[..count]),
            }
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        Ok((Self::File { file: file.into(), length, modified }, hex(digest)))
    }

    /// Bytes of all.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File { length, .. } => *length,
        }
    }

    /// All bytes.
    ///
    /// # Errors
    /// As [`StoredWeights::part`].
    pub(super) fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        self.part(0..self.len())
    }

    /// Some of the bytes.
    ///
    /// # Errors
    /// In words, for bytes that are not there, and a file that can no longer be read or was altered in place.
    pub(super) fn part(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>, String> {
        if range.start > range.end || range.end > self.len() {
            let (length, end) = (self.len(), range.end.max(range.start));
            return Err(format!("model.safetensors has {length} bytes, not {end}; copy the bundle again"));
        }
        match self {
            Self::Memory(bytes) => Ok(Cow::Borrowed(&bytes[range])),
            Self::File { file, length, modified } => {
                let read = || {
                    let mut bytes = vec![0; range.len()];
                    file.read_exact_at(&mut bytes, range.start as u64)?;
                    let metadata = file.metadata()?;
                    let is_same = metadata.len() == *length as u64 && metadata.modified()? == *modified;
                    Ok::<_, io::Error>(is_same.then_some(bytes))
                };
                match read() {
                    Ok(Some(bytes)) => Ok(Cow::Owned(bytes)),
                    Ok(None) => Err("model.safetensors was altered while the model was in use; load it again".into()),
                    Err(error) => {
                        Err(format!("model.safetensors can no longer be read: {error}; load the model again"))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_file_stays_there_and_must_not_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let stored = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            StoredWeights::of_file(File::open(&path).unwrap()).unwrap()
        };

        let (weights, digest) = stored(b"weights");
        assert_eq!(digest, "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c");
        assert_eq!(
            (weights.len(), &*weights.bytes().unwrap(), &*weights.part(2..4).unwrap()),
            (7, &b"weights"[..], &b"ig"[..])
        );
        assert!(weights.part(2..8).unwrap_err().contains("7 bytes, not 8"));
        // Another file in its place is another file.
        std::fs::write(folder.path().join("other"), b"others!").unwrap();
        std::fs::rename(folder.path().join("other"), &path).unwrap();
        assert_eq!(*weights.bytes().unwrap(), *b"weights");

        let (weights, _) = stored(b"weights");
        std::fs::write(&path, b"wEIGHTS").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(weights.bytes().unwrap_err().contains("altered while the model was in use"));
        std::fs::write(&path, b"short").unwrap();
        assert!(weights.bytes().unwrap_err().contains("can no longer be read"));
    }
}
