//! The way through a device, with devices that are simulated on the host and with a real network on the CPU.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::accelerator::{Accelerator, Finished, PASSES_IN_FLIGHT, Pass};
use super::pass_rows::{PassRows, bucket};
use super::{Observed, ObservedEmbedding, Observer, Scored, Stage, StageOptions};
use crate::dataset::{ImageColumn, Images};
use crate::device::{Device, HostMemory};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::network::Scorer;

/// How long a test waits for what must happen.
const LONG: Duration = Duration::from_secs(20);
const IMAGE_BYTES: usize = 32 * 32 * 3;
const CLASSES: usize = 10;
/// Logits and features.
const WIDTH: usize = CLASSES + 112;

fn model() -> Arc<Model> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/cifar10-resnet20");
    Arc::new(Model::read(folder).expect("the repository's model"))
}

/// Images of one grey each: `None` is a row that cannot be decoded.
fn images(greys: impl IntoIterator<Item = Option<u8>>) -> Images {
    let encoded = greys.into_iter().map(|grey| {
        let Some(grey) = grey else { return b"not an image".to_vec() };
        let mut bytes = Vec::new();
        let encoder = PngEncoder::new(&mut bytes);
        encoder.write_image(&[grey; IMAGE_BYTES], 32, 32, ExtendedColorType::Rgb8).expect("a PNG");
        bytes
    });
    let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(encoded));
    let record_batch = RecordBatch::try_from_iter([("image", array)]).expect("a record batch");
    let column = ImageColumn::find(&record_batch.schema(), None).expect("its image column");
    column.images_in(&record_batch).expect("images")
}

/// What happens on simulated devices: tests wait for it instead of for some time.
#[derive(Default)]
struct Events {
    seen: Mutex<HashSet<(&'static str, usize)>>,
    more: Condvar,
}

impl Events {
    fn say(&self, what: &'static str, number: usize) {
        self.seen.lock().expect("events").insert((what, number));
        self.more.notify_all();
    }

    /// Whether it happens before a test would have waited too long.
    fn comes(&self, what: &'static str, number: usize) -> bool {
        let seen = self.seen.lock().expect("events");
        let waited = self.more.wait_timeout_while(seen, LONG, |seen| !seen.contains(&(what, number)));
        !waited.expect("events").1.timed_out()
    }
}

type StartHook = Box<dyn FnMut(usize) -> Result<()> + Send>;
type FinishHook = Arc<dyn Fn(usize) -> Result<()> + Send + Sync>;

/// A device whose logits are the image's grey plus the number of the class, and whose features go on so.
struct Simulated {
    /// Called with the number of the pass.
    starts: StartHook,
    finishes: FinishHook,
    passes: usize,
    in_flight: Arc<AtomicUsize>,
}

impl Simulated {
    fn new(
        starts: impl FnMut(usize) -> Result<()> + Send + 'static,
        finishes: impl Fn(usize) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { starts: Box::new(starts), finishes: Arc::new(finishes), passes: 0, in_flight: Arc::default() }
    }
}

struct SimulatedPass {
    number: usize,
    pixels: HostMemory,
    rows: usize,
    finishes: FinishHook,
    in_flight: Arc<AtomicUsize>,
}

impl Accelerator for Simulated {
    type Pass = SimulatedPass;

