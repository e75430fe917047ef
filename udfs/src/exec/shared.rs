//! Scores that several scoring nodes of one plan share.
//!
//! A query may read the same images more than once: a self-join, a subquery on the same files, a view used twice. Each
//! reading has a scoring node, and no two need see the same rows in the same order. So the nodes share scores by what
//! an image is: the first that meets an image has it scored, the others wait for that or find it done.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use dismax::dataset::ImageDigest;
use dismax::stage::Scored;

use super::answer::{Coming, Sender, Wanted};

/// SharedMemory for the scores of one group of nodes. Images that find no room are scored once by each node.
const MAX_BYTES: usize = 256 << 20;
/// Part of a bounded memory pool that they may have: joins and sorts need theirs more.
const MAX_OF_POOL: usize = 8;

/// A node's part in scores that it shares.
#[derive(Debug, Clone)]
pub(super) struct Share {
    scores: Arc<SharedScores>,
    /// Which of the nodes it is.
    node: usize,
}

struct SharedScores {
    /// Which group of the plan it is, from 1.
    group: usize,
    nodes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    images: HashMap<ImageDigest, SharedImage>,
    /// Nodes and partitions that ran since there were no images.
    started: HashSet<(usize, usize)>,
    memory: Option<SharedMemory>,
    /// Images that found no room since room was searched for, and how many more of them start the next search.
    turned_away: usize,
    patience: usize,
}

/// An image that is scored, or is at the workers.
struct SharedImage {
    chunk: Arc<SharedChunk>,
    row: usize,
    /// Bit by bit the nodes that met it.
    seen: u64,
}

/// A record batch that a stream sent to the workers. It has its memory until the last of its images is let go.
struct SharedChunk {
    answer: Coming,
    wanted: Weak<()>,
    bytes: usize,
    memory: Arc<MemoryReservation>,
}

/// SharedMemory for all record batches of the group.
struct SharedMemory {
    reservation: Arc<MemoryReservation>,
    most: usize,
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
    /// A part for each of so many nodes, the plan's group of this number.
    pub fn among(nodes: usize, group: usize) -> impl Iterator<Item = Self> {
        let scores = Arc::new(SharedScores { group, nodes, state: Mutex::default() });
        (0..nodes).map(move |node| Self { scores: Arc::clone(&scores), node })
    }

    /// Number of the group in the plan.
    pub fn group(&self) -> usize {
        self.scores.group
    }

    /// Says that a partition of the node runs. One that ran already means that the plan runs again, maybe on other
    /// files: what was kept is let go.
    pub fn start(&self, partition: usize, pool: &Arc<dyn MemoryPool>) {
        let mut state = self.scores.state();
        if !state.started.insert((self.node, partition)) {
            *state = State::default();
            state.started.insert((self.node, partition));
        }
        state.memory.get_or_insert_with(|| {
            let most = match pool.memory_limit() {
                MemoryLimit::Finite(limit) => MAX_BYTES.min(limit / MAX_OF_POOL),
                MemoryLimit::Infinite | MemoryLimit::Unknown => MAX_BYTES,
            };
            SharedMemory { reservation: Arc::new(MemoryConsumer::new("dismax shared scores").register(pool)), most }
        });
    }

    /// Says for each image of a record batch where its scores come from. `classes` are those of the model.
    pub fn claim(&self, images: &[ImageDigest], classes: usize) -> Claim {
        let (sender, own_answer) = Wanted::new();
        let (coming, wanted) = (own_answer.coming(), own_answer.token());
        let mut own_answer = Some(own_answer);

        // The claimant's own record batch is none yet.
        let (mut chunks, mut answers): (Vec<Option<Arc<SharedChunk>>>, Vec<Wanted>) = (Vec::new(), Vec::new());
        let mut places = Vec::with_capacity(images.len());
        let mut own: HashMap<ImageDigest, usize> = HashMap::new();
        let mut rows = Vec::new();
        let mut state = self.scores.state();
        for (row, digest) in (0u64..).zip(images) {
            let (chunk, answer, place) = match state.find(digest, self.bit()) {
                Some((chunk, answer, place)) => (Some(chunk), Some(answer), place),
                None => {
                    let place = *own.entry(*digest).or_insert_with(|| {
                        rows.push(row);
                        rows.len() - 1
                    });
                    (None, own_answer.take(), place)
                }
            };
            let is_it =
                |known: &Option<Arc<SharedChunk>>| known.as_ref().map(Arc::as_ptr) == chunk.as_ref().map(Arc::as_ptr);
            let known = chunks.iter().position(is_it).unwrap_or_else(|| {
                chunks.push(chunk);
                answers.extend(answer);
                chunks.len() - 1
            });
            places.push((known, place));
        }
        let image_bytes = classes * size_of::<f32>() + size_of::<(ImageDigest, SharedImage)>() + size_of::<Scored>();
        let bytes = rows.len() * image_bytes;
        if let Some(memory) = state.take_memory(bytes, rows.len(), self.scores.all()) {
            let chunk = Arc::new(SharedChunk { answer: coming, wanted, bytes, memory });
            let image = |row| SharedImage { chunk: Arc::clone(&chunk), row, seen: self.bit() };
            state.images.extend(own.into_iter().map(|(digest, row)| (digest, image(row))));
        }
        drop(state);
        let own = chunks.iter().position(Option::is_none).map(|answer| Own { rows, answer, sender });
        Claim { answers, places, own }
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
}

impl State {
    /// The record batch that has or will have the scores of an image, and the row there. One that its stream gave up
    /// does not count.
    fn find(&mut self, digest: &ImageDigest, node: u64) -> Option<(Arc<SharedChunk>, Wanted, usize)> {
        let image = self.images.get_mut(digest)?;
        let answer = Wanted::again(&image.chunk.answer, &image.chunk.wanted)?;
        image.seen |= node;
        Some((Arc::clone(&image.chunk), answer, image.row))
    }

