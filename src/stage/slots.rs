//! Where images wait for a device: a few blocks of memory that are allocated once, filled by all workers together.
//!
//! A slot is one pass of the device. Workers copy what they decoded to parts of the open slot; they wait for room,
//! never for logits, and nobody waits for an image that is slow to decode. A slot closes when all its parts are taken,
//! when nothing is left to decode, or when it has kept an idle device waiting for [`PATIENCE`]. Once all its taken
//! parts are back, it goes to a device.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::item::ItemScores;
use crate::device::{HostMemory, HostPart, LentMemory};

/// How long an idle device waits for an open slot to fill.
const PATIENCE: Duration = Duration::from_millis(2);
/// Bytes that a worker hands over at once: it should not come back for every thumbnail.
const PART_BYTES: usize = 64 << 10;

/// Rows and bytes of a slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotShape {
    /// Rows in a slot.
    pub rows: usize,
    /// Rows in a part of it.
    part_rows: usize,
    /// Bytes of a preprocessed image.
    pub image_bytes: usize,
}

impl SlotShape {
    /// # Panics
    /// For no rows.
    pub fn new(rows: usize, image_bytes: usize) -> Self {
        assert!(rows > 0, "a slot holds at least one image");
        let most = (PART_BYTES / image_bytes).clamp(1, rows);
        // All parts are of one size.
        let part_rows = (1..=most).rev().find(|part_rows| rows.is_multiple_of(*part_rows));
        Self { rows, part_rows: part_rows.expect("1 divides everything"), image_bytes }
    }

    /// Bytes of a slot.
    pub fn bytes(&self) -> usize {
        self.rows * self.image_bytes
    }
}

/// The slots of a stage.
#[derive(Debug)]
pub(super) struct Slots {
    shape: SlotShape,
    state: Mutex<State>,
    /// A slot became free, or nothing more will.
    room: Condvar,
    /// A slot was filled, got its first rows, or none will.
    work: Condvar,
}

#[derive(Debug)]
struct State {
    slots: Vec<Slot>,
    open: Option<usize>,
    filled: VecDeque<Filled>,
    /// Items that are submitted and not wholly decoded.
    to_decode: usize,
    ended: bool,
}

#[derive(Debug)]
enum Slot {
    Free(HostMemory),
    Filling(Filling),
    /// On its way to a device, or there.
    Away,
}

impl Slot {
    fn as_filling(&mut self) -> Option<&mut Filling> {
        if let Self::Filling(filling) = self { Some(filling) } else { None }
    }

    fn into_filling(self) -> Option<Filling> {
        if let Self::Filling(filling) = self { Some(filling) } else { None }
    }
}

#[derive(Debug)]
struct Filling {
    memory: LentMemory,
    /// Parts that nobody took yet, the first one last.
    untaken: Vec<(usize, HostPart)>,
    /// Parts that workers have.
    taken: usize,
    back: Vec<FilledPart>,
    /// When the first part came back.
    since: Option<Instant>,
}

/// Rows of one item that lie behind each other in a slot.
#[derive(Debug)]
pub(super) struct FilledPart {
    /// Row of the slot at which they begin.
    pub first: usize,
    /// Their rows in the item.
    pub rows: Vec<usize>,
    /// Whose they are.
    pub item: Arc<ItemScores>,
}

/// A slot that is ready for a device.
#[derive(Debug)]
pub(super) struct Filled {
    slot: SlotNumber,
    pub pixels: HostMemory,
    /// What is in it. Between the parts there may be rows that nobody wants.
    pub parts: Vec<FilledPart>,
    /// Rows up to the last one that somebody wants.
    pub rows: usize,
}

impl Filled {
    /// Takes the memory out; [`Slots::give_back`] wants the number again.
    pub fn into_parts(self) -> (SlotNumber, HostMemory, Vec<FilledPart>, usize) {
        (self.slot, self.pixels, self.parts, self.rows)
    }
}

/// Which slot some memory belongs to.
#[derive(Debug)]
pub(super) struct SlotNumber(usize);

/// Counts an item among those that are to be decoded, until it is dropped.
#[derive(Debug)]
pub(super) struct ToDecode(Arc<Slots>);

impl Drop for ToDecode {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.to_decode -= 1;
        if state.to_decode == 0 {
            self.0.close_open(&mut state);
        }
    }
}

impl Slots {
    pub fn new(count: usize, shape: SlotShape) -> Self {
        let slots = (0..count).map(|_| Slot::Free(HostMemory::pinned_or_pageable(shape.bytes()))).collect();
        let state = State { slots, open: None, filled: VecDeque::new(), to_decode: 0, ended: false };
        Self { shape, state: Mutex::new(state), room: Condvar::new(), work: Condvar::new() }
    }

