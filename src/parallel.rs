//! Streams over threads while their order is kept and memory stays bounded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::error::{Error, Result};

/// Items in flight for each thread: one being worked on, one waiting.
pub const IN_FLIGHT_PER_THREAD: usize = 2;

type Task<T, R> = (T, Sender<R>);

/// Iterator over `function(item)` in the order of the items. Dropping it stops the threads after their current item.
#[derive(Debug)]
pub struct OrderedMap<I: Iterator, R> {
    items: I,
    tasks: Option<Sender<Task<I::Item, R>>>,
    /// Tells the threads to leave the queue as it is.
    stopped: Arc<AtomicBool>,
    in_flight: VecDeque<Receiver<R>>,
    limit: usize,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Maps `items` on `threads` threads.
///
/// # Errors
/// [`Error::Io`] if the system gives no more threads.
pub fn ordered_map<I, R, F>(items: I, threads: usize, function: F) -> Result<OrderedMap<I, R>>
where
    I: Iterator,
    I::Item: Send + 'static,
    R: Send + 'static,
    F: Fn(I::Item) -> R + Send + Sync + 'static,
{
    let threads = threads.max(1);
    let limit = threads * IN_FLIGHT_PER_THREAD;
    let (tasks, receiver) = bounded::<Task<I::Item, R>>(limit);
    let (function, stopped) = (Arc::new(function), Arc::new(AtomicBool::new(false)));
    let mut handles = Vec::with_capacity(threads);
    for _ in 0..threads {
        let (receiver, function, stopped) = (receiver.clone(), Arc::clone(&function), Arc::clone(&stopped));
        let body = move || {
            for (item, answer) in receiver.iter().take_while(|_| !stopped.load(Ordering::Relaxed)) {
                // Nobody listens any more once the iterator was dropped.
                let _ = answer.send(function(item));
            }
        };
        let handle = thread::Builder::new().name("dismax-decode".into()).spawn(body);
        handles.push(handle.map_err(|error| Error::io("starting a thread", error))?);
    }
    Ok(OrderedMap { items, tasks: Some(tasks), stopped, in_flight: VecDeque::new(), limit, threads: handles })
}

impl<I: Iterator, R> Iterator for OrderedMap<I, R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.in_flight.len() < self.limit
            && let Some(tasks) = &self.tasks
        {
            match self.items.next() {
                Some(item) => {
                    let (answer, receiver) = bounded(1);
                    // The queue takes as many as are in flight, so this never waits; a dead pool shows below.
                    let _ = tasks.send((item, answer));
                    self.in_flight.push_back(receiver);
                }
                None => self.tasks = None,
            }
        }
        let answer = self.in_flight.pop_front()?;
        Some(answer.recv().map_err(|_| Error::Internal("a decoding thread ended unexpectedly".into())))
    }
}

impl<I: Iterator, R> Drop for OrderedMap<I, R> {
    fn drop(&mut self) {
        self.tasks = None;
        self.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic has already shown as an error to whoever asked for the item.
            let _ = thread.join();
        }
    }
}

/// Iterator over what a thread of its own reads ahead.
#[derive(Debug)]
pub struct ReadAhead<T> {
    /// Ends with `None`: a thread that panicked must not look like the end.
    items: Receiver<Option<T>>,
    ended: bool,
}

/// Reads `items` on a thread of its own, at most `ahead` of them before they are asked for. Once the iterator is
/// dropped, the thread ends with the item that it reads.
///
/// # Errors
/// [`Error::Io`] if the system gives no more threads.
pub fn read_ahead<I>(items: I, ahead: usize) -> Result<ReadAhead<I::Item>>
where
    I: Iterator + Send + 'static,
    I::Item: Send + 'static,
{
    let (sender, receiver) = bounded(ahead);
    let read = move || {
        for item in items.map(Some).chain([None]) {
            if sender.send(item).is_err() {
                return;
            }
        }
    };
    // Nobody waits for the thread: it may be reading from a pipe into which nothing comes.
    let thread = thread::Builder::new().name("dismax-reader".into()).spawn(read);
    thread.map_err(|error| Error::io("starting a thread", error))?;
    Ok(ReadAhead { items: receiver, ended: false })
}

impl<T> Iterator for ReadAhead<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.items.recv();
        self.ended = !matches!(item, Ok(Some(_)));
        match item {
            Ok(item) => item.map(Ok),
            Err(_) => Some(Err(Error::Internal("the reading thread ended unexpectedly".into()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn order_is_kept_and_reading_ahead_is_bounded() {
        let read = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let items = (0..1000usize).inspect(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let slow_first = |item: usize| {
            thread::sleep(std::time::Duration::from_micros(if item.is_multiple_of(7) { 300 } else { 1 }));
            item * 2
        };
        let mut map = ordered_map(items, 3, slow_first).expect("threads");
        for expected in 0..1000 {
            assert_eq!(map.next().expect("an item").expect("no panic"), expected * 2);
            assert!(read.load(Ordering::SeqCst) <= expected + 1 + 6);
        }
        assert!(map.next().is_none());
    }

    #[test]
    fn dropping_early_leaves_the_queue_undone() {
        let done = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&done);
        let (begun, at_work) = bounded::<()>(100);
        let (go, gate) = bounded::<()>(100);
        // The first item goes through, the next two are held at work, and the fourth is queued behind them.
        let mut map = ordered_map(0..100, 2, move |item| {
            begun.send(()).expect("the test listens");
            if item > 0 {
                let _ = gate.recv();
            }
            counter.fetch_add(1, Ordering::SeqCst);
            item
        })
        .expect("threads");
        assert_eq!(map.next().expect("an item").expect("no panic"), 0);
        (0..3).for_each(|_| at_work.recv().expect("a thread at work"));
        let stopped = Arc::clone(&map.stopped);
        let opener = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            drop(go);
        });
        drop(map);
        opener.join().expect("no panic");
        assert_eq!(done.load(Ordering::SeqCst), 3, "the queued item was worked on");
    }

    #[test]
    fn reading_ahead_is_bounded_and_a_panic_is_no_end() {
        let (read, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
        let (counter, held) = (Arc::clone(&read), Arc::clone(&ends));
        let items = (0..1000).inspect(move |_| {
            let _ = &held;
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let mut ahead = read_ahead(items, 3).expect("a thread");
        for expected in 0..100 {
            assert_eq!(ahead.next().expect("an item").expect("no panic"), expected);
            assert!(read.load(Ordering::SeqCst) <= expected + 1 + 3 + 1, "one in hand, three waiting");
        }
        drop(ahead);
        while Arc::strong_count(&ends) > 1 {
            thread::yield_now();
        }
        let mut ahead = read_ahead((0..3).inspect(|item| assert!(*item != 2, "two")), 1).expect("a thread");
        assert_eq!(
            (ahead.next().expect("an item").expect("no panic"), ahead.next().expect("an item").expect("no panic")),
            (0, 1)
        );
        assert!(matches!(ahead.next(), Some(Err(Error::Internal(_)))) && ahead.next().is_none());
    }

    #[test]
    fn a_panic_becomes_an_error_and_dropping_early_ends_the_threads() {
        let mut map = ordered_map(0..10, 1, |item| assert!(item != 2, "two")).expect("threads");
        assert!(map.next().is_some_and(|item| item.is_ok()));
        assert!(map.next().is_some_and(|item| item.is_ok()));
        assert!(matches!(map.next(), Some(Err(Error::Internal(_)))));
        drop(map);
    }
}
