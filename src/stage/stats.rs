//! What a stage has done since it was made.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::scored::Timing;
use crate::error::{RowError, RowErrorCode};

/// Images and passes of a stage, over all its streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageStats {
    /// Rows whose image was loaded and decoded, or was tried.
    pub decoded: u64,
    /// Images that went through the network.
    pub scored: u64,
    /// Passes through the network.
    pub passes: u64,
    /// Time in which a GPU computed by its own clock, over all of the stage's GPUs; zero on a CPU.
    pub device_busy: Duration,
    /// Time that the workers spent, added up over all of them.
    pub timing: Timing,
}

/// The same while workers add to it.
#[derive(Debug, Default)]
pub(super) struct StatsCounters {
    decoded: AtomicU64,
    scored: AtomicU64,
    passes: AtomicU64,
    device_busy_nanos: AtomicU64,
    decode_nanos: AtomicU64,
    network_nanos: AtomicU64,
    errors: Mutex<BTreeMap<RowErrorCode, u64>>,
}

impl StatsCounters {
    pub fn decoded(&self, rows: usize) {
        self.decoded.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub fn passed(&self, images: usize) {
        self.scored.fetch_add(images as u64, Ordering::Relaxed);
        self.passes.fetch_add(1, Ordering::Relaxed);
    }

    /// An item is done.
    pub fn done(&self, rows: &[Result<(), RowError>], timing: Timing) {
        self.decode_nanos.fetch_add(timing.decode.as_nanos() as u64, Ordering::Relaxed);
        self.network_nanos.fetch_add(timing.network.as_nanos() as u64, Ordering::Relaxed);
        for error in rows.iter().filter_map(|row| row.as_ref().err()) {
            *self.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(error.code).or_default() += 1;
        }
    }

    /// Rows without scores, by the reason.
    pub fn errors(&self) -> BTreeMap<RowErrorCode, u64> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A device worked this long.
    pub fn busy(&self, time: Duration) {
        self.device_busy_nanos.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    pub fn read(&self) -> StageStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StageStats {
            decoded: of(&self.decoded),
            scored: of(&self.scored),
            passes: of(&self.passes),
            device_busy: Duration::from_nanos(of(&self.device_busy_nanos)),
            timing: Timing {
                decode: Duration::from_nanos(of(&self.decode_nanos)),
                network: Duration::from_nanos(of(&self.network_nanos)),
            },
        }
    }
}
