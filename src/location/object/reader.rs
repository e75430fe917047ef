//! Parts of an object, fetched before they are asked for.
//!
//! The parts that will be read are cut into segments. Asking for one begins the requests for the next ones, so that a
//! reader that goes forward waits for the first alone; a few segments are kept, because the columns of a Parquet file
//! are read side by side.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};

use super::fault;
use super::runtime::Pending;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Bytes of one request: enough that its round trip does not count, few enough for a slow line.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Requests that run ahead of the reader.
const AHEAD: usize = 4;
/// Segments that are kept: for each of a few columns the one that is read and those ahead of it.
const KEPT: usize = 16;
/// A gap between parts that is fetched with them: a request costs more.
const MAX_GAP_BYTES: u64 = 512 << 10;
/// The end of the object, where formats keep their tables of contents, is fetched in one piece.
const TAIL_BYTES: u64 = 64 << 10;

/// Reads one state of an object: if it is replaced meanwhile, reading fails.
#[derive(Debug)]
pub(in crate::location) struct ObjectReader {
    source: Source,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
struct Source {
    url: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
    etag: Option<String>,
    cancel: Cancel,
}

#[derive(Debug, Default)]
struct State {
    /// What will be read, in order. Segments are cut from it as they are needed: a server may claim any size.
    plan: Vec<Range<u64>>,
    /// By their first byte.
    segments: BTreeMap<u64, Segment>,
    /// First bytes of segments, the one that was asked for longest ago first.
    used: VecDeque<u64>,
    tail: Option<Bytes>,
}

#[derive(Debug)]
enum Segment {
    Coming(Pending<object_store::Result<Bytes>>),
    There(Bytes),
}

impl ObjectReader {
    pub fn new(url: String, store: Arc<dyn ObjectStore>, meta: ObjectMeta, cancel: Cancel) -> Self {
        let source = Source { url, store, path: meta.location, size: meta.size, etag: meta.e_tag, cancel };
        Self { source, state: Mutex::default() }
    }

    pub fn url(&self) -> &str {
        &self.source.url
    }

    pub fn len(&self) -> u64 {
        self.source.size
    }

    /// Names the parts that will be read.
    pub fn will_read(&self, ranges: &[Range<u64>]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { plan: plan(ranges, self.source.size), tail: state.tail.take(), ..State::default() };
    }

    /// Bytes of the object, which must be within it.
    pub fn read_at(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let end = start + length as u64;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let read = match state.is_planned(start..end) {
            true => state.planned_bytes(start..end, &self.source),
            false => state.other_bytes(start..end, &self.source),
        };
        read.map_err(|error| match error {
            Error::Io { source, .. } => source,
            other => io::Error::other(other.to_string()),
        })
    }
}

impl State {
    /// Whether all of a part will be read.
    fn is_planned(&self, range: Range<u64>) -> bool {
        self.planned(range.start).is_some_and(|planned| range.end <= planned.end)
    }

    /// The planned part in which a place lies.
    fn planned(&self, at: u64) -> Option<&Range<u64>> {
        let after = self.plan.partition_point(|planned| planned.end <= at);
        self.plan.get(after).filter(|planned| planned.start <= at)
    }

    /// The segment in which a place lies, or the first one after it.
    fn segment_from(&self, at: u64) -> Option<Range<u64>> {
        let planned = self.plan.get(self.plan.partition_point(|planned| planned.end <= at))?;
        let number = at.saturating_sub(planned.start) / SEGMENT_BYTES;
        let start = planned.start + number * SEGMENT_BYTES;
        Some(start..planned.end.min(start.saturating_add(SEGMENT_BYTES)))
    }

    fn planned_bytes(&mut self, range: Range<u64>, source: &Source) -> Result<Bytes> {
        let mut joined = Vec::new();
        let mut at = range.start;
        loop {
            let segment = self.segment_from(at).expect("the part is planned");
            let bytes = self.segment(&segment, source)?;
            let within = |at: u64| usize::try_from(at - segment.start).expect("a segment fits into memory");
            let part = within(at)..within(range.end.min(segment.end));
            if at == range.start && range.end <= segment.end {
                return Ok(bytes.slice(part));
            }
            joined.extend_from_slice(&bytes[part]);
            if range.end <= segment.end {
                return Ok(joined.into());
            }
            at = segment.end;
        }
    }

    /// A segment, with the requests for those after it begun.
    fn segment(&mut self, wanted: &Range<u64>, source: &Source) -> Result<Bytes> {
        let mut ahead = Some(wanted.clone());
        for _ in 0..=AHEAD {
            let Some(segment) = ahead else { break };
            if let Entry::Vacant(place) = self.segments.entry(segment.start) {
                place.insert(Segment::Coming(Pending::start(source.clone().fetch(segment.clone()))?));
                self.used.push_back(segment.start);
            }
            ahead = self.segment_from(segment.end);
        }
        let bytes = match &self.segments[&wanted.start] {
            Segment::There(bytes) => bytes.clone(),
            Segment::Coming(request) => {
                let answer = request.wait(&source.cancel);
                // A request that failed is made anew when the part is asked for again.
                let bytes = answer.and_then(|answer| answer.map_err(|error| fault::about(&source.url, &error)));
                let bytes = bytes.inspect_err(|_| drop(self.segments.remove(&wanted.start)))?;
                self.segments.insert(wanted.start, Segment::There(bytes.clone()));
                bytes
            }
        };
        self.used.retain(|used| *used != wanted.start && self.segments.contains_key(used));
        self.used.push_back(wanted.start);
        while self.used.len() > KEPT {
            let oldest = self.used.pop_front().expect("there are some");
            self.segments.remove(&oldest);
        }
        Ok(bytes)
    }

