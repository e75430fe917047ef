//! Ctrl-C and a polite `kill`.

use std::ffi::c_int;
use std::io::{self, Write};

use dismax::cancel::Cancel;
use dismax::{Error, Result};

use crate::exit::INTERRUPTED;

unsafe extern "C" {
    // SAFETY: takes any number, touches no memory of ours and does not return. Unlike `exit` it runs no destructors,
    // which would pull libtorch away from under threads that still compute.
    safe fn _exit(status: c_int) -> !;
}

/// The first SIGINT, SIGTERM or SIGHUP asks the run to stop at its next step, the second ends the process at once.
pub fn install(cancel: &Cancel) -> Result<()> {
    let cancel = cancel.clone();
    let handler = move || {
        if cancel.is_cancelled() {
            _exit(c_int::from(INTERRUPTED));
        }
        cancel.cancel();
        let _ = writeln!(io::stderr(), "\ndismax: stopping; once more stops at once");
    };
    ctrlc::set_handler(handler).map_err(|error| Error::Internal(format!("signals cannot be handled: {error}")))
}
