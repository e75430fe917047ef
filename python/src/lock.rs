//! The interpreter's lock on threads where other libraries handle it.
//!
//! pyo3 counts how often a thread attached. Where a library that one of our functions called lets go of the lock by
//! itself and then asks for our rows, that count is wrong, and nothing of pyo3 that relies on it may be used. So the
//! few steps that are taken there use the interpreter's own functions.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

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
        if is_running() {
            // SAFETY: the lock is held, and the reference that `object` counts for is given up. pyo3 would put that off
            // where it does not know of the lock, and what the object holds with it.
            held(|_| unsafe { ffi::Py_DECREF(object.into_ptr()) });
        } else {
            std::mem::forget(object);
        }
    }
}

/// An exception on its way through other libraries, which may let go of it anywhere.
pub struct Raised(ManuallyDrop<PyErr>);

impl Raised {
    pub fn clone_ref(&self, py: Python<'_>) -> PyErr {
        self.0.clone_ref(py)
    }
}

impl From<PyErr> for Raised {
    fn from(error: PyErr) -> Self {
        Self(ManuallyDrop::new(error))
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&held(|py| self.0.value(py).to_string()))
    }
}

impl std::error::Error for Raised {}

impl Drop for Raised {
    fn drop(&mut self) {
        // SAFETY: it is taken once, here, and not used after.
        let error = unsafe { ManuallyDrop::take(&mut self.0) };
        if is_running() {
            held(|_| drop(error));
        } else {
            std::mem::forget(error);
        }
    }
}

/// Something whose end may wait for threads that need the lock: it is let go of without.
pub struct Unlocked<T>(ManuallyDrop<T>);

impl<T> From<T> for Unlocked<T> {
    fn from(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T> Deref for Unlocked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Unlocked<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> Drop for Unlocked<T> {
    fn drop(&mut self) {
        // SAFETY: it is taken once, here, and not used after.
        let value = unsafe { ManuallyDrop::take(&mut self.0) };
        if is_running() {
            released(|| drop(value));
        } else {
            std::mem::forget(value);
        }
    }
}

/// Whether there is an interpreter. At the end of a process it goes before its threads do.
fn is_running() -> bool {
    // SAFETY: it may be called at any time.
    unsafe { ffi::Py_IsInitialized() != 0 }
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
