//! CUDA's runtime library: streams, events, copies and page-locked memory, which tch has no names for.
//!
//! The library is in the process wherever libtorch's is: libtorch's own CPU library needs it. Nothing is linked or
//! loaded; the functions are looked up by name, so a libtorch without CUDA gives an error instead of a program that
//! does not start. Their meaning: CUDA Runtime API, release 13.0.
//!
//! libtorch's kernels run on the device's default stream, which waits for no other and which no stream made here waits
//! for; events order the two.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_NOW};

/// `cudaStream_t` and `cudaEvent_t`: addresses that only the library looks behind.
type Handle = *mut c_void;
/// `cudaError_t`.
type Status = c_int;

/// The runtime library of libtorch's CUDA release.
const LIBRARY: &str = "libcudart.so.13";
/// Finds a library that is loaded already, and loads none. The C library's number on Linux.
const RTLD_NOLOAD: c_int = 4;

const HOST_ALLOC_PORTABLE: c_uint = 1;
const STREAM_NON_BLOCKING: c_uint = 1;
const EVENT_BLOCKING_SYNC: c_uint = 1;
const MEMCPY_HOST_TO_DEVICE: c_int = 1;
const MEMCPY_DEVICE_TO_HOST: c_int = 2;
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

/// Declares the functions that are looked up, each once.
macro_rules! functions {
    ($($field:ident = $name:literal: fn($($argument:ty),*) -> $result:ty;)*) => {
        #[derive(Debug)]
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            fn look_up(library: &Library) -> Result<Self, libloading::Error> {
                Ok(Self {
                    $(
                        // SAFETY: the type is the one that release 13.0 documents for this name, and the library stays
                        // loaded for the rest of the process: its caller keeps it.
                        $field: *unsafe { library.get($name) }?,
                    )*
                })
            }
        }
    };
}

functions! {
    set_device = b"cudaSetDevice\0": fn(c_int) -> Status;
    device_attribute = b"cudaDeviceGetAttribute\0": fn(*mut c_int, c_int, c_int) -> Status;
    mem_get_info = b"cudaMemGetInfo\0": fn(*mut usize, *mut usize) -> Status;
    error_string = b"cudaGetErrorString\0": fn(Status) -> *const c_char;
    host_alloc = b"cudaHostAlloc\0": fn(*mut *mut c_void, usize, c_uint) -> Status;
    free_host = b"cudaFreeHost\0": fn(*mut c_void) -> Status;
    stream_create = b"cudaStreamCreateWithFlags\0": fn(*mut Handle, c_uint) -> Status;
    stream_destroy = b"cudaStreamDestroy\0": fn(Handle) -> Status;
    stream_wait_event = b"cudaStreamWaitEvent\0": fn(Handle, Handle, c_uint) -> Status;
    event_create = b"cudaEventCreateWithFlags\0": fn(*mut Handle, c_uint) -> Status;
    event_destroy = b"cudaEventDestroy\0": fn(Handle) -> Status;
    event_record = b"cudaEventRecord\0": fn(Handle, Handle) -> Status;
    event_synchronize = b"cudaEventSynchronize\0": fn(Handle) -> Status;
    event_elapsed = b"cudaEventElapsedTime\0": fn(*mut f32, Handle, Handle) -> Status;
    memcpy_async = b"cudaMemcpyAsync\0": fn(*mut c_void, *const c_void, usize, c_int, Handle) -> Status;
}

/// Calls a function of the library; its status becomes a result with the function's name and the library's words.
macro_rules! call {
    ($functions:expr, $field:ident($($argument:expr),*)) => {{
        // SAFETY: see the calls; every argument is a plain number, a place to write to that lives for the call, or a
        // handle that its owner has not destroyed.
        let status = unsafe { ($functions.$field)($($argument),*) };
        $functions.check(status, stringify!($field))
    }};
}

impl Functions {
    fn check(&self, status: Status, what: &str) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the function takes any number and answers with a constant, terminated text.
        let text = unsafe { CStr::from_ptr((self.error_string)(status)) };
        Err(format!("CUDA error {status} from {what}: {}", text.to_string_lossy()))
    }
}

/// The functions, looked up once.
///
/// # Errors
/// Which one is missing: this libtorch has no CUDA runtime of release 13.
fn functions() -> Result<&'static Functions, String> {
    static FOUND: OnceLock<Result<Functions, String>> = OnceLock::new();
    let find = || {
        // SAFETY: nothing is loaded, so no initialiser runs.
        let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_NOLOAD) }?;
        let functions = Functions::look_up(&library);
        // The functions are called until the process ends.
        std::mem::forget(library);
        functions
    };
    let found = FOUND.get_or_init(|| find().map_err(|error| format!("{LIBRARY} is not loaded: {error}")));
    found.as_ref().map_err(Clone::clone)
}

/// Makes `device` the one that this thread's streams, events and copies are for.
///
/// # Errors
/// The library's words, for example where there is no driver.
pub fn use_device(device: usize) -> Result<(), String> {
    let functions = functions()?;
    call!(functions, set_device(device as c_int))
}

/// Compute capability of `device`, major and minor.
///
/// # Errors
/// As [`use_device`].
pub fn compute_capability(device: usize) -> Result<(i32, i32), String> {
    let functions = functions()?;
    let (mut major, mut minor) = (0, 0);
    call!(functions, device_attribute(&raw mut major, COMPUTE_CAPABILITY_MAJOR, device as c_int))?;
    call!(functions, device_attribute(&raw mut minor, COMPUTE_CAPABILITY_MINOR, device as c_int))?;
    Ok((major, minor))
}