    /// Counts one more item that will be decoded.
    pub fn expect_item(self: &Arc<Self>) -> ToDecode {
        self.lock().to_decode += 1;
        ToDecode(Arc::clone(self))
    }

    /// Rows that are handed over at once.
    pub fn part_rows(&self) -> usize {
        self.shape.part_rows
    }

    /// Copies images to the open slot; waits for room. `rows` says which of `item` they are, at most
    /// [`Slots::part_rows`]. False once no device is left.
    pub fn put(&self, pixels: &[u8], rows: Vec<usize>, item: &Arc<ItemScores>) -> bool {
        assert!(rows.len() <= self.shape.part_rows && pixels.len() == rows.len() * self.shape.image_bytes);
        let Some((slot, first, mut memory)) = self.take_part() else { return false };
        memory[..pixels.len()].copy_from_slice(pixels);
        // The part goes first, so that the whole can be put together again.
        drop(memory);
        self.part_back(slot, FilledPart { first, rows, item: Arc::clone(item) });
        true
    }

    /// A part of the open slot: which slot, at which of its rows, and the memory.
    fn take_part(&self) -> Option<(usize, usize, HostPart)> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            if let Some(slot) = state.open.or_else(|| self.open(&mut state)) {
                let filling = state.filling(slot);
                let (first, memory) = filling.untaken.pop().expect("an open slot has parts");
                filling.taken += 1;
                if filling.untaken.is_empty() {
                    state.open = None;
                }
                return Some((slot, first, memory));
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn open(&self, state: &mut State) -> Option<usize> {
        let slot = state.slots.iter().position(|slot| matches!(slot, Slot::Free(_)))?;
        let Slot::Free(memory) = std::mem::replace(&mut state.slots[slot], Slot::Away) else { return None };
        let (memory, parts) = memory.split(self.shape.part_rows * self.shape.image_bytes);
        let firsts = (0..).step_by(self.shape.part_rows);
        let mut untaken: Vec<_> = firsts.zip(parts).collect();
        untaken.reverse();
        state.slots[slot] = Slot::Filling(Filling { memory, untaken, taken: 0, back: Vec::new(), since: None });
        state.open = Some(slot);
        state.open
    }

    fn part_back(&self, slot: usize, part: FilledPart) {
        let mut state = self.lock();
        let is_open = state.open == Some(slot);
        let filling = state.filling(slot);
        filling.taken -= 1;
        filling.back.push(part);
        if filling.since.is_none() {
            filling.since = Some(Instant::now());
            self.work.notify_one();
        }
        if !is_open && filling.taken == 0 {
            self.fill(&mut state, slot);
        }
    }

    /// Closes the open slot if anything was taken from it.
    fn close_open(&self, state: &mut State) {
        let Some(slot) = state.open else { return };
        let filling = state.filling(slot);
        if filling.taken == 0 && filling.back.is_empty() {
            return;
        }
        filling.untaken.clear();
        let is_back = filling.taken == 0;
        state.open = None;
        if is_back {
            self.fill(state, slot);
        }
    }

    /// A closed slot whose parts are all back is ready for a device.
    fn fill(&self, state: &mut State, slot: usize) {
        let filling = std::mem::replace(&mut state.slots[slot], Slot::Away).into_filling();
        let Filling { memory, untaken, back, .. } = filling.expect("a slot is filled once");
        drop(untaken);
        let pixels = memory.rejoin().expect("all parts are back");
        let rows = back.iter().map(|part| part.first + part.rows.len()).max().expect("a slot closes with rows in it");
        state.filled.push_back(Filled { slot: SlotNumber(slot), pixels, parts: back, rows });
        self.work.notify_one();
    }

    /// The next slot for a device; waits for one. None once the stage ends.
    pub fn next(&self) -> Option<Filled> {
        let mut state = self.lock();
        loop {
            if let Some(filled) = state.filled.pop_front() {
                return Some(filled);
            }
            if state.ended {
                return None;
            }
            let since = state.open.and_then(|slot| state.filling(slot).since);
            let Some(since) = since else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            match PATIENCE.checked_sub(since.elapsed()) {
                Some(left) if !left.is_zero() => {
                    state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => self.close_open(&mut state),
            }
        }
    }

    /// Memory that a device has read can be filled again.
    pub fn give_back(&self, slot: SlotNumber, pixels: HostMemory) {
        self.lock().slots[slot.0] = Slot::Free(pixels);
        self.room.notify_all();
    }

    /// Nothing more is scored: nobody waits any longer.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        // Whoever waits for these sees that their answer is gone.
        state.filled.clear();
        drop(state);
        self.room.notify_all();
        self.work.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn filling(&mut self, slot: usize) -> &mut Filling {
        self.slots[slot].as_filling().expect("an open slot, and one with parts out, is being filled")
    }
}
