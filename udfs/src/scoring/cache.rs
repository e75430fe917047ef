//! Scores of images that were scored before, for everything in a process that scores with a model.
//!
//! A query may meet an image more than once: in a self-join, in a subquery on the same files, in a filter and a
//! projection that another engine plans, in the next query. So scores are kept by what an image is and what scored it:
//! whoever first meets an image has it scored, everybody else waits for that or finds it done.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dismax::dataset::ImageDigest;
use dismax::stage::{Scored, Stage};

use super::answer::{Coming, Sender, Wanted};

/// Bytes that a cache takes unless told otherwise.
const DEFAULT_BYTES: usize = 256 << 20;
/// What is not counted row by row: a chunk's answer and its scores' own fields.
const CHUNK_BYTES: usize = 512;
/// Once the cache is full, one of so many chunks makes room for new ones.
const EVICTED_PART: u64 = 4;

/// Scores by image and model, bounded in bytes. Sessions that have one in common score an image once among them.
///
/// A full cache lets go of a random quarter: a reading of somewhat more images than it holds still finds some of them
/// the next time, which it would not if the oldest went first.
pub struct ScoreCache {
    max_bytes: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    images: HashMap<Key, Place>,
    /// Numbers of what scores: a model, and what else decides about its scores.
    scorers: HashMap<Scorer, u32>,
    /// Of all chunks that are not gone.
    bytes: Arc<AtomicUsize>,
    /// Chunks so far, which numbers them.
    chunks: u64,
    evictions: u64,
}

/// Who scored an image, and which.
type Key = (u32, ImageDigest);

/// What decides about the scores of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Scorer {
    model: String,
    /// A GPU computes in f16.
    on_gpu: bool,
    /// An image that is too large for one stage may do for another.
    max_pixels: u64,
    /// Whether pooled features are among the scores.
    with_features: bool,
}

/// An image that is scored, or is at the workers.
struct Place {
    chunk: Arc<Chunk>,
    row: usize,
}

/// Images that went to the workers together.
struct Chunk {
    answer: Coming,
    wanted: Weak<()>,
    number: u64,
    bytes: usize,
    /// Where its bytes count until it is gone.
    counted: Arc<AtomicUsize>,
}

/// Where the scores of some images come from.
pub(crate) struct Claim {
    /// The answers to wait for.
    pub answers: Vec<Wanted>,
    /// For each row which answer, and which row of it.
    pub places: Vec<(usize, usize)>,
    /// What no one has sent to the workers yet, so that the claimant must.
    pub own: Option<Own>,
}

/// Rows to send to the workers.
pub(crate) struct Own {
    /// Their numbers among the claimed.
    pub rows: Vec<u64>,
    /// Which of the answers is theirs.
    pub answer: usize,
    pub sender: Sender,
}

/// The scores of one model's stage in a cache.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    cache: Arc<ScoreCache>,
    scorer: Scorer,
    /// Numbers of a row.
    width: usize,
}