    fn start(&mut self, pixels: HostMemory, rows: usize) -> Result<SimulatedPass, (HostMemory, Error)> {
        let number = self.passes;
        self.passes += 1;
        if let Err(error) = (self.starts)(number) {
            return Err((pixels, error));
        }
        assert!(self.in_flight.fetch_add(1, Ordering::SeqCst) < PASSES_IN_FLIGHT, "passes in flight are bounded");
        let (finishes, in_flight) = (Arc::clone(&self.finishes), Arc::clone(&self.in_flight));
        Ok(SimulatedPass { number, pixels, rows, finishes, in_flight })
    }
}

impl Pass for SimulatedPass {
    fn finish(self) -> Finished {
        let outcome = (self.finishes)(self.number);
        let grey = |row: usize| f32::from(self.pixels[row * IMAGE_BYTES]);
        let values = (0..self.rows).flat_map(|row| (0..WIDTH).map(move |number| grey(row) + number as f32)).collect();
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        Finished { pixels: self.pixels, values: outcome.map(|()| values), busy: Duration::from_millis(1) }
    }
}

fn stage<A: Accelerator>(devices: Vec<A>, batch_rows: usize, workers: usize) -> Stage {
    let options = StageOptions { batch_rows, ..StageOptions::default() };
    let mut stage = Stage::without_workers(model(), &options, devices.len());
    let shape = stage.slot_shape().expect("small slots");
    stage.start_devices(devices, shape, workers).expect("threads");
    stage
}

/// Greys of item `item`: sizes differ, every fifth row is broken.
fn greys(item: usize) -> Vec<Option<u8>> {
    (0..1 + item * 37 % 50).map(|row| (row % 5 != 3).then_some(((item * 50 + row * 3) % 200) as u8)).collect()
}

fn check(scored: &Scored, greys: &[Option<u8>]) {
    assert_eq!(scored.rows().len(), greys.len());
    for (row, grey) in greys.iter().enumerate() {
        let expected = grey.map(|grey| (0..CLASSES).map(|class| f32::from(grey) + class as f32).collect::<Vec<_>>());
        assert_eq!(scored.logits(row).ok().map(<[f32]>::to_vec), expected, "row {row}");
    }
}

#[test]
fn order_is_kept_over_devices_of_different_speed_and_broken_rows() {
    let slow = |number: usize| {
        std::thread::sleep(Duration::from_micros(if number.is_multiple_of(3) { 3000 } else { 100 }));
        Ok(())
    };
    let stage = stage(vec![Simulated::new(|_| Ok(()), slow), Simulated::new(|_| Ok(()), |_| Ok(()))], 16, 3);
    let read = AtomicUsize::new(0);
    let items = (0..200).map(|item| {
        read.fetch_add(1, Ordering::SeqCst);
        Ok((images(greys(item)), item))
    });
    for (count, scored) in stage.score(items).enumerate() {
        let (item, scored) = scored.expect("scores");
        assert_eq!(item, count);
        assert!(read.load(Ordering::SeqCst) <= count + 1 + stage.items_in_flight(), "reading ahead is bounded");
        check(&scored, &greys(item));
    }
    let (stats, all) = (stage.stats(), (0..200).flat_map(greys).collect::<Vec<_>>());
    assert_eq!((stats.decoded as usize, stats.scored as usize), (all.len(), all.iter().flatten().count()));
    assert_eq!(stats.device_busy, Duration::from_millis(stats.passes), "busy by the device's clock");
}

#[test]
fn the_next_pass_starts_before_the_last_one_ends() {
    let events = Arc::new(Events::default());
    let (starts, finishes) = (Arc::clone(&events), Arc::clone(&events));
    let passes = 12;
    let device = Simulated::new(
        move |number| {
            starts.say("started", number);
            Ok(())
        },
        // A device that is idle while slots are full would never start the next pass, and this would never end.
        move |number| {
            assert!(number + 1 == passes || finishes.comes("started", number + 1), "pass {number} is alone");
            Ok(())
        },
    );
    // An item fills a slot exactly, and one worker keeps the items in order.
    let stage = stage(vec![device], 16, 1);
    let item = || (0..16).map(|row| Some(row as u8)).collect::<Vec<_>>();
    let scored = stage.score((0..passes).map(|number| Ok((images(item()), number))));
    for (number, scored) in scored.enumerate() {
        check(&scored.expect("scores").1, &item());
        assert!(number < passes);
    }
    assert_eq!(stage.stats().passes as usize, passes);
}

/// Two items in one slot: the second one's worker waits until the first is scored.
struct WaitsForOthers(Arc<Events>);

impl Observer for WaitsForOthers {
    type Value = bool;

    fn observe(&self, image: &Observed<'_>) -> bool {
        image.images.len() == 5 || self.0.comes("finished", 0)
    }

    fn observe_embedding(&self, _: &ObservedEmbedding<'_>) -> bool {
        unreachable!("there are only images")
    }
}

#[test]
fn a_slow_image_holds_nobody_else_up() {
    let events = Arc::new(Events::default());
    let finishes = Arc::clone(&events);
    let say = move |number| {
        finishes.say("finished", number);
        Ok(())
    };
    let stage = stage(vec![Simulated::new(|_| Ok(()), say)], 1000, 2);
    let greys = [vec![Some(9); 5], vec![Some(7); 3]];
    let items = greys.clone().map(|greys| Ok((images(greys), ())));
    let scored: Vec<_> = stage.score_observed(items, Arc::new(WaitsForOthers(events))).collect();
    for (scored, greys) in scored.into_iter().zip(greys) {
        let scored = scored.expect("scores").1;
        assert!(scored.observed().iter().all(|&came| came), "the first item was not scored before the second");
        assert_eq!(scored.rows().len(), greys.len());
    }
    assert_eq!(stage.stats().passes, 2);
}

#[test]
fn a_lost_device_is_one_clear_error() {
    let lost =
        || Error::DeviceFailed { device: "cuda:0".into(), reason: "CUDA error 999 from event_synchronize".into() };
    let at_start = Simulated::new(move |number| if number < 3 { Ok(()) } else { Err(lost()) }, |_| Ok(()));
    let at_finish = Simulated::new(|_| Ok(()), move |number| if number < 3 { Ok(()) } else { Err(lost()) });
    for device in [at_start, at_finish] {
        let stage = stage(vec![device], 16, 2);
        let mut scored = stage.score((0..100).map(|item| Ok((images(greys(item)), item))));
        let error = scored.find_map(Result::err).expect("an error");
        assert_eq!(error.to_string(), lost().to_string());
        assert!(scored.next().is_none(), "an error ends the stream");
    }
}

#[test]
fn a_device_thread_that_panics_leaves_nobody_waiting() {
    let breaks = |_| panic!("the device's thread breaks");
    for device in [Simulated::new(breaks, |_| Ok(())), Simulated::new(|_| Ok(()), breaks)] {
        let stage = stage(vec![device], 16, 2);
        let mut scored = stage.score((0..100).map(|item| Ok((images(greys(item)), item))));
        let error = scored.find_map(Result::err).expect("an error").to_string();
        assert!(error.contains("ended unexpectedly"), "{error}");
    }
}

#[test]
fn a_dropped_stream_leaves_the_stage_to_others() {
    let events = Arc::new(Events::default());
    let gate = Arc::clone(&events);
    let stage = stage(
        vec![Simulated::new(
            |_| Ok(()),
            move |_| {
                assert!(gate.comes("open", 0));
                Ok(())
            },
        )],
        16,
        2,
    );
    let mut dropped = stage.score((0..100).map(|item| Ok((images(greys(item)), item))));
    std::thread::scope(|scope| {
        scope.spawn(|| events.say("open", 0));
        assert!(dropped.next().is_some());
    });
    drop(dropped);
    for scored in stage.score((0..20).map(|item| Ok((images(greys(item)), item)))) {
        let (item, scored) = scored.expect("scores");
        check(&scored, &greys(item));
    }
}

/// A device that is there and does not work.
struct Unusable;

impl Accelerator for Unusable {
    type Pass = Finished;

