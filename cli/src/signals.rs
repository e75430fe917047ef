//! Ctrl-C, a polite `kill`, and files that grow past a limit.

use std::ffi::c_int;
use std::fs;
use std::io::{self, Write};
use std::thread;

use dismax::Result;
use dismax::cancel::Cancel;
use dismax::error::Error;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::exit::INTERRUPTED;

/// The first SIGINT, SIGTERM or SIGHUP asks the run to stop at its next step, the second ends the process at once.
/// A file that grows past `ulimit -f` is an error of its write: with a handler for SIGXFSZ the process lives on to
/// report it.
///
/// A signal that whoever started the process had ignored stays ignored: that is how `nohup` works.
pub fn install(cancel: &Cancel) -> Result<()> {
    let ignored = ignored();
    let wanted = [SIGINT, SIGTERM, SIGHUP, SIGXFSZ].into_iter().filter(|signal| ignored & bit(*signal) == 0);
    let mut signals = Signals::new(wanted).map_err(|error| Error::io("signal handlers", error))?;
    let cancel = cancel.clone();
    let listen = move || {
        for signal in signals.forever() {
            if signal == SIGXFSZ {
                continue;
            }
            if cancel.is_cancelled() {
                // Unlike `exit` this runs no destructors, which would pull libtorch away from under threads that still
                // compute.
                low_level::exit(c_int::from(INTERRUPTED));
            }
            cancel.cancel();
            let _ = writeln!(io::stderr(), "\ndismax: stopping; press Ctrl-C again to quit immediately");
        }
    };
    thread::Builder::new().name("signals".into()).spawn(listen).map_err(|error| Error::io("signal handlers", error))?;
    Ok(())
}

/// The signals that the process has ignored since its start, as bits; none if the system does not tell.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}
