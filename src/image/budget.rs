//! Memory of all large images that are decoded at the same time.
//!
//! An image may take a gigabyte by itself, and every worker decodes one: without a common bound, a few small files could
//! fill the memory of a machine with many cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes up to which an image does not count. Even a hundred workers do not take much with such images.
const SMALL: u64 = 32 << 20;
/// Bytes of all images that count.
const LEAST: u64 = 2 << 30;
/// The same for each core, where there are many: a photograph of 16 megapixels, so that no worker waits for ordinary
/// ones.
const BY_CORE: u64 = 96 << 20;
/// How long an image waits at most. Decoding takes seconds; a program that keeps the pixels must not stop others for ever.
const PATIENCE: Duration = Duration::from_secs(20);

static BUDGET: LazyLock<Arc<Budget>> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    Arc::new(Budget::new(LEAST.max(BY_CORE * cores)))
});

thread_local! {
    /// Reservations that this thread has made and still has.
    static OWN: Arc<AtomicUsize> = Arc::default();
}

/// Bytes that may be reserved.
#[derive(Debug)]
struct Budget {
    most: u64,
    reserved: Mutex<u64>,
    freed: Condvar,
}

/// Memory set aside for an image; dropped, others may have it. A clone sets nothing aside, and all are equal: pixels
/// are the same whoever has counted them.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    _held: Option<Reservation>,
}

#[derive(Debug)]
struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
    /// Those of the thread that made it, which may end before.
    of_thread: Arc<AtomicUsize>,
}

/// Sets memory aside for an image that takes `bytes`, and waits for it, up to [`PATIENCE`], where images of other threads
/// have it all. One larger than everything there is waits until it is alone.
pub(super) fn reserve(bytes: u64) -> Reserved {
    match bytes > SMALL {
        true => Reserved { _held: Some(Budget::reserve(&BUDGET, bytes)) },
        false => Reserved::default(),
    }
}

impl Budget {
    const fn new(most: u64) -> Self {
        Self { most, reserved: Mutex::new(0), freed: Condvar::new() }
    }

    fn reserve(budget: &Arc<Self>, bytes: u64) -> Reservation {
        let bytes = bytes.min(budget.most);
        let reserved = budget.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        // Who has an image already does not wait for a second one: all could wait for each other.
        let of_thread = OWN.with(Arc::clone);
        let is_first = of_thread.fetch_add(1, Ordering::Relaxed) == 0;
        let must_wait = |reserved: &mut u64| is_first && *reserved + bytes > budget.most;
        let (mut reserved, _) =
            budget.freed.wait_timeout_while(reserved, PATIENCE, must_wait).unwrap_or_else(PoisonError::into_inner);
        *reserved += bytes;
        Reservation { budget: Arc::clone(budget), bytes, of_thread }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        *self.budget.reserved.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.freed.notify_all();
        self.of_thread.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Clone for Reserved {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Reserved {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Reserved {}

/// Bytes that images have now.
#[cfg(test)]
pub(super) fn reserved() -> u64 {
    *BUDGET.reserved.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn threads_wait_for_memory_and_take_no_more_than_there_is() {
        let budget = Arc::new(Budget::new(100));
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for bytes in [40, 60, 30, 1000] {
                        let reservation = Budget::reserve(&budget, bytes);
                        let sum = now.fetch_add(bytes.min(100), Ordering::SeqCst) + bytes.min(100);
                        most.fetch_max(sum, Ordering::SeqCst);
                        thread::yield_now();
                        now.fetch_sub(bytes.min(100), Ordering::SeqCst);
                        drop(reservation);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 100, "{most:?}");
        assert_eq!(*budget.reserved.lock().expect("no panic"), 0);
    }

    #[test]
    fn a_thread_with_an_image_does_not_wait_for_a_second_one() {
        let budget = Arc::new(Budget::new(100));
        let first = Budget::reserve(&budget, 80);
        let second = Budget::reserve(&budget, 80);
        // Elsewhere too they go back to who made them.
        thread::spawn(move || drop((first, second))).join().expect("no panic");
        let own = OWN.with(|own| own.load(Ordering::Relaxed));
        assert_eq!((*budget.reserved.lock().expect("no panic"), own), (0, 0));
    }
}
