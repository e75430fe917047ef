//! Filled slots through a device: one thread starts passes, one takes their logits.
//!
//! While one pass computes, the next one's pixels are copied and its kernels are queued; the logits of the one before
//! are handed out meanwhile.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender};

use super::slots::{FilledPart, SlotNumber, Slots};
use super::stats::StatsCounters;
use crate::device::HostMemory;
use crate::error::{Error, Result};

/// Passes that a device has at once: one computes, one is queued behind it, one hands out its logits.
pub(super) const PASSES_IN_FLIGHT: usize = 3;
/// Those of them that wait between the two threads: each thread holds one more.
pub(super) const PASSES_WAITING: usize = PASSES_IN_FLIGHT - 2;

/// A device that computes beside the host.
pub(super) trait Accelerator: Send + 'static {
    type Pass: Pass;

    /// Makes ready what the first pass would wait for, on the thread that will start passes.
    ///
    /// # Errors
    /// Why the device cannot be used.
    fn warm_up(&mut self) -> Result<()> {
        Ok(())
    }

    /// Queues a pass over the first `rows` images of `pixels` and returns at once.
    ///
    /// # Errors
    /// Why it cannot, for example a lost device, with the memory.
    fn start(&mut self, pixels: HostMemory, rows: usize) -> Result<Self::Pass, (HostMemory, Error)>;
}

/// Images on a device.
pub(super) trait Pass: Send + 'static {
    /// Waits for the logits.
    fn finish(self) -> Finished;
}

/// What comes back from a pass.
#[derive(Debug)]
pub(super) struct Finished {
    /// The images.
    pub pixels: HostMemory,
    /// Logits and pooled features `[B, C + F]`, row-major, of at least the rows that were asked for.
    pub values: Result<Vec<f32>>,
    /// How long the device worked on them.
    pub busy: Duration,
}

/// A pass, and whose rows it has.
#[derive(Debug)]
pub(super) struct Started<P> {
    pass: P,
    slot: SlotNumber,
    parts: Vec<FilledPart>,
}

/// Ends the slots with the thread that empties them, so that no worker waits for room for ever.
struct EndWithThread<'a>(&'a Slots);

impl Drop for EndWithThread<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Warms the device up, tells `ready` how that went, and starts a pass for every slot until the stage ends.
pub(super) fn start_passes<A: Accelerator>(
    mut device: A,
    slots: &Slots,
    ready: &Sender<Result<()>>,
    started: &Sender<Started<A::Pass>>,
) {
    let _ends = EndWithThread(slots);
    let warm = device.warm_up();
    let is_warm = warm.is_ok();
    // Whoever makes the stage waits for this, or is gone after another device's error.
    let _ = ready.send(warm);
    if !is_warm {
        return;
    }
    while let Some(filled) = slots.next() {
        let (slot, pixels, parts, rows) = filled.into_parts();
        match device.start(pixels, rows) {
            Ok(pass) => {
                if started.send(Started { pass, slot, parts }).is_err() {
                    return;
                }
            }
            Err((pixels, error)) => {
                slots.give_back(slot, pixels);
                fail(&parts, &error);
            }
        }
    }
}

/// Hands the logits of all passes, `width` numbers a row with their features, to their items, in the order in which the
/// passes were started.
pub(super) fn finish_passes<P: Pass>(
    started: &Receiver<Started<P>>,
    slots: &Slots,
    width: usize,
    counters: &Arc<StatsCounters>,
) {
    for Started { pass, slot, parts } in started {
        let Finished { pixels, values, busy } = pass.finish();
        slots.give_back(slot, pixels);
        counters.busy(busy);
        match values {
            Ok(values) => {
                counters.passed(parts.iter().map(|part| part.rows.len()).sum());
                for part in parts {
                    let values = &values[part.first * width..][..part.rows.len() * width];
                    part.item.deliver(&part.rows, values);
                }
            }
            Err(error) => fail(&parts, &error),
        }
    }
}

/// All items of a pass end with its error.
fn fail(parts: &[FilledPart], error: &Error) {
    for part in parts {
        part.item.fail(match error {
            Error::DeviceFailed { device, reason } => {
                Error::DeviceFailed { device: device.clone(), reason: reason.clone() }
            }
            other => Error::Internal(other.to_string()),
        });
    }
}
