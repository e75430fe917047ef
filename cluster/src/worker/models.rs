//! The models of a worker: those it was given, and those it fetched.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::Result as PlanResult;
use dismax::cancel::Cancel;
use dismax::location::{Entry, Folder};
use dismax::model::Model;
use dismax::stage::{Stage, StageOptions};
use dismax_udfs::{ModelName, ScoreCache, StageSource};

use super::allowed::Allowed;
use crate::error::{Error, Result};
use crate::info::short;

/// Stages that are kept, whether or not somebody uses them. Each has a network and threads.
const MOST_STAGES: usize = 4;

/// Models by digest. A stage starts when it is first asked for.
pub(super) struct WorkerModels {
    models: Mutex<HashMap<String, Arc<Model>>>,
    stages: Mutex<HashMap<StageKey, Arc<Slot>>>,
    options: StageOptions,
    store: Option<String>,
    allowed: Arc<Allowed>,
    cache: Arc<ScoreCache>,
}

/// What tells the stages of a model apart: the column that is named, and most pixels of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct StageKey {
    digest: String,
    column: Option<String>,
    max_pixels: u64,
}

/// Whoever comes second waits for the first.
type Slot = Mutex<Option<Arc<Stage>>>;

impl WorkerModels {
    pub fn new(
        models: Vec<(String, Model)>,
        options: StageOptions,
        store: Option<String>,
        allowed: Arc<Allowed>,
    ) -> Self {
        let models = models.into_iter().map(|(_, model)| (model.digest().to_owned(), Arc::new(model))).collect();
        Self {
            models: Mutex::new(models),
            stages: Mutex::default(),
            options,
            store,
            allowed,
            cache: Arc::new(ScoreCache::default()),
        }
    }

    /// How stages run, and how images are loaded.
    pub fn options(&self) -> &StageOptions {
        &self.options
    }

    /// The stage of a model for parts of a dataset.
    pub fn stage_for(&self, model: &ModelName, column: Option<&str>, max_pixels: u64) -> Result<Arc<Stage>> {
        let key = StageKey { digest: model.digest.clone(), column: column.map(str::to_owned), max_pixels };
        let slot = self.slot(key);
        let mut slot = locked(&slot);
        if let Some(stage) = &*slot {
            return Ok(Arc::clone(stage));
        }
        let mut options = StageOptions { column: column.map(str::to_owned), ..self.options.clone() };
        options.load.limits.max_pixels = max_pixels;
        let stage = Arc::new(Stage::try_new(self.model(model)?, &options)?);
        *slot = Some(Arc::clone(&stage));
        Ok(stage)
    }

    /// The place of a stage. Where there are many, those that nobody uses make room.
    fn slot(&self, key: StageKey) -> Arc<Slot> {
        let mut stages = locked(&self.stages);
        if stages.len() >= MOST_STAGES && !stages.contains_key(&key) {
            let is_used = |slot: &Arc<Slot>| match slot.try_lock() {
                Ok(stage) => stage.as_ref().is_none_or(|stage| Arc::strong_count(stage) > 1),
                Err(_) => true,
            };
            stages.retain(|_, slot| is_used(slot));
        }
        Arc::clone(stages.entry(key).or_default())
    }

    /// The stage of a model for queries.
    pub fn stage_for_queries(&self, model: &ModelName) -> Result<Arc<Stage>> {
        self.stage_for(model, None, self.options.load.limits.max_pixels)
    }

    /// A model, where it is here.
    pub fn here(&self, digest: &str) -> Option<Arc<Model>> {
        locked(&self.models).get(digest).cloned()
    }

    /// All stages that were started.
    pub fn started(&self) -> Vec<Arc<Stage>> {
        let slots: Vec<Arc<Slot>> = locked(&self.stages).values().cloned().collect();
        // A stage that is just starting has done nothing yet.
        slots.iter().filter_map(|slot| slot.try_lock().ok()?.clone()).collect()
    }

    /// A model, which is fetched where it is not here.
    fn model(&self, wanted: &ModelName) -> Result<Arc<Model>> {
        let ModelName { name, digest } = wanted;
        if let Some(model) = self.here(digest) {
            return Ok(model);
        }
        let lacks = |why: &str| Error::Config(format!("this worker has no model '{name}' ({}); {why}", short(digest)));
        let store = self.store.as_deref().ok_or_else(|| lacks("give it that model, or a store"))?;
        // It becomes part of a name.
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(lacks("its digest is none"));
        }
        let place = format!("{}/{digest}", store.trim_end_matches('/'));
        let model = fetched(&place)?;
        if model.digest() != digest {
            return Err(lacks(&format!("{place} holds another model ({})", short(model.digest()))));
        }
        log::info!("model '{name}' ({}) comes from {place}", short(digest));
        let model = Arc::new(model);
        locked(&self.models).insert(digest.clone(), Arc::clone(&model));
        Ok(model)
    }
}

/// A bundle from a folder or an address. Its files are checked against its SHA256SUMS as they are read.
fn fetched(place: &str) -> Result<Model> {
    let Folder::Object(_) = Folder::named(&format!("{place}/"))? else { return Ok(Model::read(place)?) };
    let folder = Folder::named(&format!("{place}/"))?;
    let io = |source| dismax::Error::Io { path: PathBuf::from(place), source };
    let copy = tempfile::tempdir().map_err(io)?;
    let cancel = Cancel::default();
    for entry in folder.list(&cancel)? {
        let Entry::File(file) = entry else { continue };
        let name = file.file_name();
        if let Some(bytes) = folder.read_file(&name, &cancel)? {
            std::fs::write(copy.path().join(&name), bytes).map_err(io)?;
        }
    }
    Ok(Model::read(copy.path())?)
}

impl fmt::Debug for WorkerModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerModels").finish_non_exhaustive()
    }
}

impl StageSource for WorkerModels {
    fn stage(&self, model: &ModelName) -> PlanResult<Arc<Stage>> {
        Ok(self.stage_for_queries(model)?)
    }

    fn cache(&self) -> Arc<ScoreCache> {
        Arc::clone(&self.cache)
    }

    fn admit(&self, place: &str) -> PlanResult<()> {
        self.allowed.check(place)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
