//! Streams over threads while their order is kept and memory stays bounded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

/// Iterator over the items of several iterators, one after the other, that threads of its own read ahead.
#[derive(Debug)]
pub struct ReadAhead<T> {
    /// The items of each part. They end with `None`: a thread that panicked must not look like the end.
    parts: Receiver<Receiver<Option<T>>>,
    current: Option<Receiver<Option<T>>>,
}

/// Reads the items of `parts` on so many threads, each a part at a time, at most `ahead` items of a part before they
/// are asked for. Once the iterator is dropped, each thread ends with the item that it reads.
///
/// # Errors
/// [`Error::Io`] if the system gives no more threads.
pub fn read_ahead<P>(parts: P, threads: usize, ahead: usize) -> Result<ReadAhead<<P::Item as Iterator>::Item>>
where
    P: Iterator<Item: Iterator<Item: Send + 'static> + 'static> + Send + 'static,
{
    let threads = threads.max(1);
    let (sender, receiver) = bounded(threads);
    let queue = Arc::new(Mutex::new((parts, sender)));
    for _ in 0..threads {
        let queue = Arc::clone(&queue);
        let read = move || {
            loop {
                let (items, part) = bounded(ahead);
                let taken = {
                    // Whoever panicked while it held the lock has told of it by the part that it did not end.
                    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    let (parts, sender) = &mut *queue;
                    // Announced before it is taken, so that a panic in between shows.
                    if sender.send(part).is_err() {
                        return;
                    }
                    parts.next()
                };
                let Some(taken) = taken else {
                    // The mark of the end; nobody may listen any more.
                    let _ = items.send(None);
                    return;
                };
                for item in taken.map(Some).chain([None]) {
                    if items.send(item).is_err() {
                        return;
                    }
                }
            }
        };
        // Nobody waits for the thread: it may be reading from a pipe into which nothing comes.
        let thread = thread::Builder::new().name("dismax-reader".into()).spawn(read);
        thread.map_err(|error| Error::io("starting a thread", error))?;
    }
    Ok(ReadAhead { parts: receiver, current: None })
}

impl<T> Iterator for ReadAhead<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(part) = &self.current else {
                // The queue ends with the last thread.
                self.current = Some(self.parts.recv().ok()?);
                continue;
            };
            match part.recv() {
                Ok(Some(item)) => return Some(Ok(item)),
                Ok(None) => self.current = None,
                Err(_) => {
                    self.current = None;
                    return Some(Err(Error::Internal("a reading thread ended unexpectedly".into())));
                }
            }
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
        let mut ahead = read_ahead([items].into_iter(), 1, 3).expect("a thread");
        for expected in 0..100 {
            assert_eq!(ahead.next().expect("an item").expect("no panic"), expected);
            assert!(read.load(Ordering::SeqCst) <= expected + 1 + 3 + 1, "one in hand, three waiting");
        }
        drop(ahead);
        while Arc::strong_count(&ends) > 1 {
            thread::yield_now();
        }
        let items = (0..3).inspect(|item| assert!(*item != 2, "two"));
        let mut ahead = read_ahead([items].into_iter(), 1, 1).expect("a thread");
        assert_eq!(
            (ahead.next().expect("an item").expect("no panic"), ahead.next().expect("an item").expect("no panic")),
            (0, 1)
        );
        assert!(matches!(ahead.next(), Some(Err(Error::Internal(_)))) && ahead.next().is_none());
    }

    #[test]
    fn parts_are_read_beside_each_other_and_their_order_is_kept() {
        // Each part waits until the one behind it was begun.
        let begun: Vec<_> = (0..20).map(|_| bounded::<()>(1)).collect();
        let parts: Vec<_> = (0..20)
            .map(|part| {
                let (mine, next) = (begun[part].0.clone(), begun.get(part + 1).map(|(_, next)| next.clone()));
                let items = (0..5).inspect(move |item| match (item, &next) {
                    (0, _) => mine.send(()).expect("there is room"),
                    (1, Some(next)) => next.recv().expect("it is begun"),
                    _ => {}
                });
                items.map(move |item| part * 5 + item)
            })
            .collect();
        let items: Result<Vec<usize>> = read_ahead(parts.into_iter(), 3, 1).expect("threads").collect();
        assert_eq!(items.expect("no panic"), (0..100).collect::<Vec<_>>());

        let parts = (0..3).map(|part| (0..3).inspect(move |item| assert!((part, *item) != (1, 1), "one")));
        let items: Vec<_> = read_ahead(parts, 2, 1).expect("threads").map(Result::ok).collect();
        assert_eq!(items[..5], [Some(0), Some(1), Some(2), Some(0), None], "a panic is no end");
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