    /// SharedMemory for a record batch of so many images, where there is some.
    fn take_memory(&mut self, bytes: usize, images: usize, all: u64) -> Option<Arc<MemoryReservation>> {
        let taken = self.grow(bytes);
        if taken.is_some() || !self.make_room(images, all) { taken } else { self.grow(bytes) }
    }

    fn grow(&self, bytes: usize) -> Option<Arc<MemoryReservation>> {
        let SharedMemory { reservation, most } = self.memory.as_ref()?;
        let fits = reservation.size() + bytes <= *most && reservation.try_grow(bytes).is_ok();
        fits.then(|| Arc::clone(reservation))
    }

    /// Lets go of the record batches whose images all nodes met: most, where the nodes read beside each other. Looks
    /// for such only now and then, since it looks at all images.
    fn make_room(&mut self, images: usize, all: u64) -> bool {
        self.turned_away += images;
        if self.turned_away < self.patience {
            return false;
        }
        let unseen = self.images.values().filter(|image| image.seen != all).map(|image| Arc::as_ptr(&image.chunk));
        let needed: HashSet<*const SharedChunk> = unseen.collect();
        self.images.retain(|_, image| needed.contains(&Arc::as_ptr(&image.chunk)));
        self.turned_away = 0;
        self.patience = self.images.len() / 8;
        true
    }
}

impl Drop for SharedChunk {
    fn drop(&mut self) {
        self.memory.shrink(self.bytes);
    }
}

impl fmt::Debug for SharedScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedScores").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use datafusion::execution::memory_pool::{GreedyMemoryPool, UnboundedMemoryPool};

    use super::*;

    fn images(contents: &[&str]) -> Vec<ImageDigest> {
        let digest = |content: &&str| {
            let mut digest = [0; 32];
            digest[..content.len()].copy_from_slice(content.as_bytes());
            digest
        };
        contents.iter().map(digest).collect()
    }

    fn two(pool: Arc<dyn MemoryPool>) -> [Share; 2] {
        let shares: Vec<Share> = Share::among(2, 1).collect();
        shares.iter().for_each(|share| share.start(0, &pool));
        shares.try_into().unwrap()
    }

    fn own(claim: &Claim) -> &[u64] {
        claim.own.as_ref().map_or(&[], |own| &own.rows)
    }

    #[test]
    fn an_image_is_claimed_by_the_first_that_meets_it() {
        let [one, other] = two(Arc::new(UnboundedMemoryPool::default()));
        let first = one.claim(&images(&["a", "b", "a", "c"]), 10);
        assert_eq!((own(&first), first.answers.len()), (&[0, 1, 3][..], 1));
        assert_eq!(first.places, [(0, 0), (0, 1), (0, 0), (0, 2)]);
        let second = other.claim(&images(&["c", "d", "b"]), 10);
        assert_eq!((own(&second), second.answers.len()), (&[1][..], 2));
        assert_eq!(second.places, [(0, 2), (1, 0), (0, 1)]);
        assert_eq!(own(&one.claim(&images(&["d"]), 10)), [0u64; 0]);
    }

    #[test]
    fn what_its_claimant_gave_up_is_claimed_again() {
        let [one, other] = two(Arc::new(UnboundedMemoryPool::default()));
        let given_up = one.claim(&images(&["a", "b"]), 10);
        // Whoever waits for it keeps it wanted.
        let waiting = other.claim(&images(&["b"]), 10);
        drop(given_up.answers);
        assert_eq!(own(&one.claim(&images(&["a"]), 10)), [0u64; 0]);
        drop(waiting);
        let again = one.claim(&images(&["a", "b"]), 10);
        assert_eq!((own(&again), &again.places[..]), (&[0, 1][..], &[(0, 0), (0, 1)][..]));
    }

    #[test]
    fn where_memory_ends_each_node_claims_for_itself() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(8000));
        let [one, other] = two(Arc::clone(&pool));
        let many: Vec<String> = (0..100).map(|image| image.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let first = one.claim(&images(&many), 10);
        assert_eq!(own(&first).len(), 100);
        assert_eq!((own(&other.claim(&images(&many), 10)).len(), pool.reserved()), (100, 0));
        // A smaller record batch has room: an eighth of the pool is theirs.
        let _second = one.claim(&images(&["x", "y"]), 10);
        assert_eq!(own(&other.claim(&images(&["y", "x"]), 10)), [0u64; 0]);
        assert!((1..=1000).contains(&pool.reserved()), "{}", pool.reserved());
        // Nothing is left of a plan that is gone.
        drop((one, other));
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn what_all_nodes_met_makes_room() {
        let [one, other] = two(Arc::new(GreedyMemoryPool::new(8000)));
        let mut scored = Vec::new();
        for image in 0..100 {
            let image = images(&[&image.to_string()]);
            let [first, second] = [&one, &other].map(|share| share.claim(&image, 10));
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
        let _first = one.claim(&images(&["a"]), 10);
        other.start(1, &pool);
        assert_eq!(own(&other.claim(&images(&["a"]), 10)), [0u64; 0]);
        one.start(0, &pool);
        assert_eq!(own(&other.claim(&images(&["a"]), 10)), [0]);
    }
}
