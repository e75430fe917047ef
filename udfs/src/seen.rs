//! What was seen of images, by their bytes.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use dismax::RowError;
use dismax_audit::inspection::PerceptualHash;

/// What was seen of an image, or why nothing was.
pub(crate) type Looked = Result<Picture, RowError>;

/// What was seen of an image that can be decoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    pub width: u32,
    pub height: u32,
    pub orientation: Option<u8>,
    pub light: f32,
    pub contrast: f32,
    pub sharpness: f32,
    pub colour: f32,
    pub hash: PerceptualHash,
}

/// Images of a generation. With about 250 bytes each two of them take 64 MiB.
const GENERATION: usize = 1 << 17;

/// Remembers what was seen of images, by the SHA-256 of their bytes. There are two generations: once the younger is
/// full it becomes the older, which is forgotten, so that what is asked for again and again stays.
#[derive(Default)]
pub(crate) struct Seen {
    generations: Mutex<[HashMap<[u8; 32], Arc<Looked>>; 2]>,
}

impl Seen {
    /// What was seen of an image; `look` looks at it where nothing is remembered. Two threads that ask at once may both
    /// look.
    pub fn of(&self, digest: [u8; 32], look: impl FnOnce() -> Looked) -> Arc<Looked> {
        if let Some(known) = self.find(&digest) {
            return known;
        }
        let looked = Arc::new(look());
        self.keep(digest, Arc::clone(&looked));
        looked
    }

    fn find(&self, digest: &[u8; 32]) -> Option<Arc<Looked>> {
        let known = {
            let [young, old] = &mut *self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            match young.get(digest) {
                Some(known) => return Some(Arc::clone(known)),
                None => old.remove(digest)?,
            }
        };
        self.keep(*digest, Arc::clone(&known));
        Some(known)
    }

    fn keep(&self, digest: [u8; 32], looked: Arc<Looked>) {
        let [young, old] = &mut *self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if young.len() >= GENERATION {
            *old = mem::take(young);
        }
        young.insert(digest, looked);
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use dismax::RowErrorCode;

    use super::*;

    #[test]
    fn what_is_asked_for_again_is_looked_at_once_and_memory_is_bounded() {
        let seen = Seen::default();
        let digest = |image: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&image.to_le_bytes());
            digest
        };
        let mut looks = 0;
        let mut ask = |image: usize| {
            let look = || {
                looks += 1;
                Err(RowError::new(RowErrorCode::DecodeFailed, image.to_string()))
            };
            seen.of(digest(image), look).as_ref().as_ref().expect_err("as it was looked at").detail.clone()
        };
        // The first image is asked for between all others, and stays.
        for image in 1..=3 * GENERATION {
            ask(image);
            assert_eq!(ask(0), "0");
        }
        assert_eq!(ask(3 * GENERATION), (3 * GENERATION).to_string());
        assert_eq!(looks, 3 * GENERATION + 1);
        let generations = seen.generations.lock().expect("no panic");
        assert!(generations.iter().all(|generation| generation.len() <= GENERATION));
    }
}
