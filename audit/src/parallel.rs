//! Work on all cores whose results keep their order.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use dismax::cancel::Cancel;
use dismax::error::{Error, Result};

/// Positions of one step: few enough that a stop is heard soon, and that the last step does not keep the others
/// waiting.
const STEP: usize = 256;

/// What `work` appends for the positions below `count`, in their order. It is called with one step of them after the
/// other, on a thread for each core.
pub(super) fn in_steps<R: Send>(
    count: usize,
    cancel: &Cancel,
    work: impl Fn(Range<usize>, &mut Vec<R>) -> Result<()> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let work_on = || -> Result<Vec<(usize, Vec<R>)>> {
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(STEP, Ordering::Relaxed);
            if start >= count {
                return Ok(done);
            }
            let mut results = Vec::new();
            if let Err(error) = cancel.check().and_then(|()| work(start..(start + STEP).min(count), &mut results)) {
                next.store(count, Ordering::Relaxed);
                return Err(error);
            }
            done.push((start, results));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count.div_ceil(STEP));
    let mut steps = thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().name("dismax-audit".into()).spawn_scoped(scope, work_on);
        let threads: Vec<_> = (0..threads).map(spawn).collect();
        let mut steps = Vec::new();
        for thread in threads {
            let thread = thread.map_err(|error| Error::io("starting a thread", error))?;
            let ended = || Err(Error::Internal("a thread of the analysis ended unexpectedly".into()));
            steps.extend(thread.join().unwrap_or_else(|_| ended())?);
        }
        Ok::<_, Error>(steps)
    })?;
    steps.sort_unstable_by_key(|(start, _)| *start);
    Ok(steps.into_iter().flat_map(|(_, results)| results).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept() {
        let squares = |positions: Range<usize>, out: &mut Vec<usize>| {
            out.extend(positions.filter(|position| position % 3 == 0).map(|position| position * position));
            Ok(())
        };
        for count in [0, 1, STEP, 10 * STEP + 7] {
            let found = in_steps(count, &Cancel::default(), squares).expect("no stop");
            assert_eq!(found, (0..count).filter(|at| at % 3 == 0).map(|at| at * at).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_stop_an_error_and_a_panic_end_it() {
        let cancel = Cancel::default();
        let stopped: Result<Vec<()>> = in_steps(100 * STEP, &cancel, |positions, _| {
            assert!(positions.start < 50 * STEP, "the stop was not heard");
            cancel.cancel();
            Ok(())
        });
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
        cancel.reset();
        let failed: Result<Vec<()>> = in_steps(9, &cancel, |_, _| Err(Error::Config("no".into())));
        assert!(matches!(failed, Err(Error::Config(_))), "{failed:?}");
        let panicked: Result<Vec<()>> = in_steps(9, &cancel, |positions, _| {
            assert!(positions.is_empty(), "a panic");
            Ok(())
        });
        assert!(matches!(panicked, Err(Error::Internal(_))), "{panicked:?}");
    }
}