/// Bytes of memory that `device` has free. It becomes this thread's device.
///
/// # Errors
/// As [`use_device`].
pub fn free_memory(device: usize) -> Result<u64, String> {
    use_device(device)?;
    let functions = functions()?;
    let (mut free, mut total) = (0, 0);
    call!(functions, mem_get_info(&raw mut free, &raw mut total))?;
    Ok(free as u64)
}

/// `bytes` of page-locked memory that all devices reach on their own.
///
/// # Errors
/// The library's words: no driver, or more than the system lets a process lock.
pub fn allocate_pinned(bytes: usize) -> Result<*mut u8, String> {
    let functions = functions()?;
    let mut memory = ptr::null_mut();
    call!(functions, host_alloc(&raw mut memory, bytes, HOST_ALLOC_PORTABLE))?;
    Ok(memory.cast())
}

/// Gives back what [`allocate_pinned`] gave.
///
/// # Safety
/// `memory` comes from there, is given back once, and nothing reads or writes it any more.
pub unsafe fn free_pinned(memory: *mut u8) {
    if let Ok(functions) = functions() {
        // A failure would mean that the device is lost, and with it the memory.
        let _ = call!(functions, free_host(memory.cast()));
    }
}

/// A queue of copies on the current device.
#[derive(Debug)]
pub struct Stream {
    functions: &'static Functions,
    handle: Handle,
}

// SAFETY: CUDA's handles may be used from any thread; the library locks.
unsafe impl Send for Stream {}

impl Stream {
    /// A stream that does not wait for the default stream.
    ///
    /// # Errors
    /// As [`use_device`].
    pub fn try_new() -> Result<Self, String> {
        let functions = functions()?;
        let mut handle = ptr::null_mut();
        call!(functions, stream_create(&raw mut handle, STREAM_NON_BLOCKING))?;
        Ok(Self { functions, handle })
    }

    /// The stream that libtorch's kernels run on.
    ///
    /// # Errors
    /// As [`use_device`].
    pub fn default_stream() -> Result<Self, String> {
        Ok(Self { functions: functions()?, handle: ptr::null_mut() })
    }

    /// Lets what is queued from here on wait for `event`.
    ///
    /// # Errors
    /// The library's words.
    pub fn wait_for(&self, event: &Event) -> Result<(), String> {
        call!(self.functions, stream_wait_event(self.handle, event.handle, 0))
    }

    /// Queues a copy of `bytes` from the host to the device and returns at once.
    ///
    /// # Errors
    /// The library's words.
    ///
    /// # Safety
    /// Both ranges stay allocated, and nothing writes to either, until an event recorded on this stream after the copy
    /// has passed.
    pub unsafe fn copy_to_device(&self, to: *mut c_void, from: *const u8, bytes: usize) -> Result<(), String> {
        call!(self.functions, memcpy_async(to, from.cast(), bytes, MEMCPY_HOST_TO_DEVICE, self.handle))
    }

    /// The same from the device to the host.
    ///
    /// # Errors
    /// The library's words.
    ///
    /// # Safety
    /// As [`Stream::copy_to_device`], and nothing reads what is written before that event.
    pub unsafe fn copy_to_host(&self, to: *mut u8, from: *const c_void, bytes: usize) -> Result<(), String> {
        call!(self.functions, memcpy_async(to.cast(), from, bytes, MEMCPY_DEVICE_TO_HOST, self.handle))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // The library finishes what is queued before it frees the stream.
            let _ = call!(self.functions, stream_destroy(self.handle));
        }
    }
}

/// A place in a stream that the host can wait for.
#[derive(Debug)]
pub struct Event {
    functions: &'static Functions,
    handle: Handle,
}

// SAFETY: as for streams.
unsafe impl Send for Event {}

impl Event {
    /// An event of the current device. Whoever waits for it sleeps, because the core has images to decode.
    ///
    /// # Errors
    /// As [`use_device`].
    pub fn try_new() -> Result<Self, String> {
        let functions = functions()?;
        let mut handle = ptr::null_mut();
        call!(functions, event_create(&raw mut handle, EVENT_BLOCKING_SYNC))?;
        Ok(Self { functions, handle })
    }

    /// Puts the event behind what is queued on `stream`.
    ///
    /// # Errors
    /// The library's words.
    pub fn record(&self, stream: &Stream) -> Result<(), String> {
        call!(self.functions, event_record(self.handle, stream.handle))
    }

    /// Waits until the device has come to the event. One that was never recorded has passed.
    ///
    /// # Errors
    /// The library's words, also for what went wrong in the work before the event.
    pub fn wait(&self) -> Result<(), String> {
        call!(self.functions, event_synchronize(self.handle))
    }

    /// Milliseconds on the device from `earlier` to this event; both have passed.
    ///
    /// # Errors
    /// The library's words.
    pub fn milliseconds_since(&self, earlier: &Self) -> Result<f32, String> {
        let mut milliseconds = 0.0;
        call!(self.functions, event_elapsed(&raw mut milliseconds, earlier.handle, self.handle))?;
        Ok(milliseconds)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let _ = call!(self.functions, event_destroy(self.handle));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names and types hold for the library that libtorch brings; without a driver every call says so in words.
    #[test]
    fn the_library_answers_in_words() {
        let _uses_libtorch = tch::Tensor::from_slice(&[0.0f32]);
        let functions = functions().expect("libtorch's CUDA runtime");
        let message = functions.check(1, "a call").expect_err("1 is an error");
        assert_eq!(message, "CUDA error 1 from a call: invalid argument");
        match compute_capability(0) {
            Ok((major, _)) => assert!(major >= 5),
            Err(message) => assert!(message.starts_with("CUDA error "), "{message}"),
        }
    }
}
