//! What a stage has done since it was made.

use std::sync::atomic::{AtomicU64, Ordering};

/// Images and passes of a stage, over all its streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Rows whose image was loaded and decoded, or was tried.
    pub decoded: u64,
    /// Images that went through the network.
    pub scored: u64,
    /// Passes through the network.
    pub passes: u64,
}

/// The same while workers add to it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    decoded: AtomicU64,
    scored: AtomicU64,
    passes: AtomicU64,
}

impl Counters {
    pub fn decoded(&self, rows: usize) {
        self.decoded.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub fn passed(&self, images: usize) {
        self.scored.fetch_add(images as u64, Ordering::Relaxed);
        self.passes.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> Work {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Work { decoded: of(&self.decoded), scored: of(&self.scored), passes: of(&self.passes) }
    }
}