    fn warm_up(&mut self) -> Result<()> {
        Err(Error::DeviceFailed { device: "cuda:0".into(), reason: "CUDA out of memory".into() })
    }

    fn start(&mut self, pixels: HostMemory, _: usize) -> Result<Finished, (HostMemory, Error)> {
        Err((pixels, Error::Internal("it was not warm".into())))
    }
}

#[test]
fn a_device_that_does_not_work_is_no_stage() {
    let mut stage = Stage::without_workers(model(), &StageOptions { batch_rows: 16, ..StageOptions::default() }, 2);
    let shape = stage.slot_shape().expect("small slots");
    let error = stage.start_devices(vec![Unusable, Unusable], shape, 2).expect_err("no stage").to_string();
    assert!(error.contains("CUDA out of memory"), "{error}");
}

#[test]
fn slots_beyond_all_reason_are_refused() {
    let stage = Stage::without_workers(model(), &StageOptions { batch_rows: 1 << 20, ..StageOptions::default() }, 1);
    let message = stage.slot_shape().expect_err("a refusal").to_string();
    assert!(message.contains("use at most 349525 rows"), "{message}");
}

/// The CPU behind the interface of a device, with memory for some rows only.
struct OnCpu {
    scorer: Scorer,
    capacity: usize,
    memory_rows: usize,
    limit: PassRows,
}

impl Accelerator for OnCpu {
    type Pass = Finished;

    fn start(&mut self, pixels: HostMemory, rows: usize) -> Result<Finished, (HostMemory, Error)> {
        let parts = self.limit.in_parts(bucket(rows, self.capacity), |first, count| match count > self.memory_rows {
            true => Err(tch::TchError::Torch("CUDA out of memory. Tried to allocate 2.00 GiB".into()).into()),
            false => self.scorer.values(&pixels[first * IMAGE_BYTES..][..count * IMAGE_BYTES], true),
        });
        match parts {
            Ok(parts) => Ok(Finished { pixels, values: Ok(parts.concat()), busy: Duration::ZERO }),
            Err(error) => Err((pixels, error)),
        }
    }
}

impl Pass for Finished {
    fn finish(self) -> Finished {
        self
    }
}

#[test]
fn padding_and_halving_change_no_logits() {
    let model = model();
    let scorer = model.scorer(tch::Device::Cpu).expect("a scorer");
    let device = OnCpu { scorer, capacity: 32, memory_rows: 10, limit: PassRows::new(32) };
    let devices = stage(vec![device], 32, 2);
    let local = StageOptions { device: Device::Cpu, workers: 1, ..StageOptions::default() };
    let local = Stage::try_new(model, &local).expect("a stage");
    let items = || (0..12).map(|item| Ok((images(greys(item)), ())));
    for (ours, theirs) in devices.score(items()).zip(local.score(items())) {
        let (ours, theirs) = (ours.expect("scores").1, theirs.expect("scores").1);
        for row in 0..ours.rows().len() {
            let (Ok(ours), Ok(theirs)) = (ours.logits(row), theirs.logits(row)) else {
                assert_eq!(ours.rows()[row].is_ok(), theirs.rows()[row].is_ok());
                continue;
            };
            let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "row {row} differs by {worst}");
        }
    }
}
