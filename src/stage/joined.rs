//! Small items made one: thousands of files with a row each should not cost as many passes through the network.

use std::iter::Fuse;

use super::scored::Scored;
use crate::dataset::InputRows;
use crate::error::Result;

/// What belongs to each of the items that were joined, with the number of its rows.
type Parts<T> = Vec<(T, usize)>;

/// Joins items that follow each other until they have enough rows.
#[derive(Debug)]
pub(super) struct Joined<I: Iterator> {
    items: Fuse<I>,
    rows: usize,
    bytes: usize,
    /// Ended the last item early.
    held: Option<I::Item>,
}

impl<I: Iterator> Joined<I> {
    /// So many rows are enough, or so many bytes.
    pub fn new(items: I, rows: usize, bytes: usize) -> Self {
        Self { items: items.fuse(), rows, bytes, held: None }
    }
}

impl<T, I: Iterator<Item = Result<(InputRows, T)>>> Iterator for Joined<I> {
    type Item = Result<(InputRows, Parts<T>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut inputs, mut parts, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
        while parts.is_empty() || rows < self.rows && bytes < self.bytes {
            match self.held.take().or_else(|| self.items.next()) {
                Some(Ok((more, mine))) => {
                    rows += more.len();
                    bytes += more.bytes();
                    parts.push((mine, more.len()));
                    inputs.push(more);
                }
                Some(Err(error)) if parts.is_empty() => return Some(Err(error)),
                // What came before is scored first.
                Some(error) => {
                    self.held = Some(error);
                    break;
                }
                None => break,
            }
        }
        let inputs = if inputs.len() > 1 { InputRows::joined(inputs) } else { inputs.pop()? };
        Some(Ok((inputs, parts)))
    }
}

/// The scores of joined items, each for itself.
pub(super) fn apart<T, V>(scored: Result<(Parts<T>, Scored<V>)>) -> impl Iterator<Item = Result<(T, Scored<V>)>> {
    let (parts, error) = match scored {
        Ok((parts, scored)) => {
            let lengths: Vec<usize> = parts.iter().map(|(_, rows)| *rows).collect();
            let scored = if parts.len() > 1 { scored.split(&lengths) } else { vec![scored] };
            (parts.into_iter().map(|(mine, _)| mine).zip(scored).collect(), None)
        }
        Err(error) => (Vec::new(), Some(error)),
    };
    parts.into_iter().map(Ok).chain(error.map(Err))
}
