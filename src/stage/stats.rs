//! What a stage has done since it was made.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Images and passes of a stage, over all its streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageStats {
    /// Rows whose image was loaded and decoded, or was tried.
    pub decoded: u64,
    /// Images that went through the network.
    pub scored: u64,
    /// Passes through the network.
    pub passes: u64,
    /// Time in which a GPU had work, over all of the stage's GPUs; zero on a CPU.
    pub device_busy: Duration,
}

/// The same while workers add to it.
#[derive(Debug, Default)]
pub(super) struct StatsCounters {
    decoded: AtomicU64,
    scored: AtomicU64,
    passes: AtomicU64,
    devices: Mutex<Vec<Arc<BusyClock>>>,
}

/// How long a device had something to do: while at least one batch was handed to it and not answered.
#[derive(Debug, Default)]
pub(super) struct BusyClock(Mutex<BusySpan>);

#[derive(Debug, Default)]
struct BusySpan {
    batches: usize,
    since: Option<Instant>,
    before: Duration,
}

impl BusyClock {
    /// Counts the time that `work` takes, once where several threads work at the same time.
    pub fn during<R>(&self, work: impl FnOnce() -> R) -> R {
        {
            let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            time.batches += 1;
            time.since.get_or_insert_with(Instant::now);
        }
        let result = work();
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        time.batches -= 1;
        if time.batches == 0
            && let Some(since) = time.since.take()
        {
            time.before += since.elapsed();
        }
        result
    }

    fn read(&self) -> Duration {
        let time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        time.before + time.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}

impl StatsCounters {
    pub fn decoded(&self, rows: usize) {
        self.decoded.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub fn passed(&self, images: usize) {
        self.scored.fetch_add(images as u64, Ordering::Relaxed);
        self.passes.fetch_add(1, Ordering::Relaxed);
    }

    /// The clock of one more device.
    pub fn device(&self) -> Arc<BusyClock> {
        let busy = Arc::new(BusyClock::default());
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&busy));
        busy
    }

    pub fn read(&self) -> StageStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        StageStats {
            decoded: of(&self.decoded),
            scored: of(&self.scored),
            passes: of(&self.passes),
            device_busy: devices.iter().map(|busy| busy.read()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_work_counts_once() {
        let (busy, pause) = (BusyClock::default(), Duration::from_millis(20));
        assert_eq!(busy.read(), Duration::ZERO);
        let start = Instant::now();
        busy.during(|| busy.during(|| std::thread::sleep(pause)));
        assert!(busy.read() >= pause && busy.read() <= start.elapsed());
        let before = busy.read();
        std::thread::sleep(pause);
        assert_eq!(busy.read(), before, "idle time counted");
    }
}
