//! Scores that several scoring nodes of one plan share.
//!
//! A query may read the same images more than once: a self-join, a subquery on the same files, a view used twice. Each reading
//! has a scoring node, and no two need see the same rows in the same order. So the nodes share scores by what an image is: the
//! first that meets an image has it scored, the others wait for that or find it done.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use dismax::stage::Scored;

use super::answer::{Coming, Sender, Wanted};

/// Memory for the scores of one group of nodes. Images that find no room are scored once by each node.
const MOST_BYTES: usize = 256 << 20;

/// What tells images apart: 128 bits of their content, salted for each plan so that no data can be made to collide.
type Key = [u64; 2];

/// A node's part in scores that it shares.
#[derive(Debug, Clone)]
pub(super) struct Share {
    scores: Arc<SharedScores>,
    /// Which of the nodes it is.
    node: usize,
}

struct SharedScores {
    nodes: usize,
    salts: [QualityRandomState; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    images: HashMap<Key, Image>,
    /// Nodes and partitions that ran since there were no images.
    started: HashSet<(usize, usize)>,
    memory: Option<MemoryReservation>,
    /// Images that found no room.
    turned_away: usize,
}

/// An image that is scored, or is at the workers.
struct Image {
    chunk: Arc<Chunk>,
    row: usize,
    /// Bit by bit the nodes that met it.
    seen: u64,
}

/// A record batch that a stream sent to the workers.
struct Chunk {
    answer: Coming,
    wanted: Weak<()>,
}

/// Where the scores of a record batch's rows come from.
pub(super) struct Claim {
    /// The answers to wait for.
    pub answers: Vec<Wanted>,
    /// For each row which answer, and which row of it.
    pub places: Vec<(usize, usize)>,
    /// What no one has sent to the workers yet, so that the claimant must.
    pub own: Option<Own>,
}

/// Rows to send to the workers.
pub(super) struct Own {
    /// Their numbers in the record batch.
    pub rows: Vec<u64>,
    /// Which of the answers is theirs.
    pub answer: usize,
    pub sender: Sender,
}

impl Share {
    /// A part for each of so many nodes.
    pub fn among(nodes: usize) -> impl Iterator<Item = Self> {
        let salt = || QualityRandomState::with_seed(RandomState::new().hash_one(nodes));
        let scores = Arc::new(SharedScores { nodes, salts: [salt(), salt()], state: Mutex::default() });
        (0..nodes).map(move |node| Self { scores: Arc::clone(&scores), node })
    }

    /// How many nodes share.
    pub fn nodes(&self) -> usize {
        self.scores.nodes
    }

    /// Says that a partition of the node runs. One that ran already means that the plan runs again, maybe on other files: what was
    /// kept is let go.
    pub fn start(&self, partition: usize, pool: &Arc<dyn MemoryPool>) {
        let mut state = self.scores.state();
        if !state.started.insert((self.node, partition)) {
            *state = State::default();
            state.started.insert((self.node, partition));
        }
        state.memory.get_or_insert_with(|| MemoryConsumer::new("dismax shared scores").register(pool));
    }

    /// Says for each row of `images`, a record batch of one column, where its scores come from. `classes` are those of the model.
    pub fn claim(&self, images: &RecordBatch, classes: usize) -> Result<Claim> {
        let keys = self.scores.keys(images)?;
        let image_bytes = classes * size_of::<f32>() + size_of::<(Key, Image)>() + size_of::<Scored>();
        let (sender, own_answer) = Wanted::new();
        let own_chunk = Arc::new(Chunk { answer: own_answer.coming(), wanted: own_answer.token() });
        let mut own_answer = Some(own_answer);

        let (mut chunks, mut answers) = (Vec::new(), Vec::new());
        let (mut places, mut rows) = (Vec::with_capacity(keys.len()), Vec::new());
        let mut state = self.scores.state();
        for (row, key) in (0u64..).zip(keys) {
            let (chunk, answer, place) = match state.find(&key, self.bit()) {
                Some(found) => found,
                None => {
                    let image = Image { chunk: Arc::clone(&own_chunk), row: rows.len(), seen: self.bit() };
                    state.insert(key, image, image_bytes, self.scores.all());
                    rows.push(row);
                    (Arc::clone(&own_chunk), own_answer.take(), rows.len() - 1)
                }
            };
            let known = chunks.iter().position(|known| Arc::ptr_eq(known, &chunk));
            let known = known.unwrap_or_else(|| {
                chunks.push(chunk);
                answers.extend(answer);
                chunks.len() - 1
            });
            places.push((known, place));
        }
        drop(state);
        let answer = chunks.iter().position(|chunk| Arc::ptr_eq(chunk, &own_chunk));
        let own = answer.map(|answer| Own { rows, answer, sender });
        Ok(Claim { answers, places, own })
    }

    fn bit(&self) -> u64 {
        1 << self.node.min(63)
    }
}

impl SharedScores {
    fn state(&self) -> MutexGuard<'_, State> {
        // Between two images the state is whole, whatever ended the other thread.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bits of all nodes.
    fn all(&self) -> u64 {
        u32::try_from(self.nodes).ok().and_then(|nodes| 1u64.checked_shl(nodes)).map_or(u64::MAX, |past| past - 1)
    }

