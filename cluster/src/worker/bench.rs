//! Work that coordinators ask a certain worker for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dismax::cancel::Cancel;
use dismax::run::Run;
use dismax::score_file::{PartCounts, score_part};
use dismax::stage::{PortableObserver, Scanner};
use dismax_audit::ImageObserver;
use dismax_udfs::ModelName;

use super::allowed::Allowed;
use super::models::WorkerModels;
use crate::error::{Error, Result};
use crate::work::{Answer, Bench, Part, Scan, ScanRows, Work};

/// How often a coordinator hears how far a part is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Carries work out with the models of this worker.
#[derive(Debug)]
pub(super) struct WorkBench {
    pub models: Arc<WorkerModels>,
    pub allowed: Arc<Allowed>,
}

impl Bench for WorkBench {
    fn work(&self, work: &Work, cancel: &Cancel, tell: &mut dyn FnMut(Answer)) {
        let done = match work {
            Work::Prepare(needed) => match needed.max_pixels {
                None => self.models.stage_for_queries(&needed.model()),
                Some(limit) => self.models.stage_for(&needed.model(), needed.column.as_deref(), limit),
            }
            .map(|_| None),
            Work::Part(part) => self.score(part, cancel, tell).map(|counts| Some(Answer::Part(counts))),
            Work::Scan(scan) if scan.observer == ImageObserver::NAME => {
                self.scan(scan, Arc::new(ImageObserver::default()), cancel, tell).map(|()| None)
            }
            Work::Scan(scan) if scan.observer == <() as PortableObserver>::NAME => {
                self.scan(scan, Arc::new(()), cancel, tell).map(|()| None)
            }
            Work::Scan(scan) => Err(Error::Config(format!("there is no observer \"{}\"", scan.observer))),
        };
        match done {
            Ok(answer) => answer.into_iter().chain([Answer::End]).for_each(tell),
            Err(error) => {
                log::warn!("{}: {error}", described(work));
                tell(Answer::Failed { reason: error.to_string(), elsewhere: is_of_this_machine(&error) });
            }
        }
    }
}

impl WorkBench {
    fn score(&self, part: &Part, cancel: &Cancel, tell: &mut dyn FnMut(Answer)) -> Result<PartCounts> {
        for place in part.dataset.places().chain([part.target.clone()]) {
            self.allowed.check(&place)?;
        }
        let (options, start) = (&part.options, Instant::now());
        let model = ModelName { name: "of the run".into(), digest: part.model.clone() };
        let stage = self.models.stage_for(&model, options.column.as_deref(), options.max_pixels)?;
        let dataset = part.dataset.open(cancel)?;
        let mut told = Instant::now();
        let mut progress = |progress: dismax::run::Progress| {
            if told.elapsed() >= TELL_EVERY {
                tell(Answer::Progress { rows: progress.rows, failed: progress.failed });
                told = Instant::now();
            }
        };
        let mut run = Run { cancel: cancel.clone(), progress: &mut progress };
        let counts = score_part(&stage, &dataset, &part.target, options, &mut run)?;
        log::info!("{}: written in {:.1} s", part.target, start.elapsed().as_secs_f64());
        Ok(counts)
    }

    fn scan<O: PortableObserver>(
        &self,
        scan: &Scan,
        observer: Arc<O>,
        cancel: &Cancel,
        tell: &mut dyn FnMut(Answer),
    ) -> Result<()> {
        scan.dataset.places().try_for_each(|place| self.allowed.check(&place))?;
        let model = ModelName { name: "of the run".into(), digest: scan.model.clone() };
        let stage = self.models.stage_for(&model, scan.column.as_deref(), scan.max_pixels)?;
        let dataset = scan.dataset.open(cancel)?;
        let with_features = observer.wants_features() || stage.model().needs_features();
        for scored in stage.scan_all(&dataset, Some(&[]), cancel.clone(), observer)? {
            let (_, scored) = scored?;
            let mut rows = ScanRows::default();
            for row in 0..scored.rows().len() {
                rows.values.extend(scored.values(row, with_features));
                rows.errors.push(scored.logits(row).err().map(|error| (error.code, error.detail.clone())));
            }
            let bytes = scored.observed().iter().map(postcard::to_stdvec);
            rows.observed = bytes.collect::<Result<_, _>>().expect("values have no unknown lengths");
            tell(Answer::Scan(rows));
        }
        Ok(())
    }
}

fn described(work: &Work) -> String {
    match work {
        Work::Prepare(needed) => format!("model '{}'", needed.name),
        Work::Part(part) => part.target.clone(),
        Work::Scan(scan) => scan.dataset.places().next().unwrap_or_else(|| "nothing".into()),
    }
}

/// Whether another worker may fare better: with another disk, another device, other models.
fn is_of_this_machine(error: &Error) -> bool {
    match error {
        Error::Dismax(error) => matches!(
            error,
            dismax::Error::Io { .. }
                | dismax::Error::Device { .. }
                | dismax::Error::DeviceFailed { .. }
                | dismax::Error::Internal(_)
                | dismax::Error::Cancelled
        ),
        _ => true,
    }
}
