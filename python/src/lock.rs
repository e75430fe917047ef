//! The interpreter's lock on threads where other libraries handle it.
//!
//! pyo3 counts how often a thread attached. Where a library that one of our functions called lets go of the lock by
//! itself and then asks for our rows, that count is wrong, and nothing of pyo3 that relies on it may be used. So the
//! few steps that are taken there use the interpreter's own functions.

use std::mem::ManuallyDrop;

use pyo3::ffi;
use pyo3::prelude::*;

/// Whether this thread has run Python code, so that it may hold the lock. The threads of other libraries have not; to
/// attach them would make them wait for whoever computes in Python.
pub fn may_be_held() -> bool {
    // SAFETY: the interpreter runs, since it called into this module; the function only looks the thread up.
    unsafe { !ffi::PyGILState_GetThisThreadState().is_null() }
}

/// Does something with the lock, whoever held it before.
pub fn held<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
    let _guard = Ensured::begin();
    // SAFETY: the guard attached this thread, and keeps it attached until `work` has ended.
    work(unsafe { Python::assume_attached() })
}

/// Does something without the lock, if this thread may hold it. `work` must not touch objects of Python, other than in
/// [`held`].
pub fn released<T>(work: impl FnOnce() -> T) -> T {
    if !may_be_held() {
        return work();
    }
    let _guard = Ensured::begin();
    let _released = Released::begin();
    work()
}

/// An object of Python that may be let go of anywhere: in the middle of another library's reading as well.
pub struct Object(ManuallyDrop<Py<PyAny>>);

impl Object {
    pub fn bind<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.0.bind(py)
    }
}

impl From<Py<PyAny>> for Object {
    fn from(object: Py<PyAny>) -> Self {
        Self(ManuallyDrop::new(object))
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: it is taken once, here, and not used after.
        let object = unsafe { ManuallyDrop::take(&mut self.0) };
        held(|_| drop(object));
    }
}

/// The lock, until it is dropped.
struct Ensured(ffi::PyGILState_STATE);

impl Ensured {
    fn begin() -> Self {
        // SAFETY: the interpreter runs; it may be called on any thread, also on one that holds the lock.
        Self(unsafe { ffi::PyGILState_Ensure() })
    }
}

impl Drop for Ensured {
    fn drop(&mut self) {
        // SAFETY: it belongs to the call in `begin`, on the same thread, since the type is used in this file alone.
        unsafe { ffi::PyGILState_Release(self.0) }
    }
}

/// No lock, until it is dropped.
struct Released(*mut ffi::PyThreadState);

impl Released {
    fn begin() -> Self {
        // SAFETY: the thread holds the lock: an `Ensured` is alive.
        Self(unsafe { ffi::PyEval_SaveThread() })
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        // SAFETY: it belongs to the call in `begin`, on the same thread.
        unsafe { ffi::PyEval_RestoreThread(self.0) }
    }
}