impl ScoreCache {
    /// A cache of at most so many bytes; with 0 nothing is kept.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes: AtomicUsize::new(max_bytes), state: Mutex::default() }
    }

    /// Bytes that it may take.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Changes what it may take. What it holds beyond that is let go.
    pub fn set_max_bytes(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
        let mut state = self.state();
        if state.bytes() > max_bytes {
            state.images.clear();
        }
    }

    /// Bytes that it takes: an estimate, which counts the scores and what finding them needs.
    pub fn bytes(&self) -> usize {
        self.state().bytes()
    }

    /// Images whose scores it holds, each once for every model.
    pub fn images(&self) -> usize {
        self.state().images.len()
    }

    /// Lets go of everything.
    pub fn clear(&self) {
        self.state().images.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Between two images the state is whole, whatever ended the other thread.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ScoreCache {
    /// 256 MiB, which is the scores of more than a million images with ten classes.
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl Remembered {
    /// What a cache knows of the images that this stage scores: without pooled features, and with them.
    pub fn of(cache: &Arc<ScoreCache>, stage: &Stage) -> [Self; 2] {
        static UNWRITTEN: AtomicUsize = AtomicUsize::new(0);
        let model = stage.model();
        let scorer = Scorer {
            model: match model.digest() {
                // It was never written and is known to nobody else.
                "" => format!("unwritten {}", UNWRITTEN.fetch_add(1, Ordering::Relaxed)),
                digest => digest.to_owned(),
            },
            on_gpu: stage.gpus() > 0,
            max_pixels: stage.load_options().limits.max_pixels,
            with_features: false,
        };
        [false, true].map(|with_features| Self {
            cache: Arc::clone(cache),
            scorer: Scorer { with_features, ..scorer.clone() },
            // A GPU gives features always.
            width: model.values_width(with_features || scorer.on_gpu || model.needs_features()),
        })
    }

    /// Whether anything is kept at all.
    pub fn is_on(&self) -> bool {
        self.cache.max_bytes() > 0
    }

    /// Says for each of some images where its scores come from.
    pub fn claim(&self, images: &[ImageDigest]) -> Claim {
        let (sender, own_answer) = Wanted::new();
        let (coming, wanted) = (own_answer.coming(), own_answer.token());
        let mut own_answer = Some(own_answer);

        // The claimant's own chunk is none yet.
        let (mut chunks, mut answers): (Vec<Option<Arc<Chunk>>>, Vec<Wanted>) = (Vec::new(), Vec::new());
        let mut places = Vec::with_capacity(images.len());
        let mut own: HashMap<ImageDigest, usize> = HashMap::new();
        let mut rows = Vec::new();
        let mut state = self.cache.state();
        let scorer = state.number_of(&self.scorer);
        // Who needs no features takes scores that have them as well.
        let with_features = (!self.scorer.with_features)
            .then(|| state.scorers.get(&Scorer { with_features: true, ..self.scorer.clone() }).copied())
            .flatten();
        for (row, digest) in (0u64..).zip(images) {
            let known = [Some(scorer), with_features].into_iter().flatten();
            let known = known.filter_map(|scorer| state.find(&(scorer, *digest))).next();
            let (chunk, answer, place) = match known {
                Some((chunk, answer, place)) => (Some(chunk), Some(answer), place),
                None => {
                    let place = *own.entry(*digest).or_insert_with(|| {
                        rows.push(row);
                        rows.len() - 1
                    });
                    (None, own_answer.take(), place)
                }
            };
            let is_it = |known: &Option<Arc<Chunk>>| known.as_ref().map(Arc::as_ptr) == chunk.as_ref().map(Arc::as_ptr);
            let known = chunks.iter().position(is_it).unwrap_or_else(|| {
                chunks.push(chunk);
                answers.extend(answer);
                chunks.len() - 1
            });
            places.push((known, place));
        }
        if !rows.is_empty() {
            let image_bytes = self.width * size_of::<f32>() + size_of::<(Key, Place)>() + size_of::<Scored>();
            let bytes = CHUNK_BYTES + rows.len() * image_bytes;
            if state.make_room(bytes, self.cache.max_bytes()) {
                let chunk = state.chunk(coming, wanted, bytes);
                let place = |row| Place { chunk: Arc::clone(&chunk), row };
                state.images.extend(own.into_iter().map(|(digest, row)| ((scorer, digest), place(row))));
            }
        }
        drop(state);
        let own = chunks.iter().position(Option::is_none).map(|answer| Own { rows, answer, sender });
        Claim { answers, places, own }
    }
}

impl State {
    fn number_of(&mut self, scorer: &Scorer) -> u32 {
        if let Some(number) = self.scorers.get(scorer) {
            return *number;
        }
        let number = u32::try_from(self.scorers.len()).expect("nobody has so many models");
        self.scorers.insert(scorer.clone(), number);
        number
    }

    /// The chunk that has or will have the scores of an image, and the row there. One that everybody gave up before it
    /// was scored does not count.
    fn find(&self, key: &Key) -> Option<(Arc<Chunk>, Wanted, usize)> {
        let place = self.images.get(key)?;
        let answer = Wanted::again(&place.chunk.answer, &place.chunk.wanted)?;
        Some((Arc::clone(&place.chunk), answer, place.row))
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn chunk(&mut self, answer: Coming, wanted: Weak<()>, bytes: usize) -> Arc<Chunk> {
        self.chunks += 1;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Chunk { answer, wanted, number: self.chunks, bytes, counted: Arc::clone(&self.bytes) })
    }

    /// Whether so many bytes more fit, after others were let go where that is needed.
    fn make_room(&mut self, bytes: usize, max_bytes: usize) -> bool {
        while self.bytes() + bytes > max_bytes && !self.images.is_empty() {
            self.evictions += 1;
            let round = self.evictions << 40;
            self.images.retain(|_, place| !mixed(place.chunk.number ^ round).is_multiple_of(EVICTED_PART));
        }
        self.bytes() + bytes <= max_bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.counted.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A number in which all bits of another count: the finaliser of SplitMix64.
fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

impl fmt::Debug for ScoreCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScoreCache").field("max_bytes", &self.max_bytes()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn images(contents: &[&str]) -> Vec<ImageDigest> {
        let digest = |content: &&str| {
            let mut digest = [0; 32];
            digest[..content.len()].copy_from_slice(content.as_bytes());
            digest
        };
        contents.iter().map(digest).collect()
    }

    fn remembered(cache: &Arc<ScoreCache>, model: &str) -> Remembered {
        let scorer = Scorer { model: model.into(), on_gpu: false, max_pixels: 1000, with_features: false };
        Remembered { cache: Arc::clone(cache), scorer, width: 10 }
    }

    fn own(claim: &Claim) -> &[u64] {
        claim.own.as_ref().map_or(&[], |own| &own.rows)
    }

    #[test]
    fn an_image_is_claimed_by_the_first_that_meets_it() {
        let cache = Arc::new(ScoreCache::default());
        let [one, other] = [(); 2].map(|()| remembered(&cache, "model"));
        let first = one.claim(&images(&["a", "b", "a", "c"]));
        assert_eq!((own(&first), first.answers.len()), (&[0, 1, 3][..], 1));
        assert_eq!(first.places, [(0, 0), (0, 1), (0, 0), (0, 2)]);
        let second = other.claim(&images(&["c", "d", "b"]));
        assert_eq!((own(&second), second.answers.len()), (&[1][..], 2));
        assert_eq!(second.places, [(0, 2), (1, 0), (0, 1)]);
        assert_eq!(own(&one.claim(&images(&["d"]))), [0u64; 0]);
        assert_eq!(cache.images(), 4);
        assert_eq!(own(&remembered(&cache, "another").claim(&images(&["a"]))), [0]);
    }

    #[test]
    fn scores_with_features_do_for_whoever_needs_none() {
        let cache = Arc::new(ScoreCache::default());
        let plain = remembered(&cache, "model");
        let scorer = Scorer { with_features: true, ..plain.scorer.clone() };
        let rich = Remembered { scorer, width: 100, ..plain.clone() };
        let first = rich.claim(&images(&["a", "b"]));
        let second = plain.claim(&images(&["b", "c"]));
        assert_eq!((own(&first), own(&second)), (&[0, 1][..], &[1][..]));
        assert_eq!(own(&rich.claim(&images(&["c", "b"]))), [0], "what has none is scored again");
    }

    #[test]
    fn what_its_claimant_gave_up_is_claimed_again() {
        let cache = Arc::new(ScoreCache::default());
        let [one, other] = [(); 2].map(|()| remembered(&cache, "model"));
        let given_up = one.claim(&images(&["a", "b"]));
        // Whoever waits for it keeps it wanted.
        let waiting = other.claim(&images(&["b"]));
        drop(given_up.answers);
        assert_eq!(own(&one.claim(&images(&["a"]))), [0u64; 0]);
        drop(waiting);
        let again = one.claim(&images(&["a", "b"]));
        assert_eq!((own(&again), &again.places[..]), (&[0, 1][..], &[(0, 0), (0, 1)][..]));
    }

    #[test]
    fn its_bytes_are_bounded_and_given_back() {
        let cache = Arc::new(ScoreCache::new(600_000));
        let one = remembered(&cache, "model");
        let mut found = 0;
        for round in 0..3 {
            for image in 0..1000 {
                let claim = one.claim(&images(&[&image.to_string()]));
                found += usize::from(round > 0 && claim.own.is_none());
                assert!(cache.bytes() <= 600_000, "{}", cache.bytes());
                // As if it were at the workers for ever: nobody gives it up, nobody fails it.
                std::mem::forget(claim);
            }
        }
        // More images than fit, read again and again: some are still there each time.
        assert!((20..1500).contains(&found), "{found}");
        cache.clear();
        assert_eq!((cache.bytes(), cache.images()), (0, 0));
    }

    #[test]
    fn without_room_everybody_claims_for_himself() {
        let cache = Arc::new(ScoreCache::new(0));
        let one = remembered(&cache, "model");
        assert!(!one.is_on());
        assert_eq!(own(&one.claim(&images(&["a"]))), [0]);
        let kept = one.claim(&images(&["a"]));
        assert_eq!((own(&kept), cache.bytes()), (&[0][..], 0));
    }
}
