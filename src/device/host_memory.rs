//! Memory on the host that several threads fill, each its own part, and a device then reads as a whole.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use super::cuda;

/// Bytes at which pageable memory begins: a cache line.
const ALIGNMENT: usize = 64;

/// Bytes that are allocated once and used again and again.
#[derive(Debug)]
pub struct HostMemory {
    start: NonNull<u8>,
    bytes: usize,
    is_pinned: bool,
}

// SAFETY: it owns its bytes, and only `&mut` gives a way to write them.
unsafe impl Send for HostMemory {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// Page-locked memory, which a GPU reads beside what it computes, or ordinary memory where the system refuses to
    /// lock that much: the copies then take longer and are as right.
    ///
    /// # Panics
    /// For no bytes at all.
    pub fn pinned_or_pageable(bytes: usize) -> Self {
        assert!(bytes > 0, "a slot holds at least one image");
        match cuda::allocate_pinned(bytes).map(NonNull::new) {
            Ok(Some(start)) => {
                // SAFETY: the library has just given this many bytes, and nobody else knows of them.
                unsafe { start.write_bytes(0, bytes) };
                Self { start, bytes, is_pinned: true }
            }
            refused => {
                let reason = refused.err().unwrap_or_default();
                log::info!("{bytes} bytes of page-locked memory are refused ({reason}); ordinary memory is used");
                let layout = layout(bytes);
                // SAFETY: the layout is not empty.
                let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
                Self { start, bytes, is_pinned: false }
            }
        }
    }

    /// Lends it out in parts of `part_bytes`, the last one with the rest.
    ///
    /// # Panics
    /// For parts of no bytes.
    pub fn split(self, part_bytes: usize) -> (LentMemory, Vec<HostPart>) {
        assert!(part_bytes > 0, "a part holds at least one image");
        let whole = Arc::new(self);
        let part = |first| HostPart { whole: Arc::clone(&whole), first, bytes: part_bytes.min(whole.bytes - first) };
        let parts = (0..whole.bytes).step_by(part_bytes).map(part).collect();
        (LentMemory(whole), parts)
    }
}

/// A [`HostMemory`] whose parts are lent out. It gives no way to its bytes.
#[derive(Debug)]
pub struct LentMemory(Arc<HostMemory>);

impl LentMemory {
    /// The whole again, where no part is left.
    ///
    /// # Errors
    /// The same, while a part is lent out.
    pub fn rejoin(self) -> Result<HostMemory, Self> {
        Arc::try_unwrap(self.0).map_err(Self)
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGNMENT).expect("the size of a slot is far below the address space")
}

impl Deref for HostMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the bytes were zeroed when they were allocated and live as long as `self`. No part can write
        // meanwhile: while parts exist, the memory lies in the private fields of these and of a `LentMemory`, which do
        // not read it.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl DerefMut for HostMemory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; `&mut self` excludes other readers, and an `Arc` with parts gives no `&mut`.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        match self.is_pinned {
            // SAFETY: allocated by this function's counterpart, given back once; nobody holds a reference any more.
            true => unsafe { cuda::free_pinned(self.start.as_ptr()) },
            // SAFETY: allocated with this layout.
            false => unsafe { dealloc(self.start.as_ptr(), layout(self.bytes)) },
        }
    }
}

/// A part of a [`HostMemory`] that one thread may write.
#[derive(Debug)]
pub struct HostPart {
    whole: Arc<HostMemory>,
    first: usize,
    bytes: usize,
}

impl Deref for HostPart {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the parts of one memory do not overlap, each exists once, and the memory lives as long as they do.
        unsafe { slice::from_raw_parts(self.whole.start.as_ptr().add(self.first), self.bytes) }
    }
}

impl DerefMut for HostPart {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` excludes other readers of this part.
        unsafe { slice::from_raw_parts_mut(self.whole.start.as_ptr().add(self.first), self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_filled_by_threads_and_the_whole_comes_back() {
        // Without a driver the library refuses, and ordinary memory stands in.
        let mut memory = HostMemory::pinned_or_pageable(1000);
        assert!(memory.iter().all(|&byte| byte == 0));
        for round in 0..3u8 {
            let (whole, parts) = memory.split(64);
            assert_eq!((parts.len(), parts.last().map(|part| part.len())), (16, Some(40)));
            let mut parts = parts.into_iter();
            let kept = parts.next();
            std::thread::scope(|scope| {
                for mut part in parts {
                    scope.spawn(move || {
                        let value = round + (part.first / 64) as u8;
                        part.fill(value);
                    });
                }
            });
            let whole = whole.rejoin().expect_err("a part is lent out");
            drop(kept);
            memory = whole.rejoin().expect("all parts are dropped");
            let expected = |at: usize| if at < 64 { 0 } else { round + (at / 64) as u8 };
            assert!(memory.iter().enumerate().all(|(at, &byte)| byte == expected(at)));
        }
        memory[0] = 7;
        assert_eq!(memory[0], 7);
    }
}