    /// Bytes that nobody announced: the end of the object, or a part of their own.
    fn other_bytes(&mut self, range: Range<u64>, source: &Source) -> Result<Bytes> {
        let tail_at = source.size.saturating_sub(TAIL_BYTES);
        if range.start < tail_at {
            return source.fetch_now(range);
        }
        if self.tail.is_none() {
            self.tail = Some(source.fetch_now(tail_at..source.size)?);
        }
        let within = |at: u64| usize::try_from(at - tail_at).expect("the end is short");
        Ok(self.tail.as_ref().map_or_else(Bytes::new, |tail| tail.slice(within(range.start)..within(range.end))))
    }
}

impl Source {
    async fn fetch(self, range: Range<u64>) -> object_store::Result<Bytes> {
        let options =
            GetOptions { range: Some(GetRange::Bounded(range)), if_match: self.etag, ..GetOptions::default() };
        self.store.get_opts(&self.path, options).await?.bytes().await
    }

    fn fetch_now(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        Pending::start(self.clone().fetch(range))?.wait(&self.cancel)?.map_err(|error| fault::about(&self.url, &error))
    }
}

/// The parts in order, joined where they are near each other.
fn plan(ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = ranges
        .iter()
        .map(|range| range.start.min(size)..range.end.min(size))
        .filter(|range| !range.is_empty())
        .collect();
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(MAX_GAP_BYTES) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutPayload};

    use super::super::runtime;
    use super::*;

    const SIZE: usize = 21 << 20;

    fn byte(at: usize) -> u8 {
        (at.wrapping_mul(2_654_435_761) >> 13) as u8
    }

    fn reader() -> (Arc<InMemory>, ObjectReader) {
        let (store, path) = (Arc::new(InMemory::new()), Path::from("x"));
        let bytes: Vec<u8> = (0..SIZE).map(byte).collect();
        let (writer, to) = (Arc::clone(&store), path.clone());
        let meta = async move {
            writer.put(&to, PutPayload::from(bytes)).await?;
            writer.head(&to).await
        };
        let meta = runtime::wait(meta, &Cancel::default()).expect("answered").expect("stored");
        (Arc::clone(&store), ObjectReader::new("memory://x".into(), store, meta, Cancel::default()))
    }

    fn check(reader: &ObjectReader, start: usize, length: usize) {
        let bytes = reader.read_at(start as u64, length).expect("within");
        assert_eq!(bytes.len(), length);
        assert!(bytes.iter().enumerate().all(|(at, value)| *value == byte(start + at)), "{start} + {length}");
    }

    #[test]
    fn parts_come_from_segments_from_the_end_and_from_elsewhere() {
        let (_, reader) = reader();
        check(&reader, SIZE - 8, 8);
        check(&reader, 1000, 8);
        reader.will_read(&[0..2 << 20, (2 << 20) + 100..9 << 20, 12 << 20..SIZE as u64]);
        for (start, length) in [(0, 10), (3 << 20, 4 << 20), (8 << 20, 1 << 20), (12 << 20, 9 << 20), (10 << 20, 100)] {
            check(&reader, start, length);
        }
        // Across the end of what was announced.
        check(&reader, (9 << 20) - 10, 20);
        let state = reader.state.lock().expect("no panic");
        assert!(state.segments.len() <= KEPT && state.used.len() == state.segments.len());
    }

    #[test]
    fn an_object_that_is_replaced_is_not_read_as_two_halves() {
        let (store, reader) = reader();
        reader.will_read(std::slice::from_ref(&(0..SIZE as u64)));
        check(&reader, 0, 10);
        let put = async move { store.put(&Path::from("x"), PutPayload::from_static(b"other")).await };
        runtime::wait(put, &Cancel::default()).expect("answered").expect("stored");
        let error = reader.read_at(20 << 20, 10).expect_err("replaced");
        assert!(error.to_string().contains("replaced while it was read"), "{error}");
    }

    #[test]
    fn segments_follow_what_is_wanted() {
        let mib = |from: u64, to: u64| from << 20..to << 20;
        let segments = |ranges: &[Range<u64>]| {
            let state = State { plan: plan(ranges, 100 << 20), ..State::default() };
            let mut found: Vec<Range<u64>> = state.segment_from(0).into_iter().collect();
            while let Some(next) = found.last().and_then(|last| state.segment_from(last.end)) {
                found.push(next);
            }
            found
        };
        assert_eq!(segments(&[mib(0, 1), mib(1, 6)]), [mib(0, 4), mib(4, 6)]);
        assert_eq!(segments(&[mib(50, 51), mib(0, 1)]), [mib(0, 1), mib(50, 51)]);
        assert_eq!(segments(&[mib(0, 1), mib(200, 201)]), [mib(0, 1)]);
        // However large a server says that the object is, the plan is one part.
        assert_eq!(plan(std::slice::from_ref(&(0..u64::MAX)), u64::MAX).len(), 1);
    }
}