    fn keys(&self, images: &RecordBatch) -> Result<Vec<Key>> {
        let [mut first, mut second] = [(); 2].map(|()| vec![0; images.num_rows()]);
        create_hashes(images.columns(), &self.salts[0], &mut first)?;
        create_hashes(images.columns(), &self.salts[1], &mut second)?;
        Ok(first.into_iter().zip(second).map(|(first, second)| [first, second]).collect())
    }
}

impl State {
    /// The answer that has or will have the scores of an image, and the row there. An answer that its stream gave up is none.
    fn find(&mut self, key: &Key, node: u64) -> Option<(Arc<Chunk>, Option<Wanted>, usize)> {
        let image = self.images.get_mut(key)?;
        let answer = Wanted::again(&image.chunk.answer, &image.chunk.wanted)?;
        image.seen |= node;
        Some((Arc::clone(&image.chunk), Some(answer), image.row))
    }

    /// Keeps an image where there is room.
    fn insert(&mut self, key: Key, image: Image, bytes: usize, all: u64) {
        if self.images.contains_key(&key) || self.grow(bytes) || self.make_room(bytes, all) && self.grow(bytes) {
            self.images.insert(key, image);
        }
    }

    fn grow(&self, bytes: usize) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.size() + bytes <= MOST_BYTES && memory.try_grow(bytes).is_ok())
    }

    /// Lets go of the images that all nodes met: where the nodes read beside each other, most of them. Looks for such only now
    /// and then, since it looks at all.
    fn make_room(&mut self, bytes: usize, all: u64) -> bool {
        let before = self.images.len();
        if self.turned_away.is_multiple_of(before / 8 + 1) {
            self.images.retain(|_, image| image.seen != all);
        }
        self.turned_away += 1;
        let gone = before - self.images.len();
        if let Some(memory) = &self.memory {
            memory.shrink(gone * bytes);
        }
        gone > 0
    }
}

impl fmt::Debug for SharedScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedScores").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a claim that fails is a failed test")]
mod tests {
    use arrow::array::{ArrayRef, BinaryArray};
    use datafusion::execution::memory_pool::{GreedyMemoryPool, UnboundedMemoryPool};

    use super::*;

    fn images(contents: &[&str]) -> RecordBatch {
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(contents));
        RecordBatch::try_from_iter([("image", array)]).unwrap()
    }

    fn two(pool: Arc<dyn MemoryPool>) -> [Share; 2] {
        let shares: Vec<Share> = Share::among(2).collect();
        shares.iter().for_each(|share| share.start(0, &pool));
        shares.try_into().unwrap()
    }

    fn own(claim: &Claim) -> &[u64] {
        claim.own.as_ref().map_or(&[], |own| &own.rows)
    }

    #[test]
    fn an_image_is_claimed_by_the_first_that_meets_it() {
        let [one, other] = two(Arc::new(UnboundedMemoryPool::default()));
        let first = one.claim(&images(&["a", "b", "a", "c"]), 10).unwrap();
        assert_eq!((own(&first), first.answers.len()), (&[0, 1, 3][..], 1));
        assert_eq!(first.places, [(0, 0), (0, 1), (0, 0), (0, 2)]);
        let second = other.claim(&images(&["c", "d", "b"]), 10).unwrap();
        assert_eq!((own(&second), second.answers.len()), (&[1][..], 2));
        assert_eq!(second.places, [(0, 2), (1, 0), (0, 1)]);
        assert_eq!(own(&one.claim(&images(&["d"]), 10).unwrap()), [0u64; 0]);
    }

    #[test]
    fn what_its_claimant_gave_up_is_claimed_again() {
        let [one, other] = two(Arc::new(UnboundedMemoryPool::default()));
        let given_up = one.claim(&images(&["a", "b"]), 10).unwrap();
        // Whoever waits for it keeps it wanted.
        let waiting = other.claim(&images(&["b"]), 10).unwrap();
        drop(given_up.answers);
        assert_eq!(own(&one.claim(&images(&["a"]), 10).unwrap()), [0u64; 0]);
        drop(waiting);
        let again = one.claim(&images(&["a", "b"]), 10).unwrap();
        assert_eq!((own(&again), &again.places[..]), (&[0, 1][..], &[(0, 0), (0, 1)][..]));
    }

    #[test]
    fn where_memory_ends_each_node_claims_for_itself() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1000));
        let [one, other] = two(Arc::clone(&pool));
        let many: Vec<String> = (0..100).map(|image| image.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let first = one.claim(&images(&many), 10).unwrap();
        assert_eq!(own(&first).len(), 100);
        let kept = 100 - own(&other.claim(&images(&many), 10).unwrap()).len();
        assert!((1..100).contains(&kept) && pool.reserved() <= 1000, "{kept} {}", pool.reserved());
        // Nothing is left of a plan that is gone.
        drop((one, other));
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn what_all_nodes_met_makes_room() {
        let [one, other] = two(Arc::new(GreedyMemoryPool::new(1000)));
        let mut scored = Vec::new();
        for image in 0..100 {
            let image = images(&[&image.to_string()]);
            let [first, second] = [&one, &other].map(|share| share.claim(&image, 10).unwrap());
            scored.push(own(&first).len() + own(&second).len());
            // Both have their answers before the next.
        }
        // Now and then an image comes before the next search for room.
        assert!(scored.iter().sum::<usize>() < 120, "{scored:?}");
    }

    #[test]
    fn a_plan_that_runs_again_starts_anew() {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let [one, other] = two(Arc::clone(&pool));
        let _first = one.claim(&images(&["a"]), 10).unwrap();
        other.start(1, &pool);
        assert_eq!(own(&other.claim(&images(&["a"]), 10).unwrap()), [0u64; 0]);
        one.start(0, &pool);
        assert_eq!(own(&other.claim(&images(&["a"]), 10).unwrap()), [0]);
    }
}
