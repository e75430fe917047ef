//! The models that SQL can name, each with its workers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use dismax::columns::Columns;
use dismax::dataset::{ImageColumn, InputColumn, LoadOptions};
use dismax::model::{Model, ModelInput};
use dismax::stage::{Stage, StageOptions};

use crate::scoring::{Remembered, ScoreCache};
use crate::seen::Seen;

/// Models under the names that queries use.
#[derive(Debug, Default)]
pub struct Models {
    options: StageOptions,
    cache: Arc<ScoreCache>,
    started_late: bool,
    entries: Vec<(String, Entry)>,
}

/// A model, or a stage that has one.
#[derive(Debug)]
enum Entry {
    Model(Box<Model>),
    OnDemand(Box<Model>),
    Stage(Arc<Stage>),
    Elsewhere(Arc<Model>, Arc<dyn StageSource>),
}

/// Where the stages of models are found by those who do not start them.
pub trait StageSource: fmt::Debug + Send + Sync {
    /// The stage of a model, which is started where it is not.
    ///
    /// # Errors
    /// That this process does not have the model, and what [`Stage::try_new`] says.
    fn stage(&self, model: &ModelName) -> Result<Arc<Stage>>;

    /// What is remembered of images that were scored.
    fn cache(&self) -> Arc<ScoreCache>;

    /// Checks a place, an absolute path or an address, that a plan from another process wants to read.
    ///
    /// # Errors
    /// That this process may not read there.
    fn admit(&self, place: &str) -> Result<()>;
}

impl Models {
    /// No models yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the stages of the models run: device, workers, limits on images. The image column that the options name does
    /// not count; a query names it.
    #[must_use]
    pub fn with_options(mut self, options: StageOptions) -> Self {
        self.options = options;
        self
    }

    /// Scores that are remembered, for sessions that have them in common. Without this call the models have a cache of
    /// their own; one of 0 bytes keeps nothing.
    #[must_use]
    pub fn with_cache(mut self, cache: Arc<ScoreCache>) -> Self {
        self.cache = cache;
        self
    }

    /// Builds the networks when a first image is to be scored, not before: for sessions that plan what others carry
    /// out. What is wrong with a model or a device is then found as late.
    #[must_use]
    pub fn started_late(mut self) -> Self {
        self.started_late = true;
        self
    }

    /// Adds a model. A later one with the same name takes its place.
    #[must_use]
    pub fn with(self, name: impl Into<String>, model: Model) -> Self {
        self.add(name.into(), Entry::Model(Box::new(model)))
    }

    /// Adds a model whose network is built when a first query is planned that needs it: for many models, of which a
    /// query uses one or two. What is wrong with it is then found as late.
    #[must_use]
    pub fn with_on_demand(self, name: impl Into<String>, model: Model) -> Self {
        self.add(name.into(), Entry::OnDemand(Box::new(model)))
    }

    /// Adds the model of a stage that the caller shares with other work, or whose [`Stage::stats`] it wants to read.
    #[must_use]
    pub fn with_stage(self, name: impl Into<String>, stage: Arc<Stage>) -> Self {
        self.add(name.into(), Entry::Stage(stage))
    }

    /// Adds a model whose stage is asked of `source` when a first image is to be scored.
    #[must_use]
    pub fn with_source(self, name: impl Into<String>, model: Arc<Model>, source: Arc<dyn StageSource>) -> Self {
        self.add(name.into(), Entry::Elsewhere(model, source))
    }

    fn add(mut self, name: String, entry: Entry) -> Self {
        self.entries.retain(|(taken, _)| *taken != name);
        self.entries.push((name, entry));
        self
    }

    /// The models by name and digest.
    pub fn names(&self) -> Vec<ModelName> {
        let name = |(name, entry): &(String, Entry)| {
            let digest = match entry {
                Entry::Model(model) | Entry::OnDemand(model) => model.digest(),
                Entry::Elsewhere(model, _) => model.digest(),
                Entry::Stage(stage) => stage.model().digest(),
            };
            ModelName { name: name.clone(), digest: digest.to_owned() }
        };
        self.entries.iter().map(name).collect()
    }

    /// Starts the workers, unless that waits.
    pub(crate) fn start(self) -> Result<Registry, dismax::Error> {
        let Self { options, cache, started_late, entries } = self;
        let settings = Settings { options, cache, started_late, seen: Arc::default() };
        let models = entries.into_iter().map(|(name, entry)| settings.start(name, entry).map(Arc::new));
        Ok(Registry { models: models.collect::<Result<_, _>>()?, settings })
    }
}

/// How the models of a session start, also those that come later.
#[derive(Debug, Clone)]
struct Settings {
    options: StageOptions,
    cache: Arc<ScoreCache>,
    started_late: bool,
    /// Of images that no model is needed for.
    seen: Arc<Seen>,
}

impl Settings {
    fn start(&self, name: String, entry: Entry) -> Result<ScoringModel, dismax::Error> {
        let options = || self.options.clone();
        let (model, start) = match entry {
            Entry::Stage(stage) => return ScoringModel::try_new(name, stage, &self.cache),
            Entry::Elsewhere(model, source) => {
                let cache = source.cache();
                return ScoringModel::of(name, model, Start::Elsewhere(source), &cache);
            }
            Entry::Model(model) | Entry::OnDemand(model) if self.started_late => (model, Start::Here(options())),
            Entry::OnDemand(model) => (model, Start::OnDemand(options())),
            Entry::Model(model) => {
                let stage = Arc::new(Stage::try_new(*model, &self.options)?);
                return ScoringModel::try_new(name, stage, &self.cache);
            }
        };
        ScoringModel::of(name, Arc::from(model), start, &self.cache)
    }
}

/// What a query calls a model, and which model that is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelName {
    /// Its name in queries.
    pub name: String,
    /// SHA-256 of its files, as [`Model::digest`] gives it.
    pub digest: String,
}

/// A model that images can be scored with. Equal where name and workers are.
pub(crate) struct ScoringModel {
    pub name: String,
    pub columns: Columns,
    model: Arc<Model>,
    start: Start,
    cache: Arc<ScoreCache>,
    /// Filled when it was started; what a start failed with stays.
    working: Arc<OnceLock<Result<Working, Arc<DataFusionError>>>>,
}

/// Who starts the workers.
enum Start {
    Here(StageOptions),
    /// Here as well, when a query that needs them is planned.
    OnDemand(StageOptions),
    Elsewhere(Arc<dyn StageSource>),
}

/// A model at work.
#[derive(Debug)]
pub(crate) struct Working {
    pub stage: Arc<Stage>,
    pub remembered: Remembered,
    /// Of images whose pooled features are wanted besides.
    pub remembered_features: Remembered,
}

impl Working {
    fn of(stage: Arc<Stage>, cache: &Arc<ScoreCache>) -> Self {
        let [remembered, remembered_features] = Remembered::of(cache, &stage);
        Self { stage, remembered, remembered_features }
    }
}

impl ScoringModel {
    pub fn try_new(name: String, stage: Arc<Stage>, cache: &Arc<ScoreCache>) -> Result<Self, dismax::Error> {
        let options = StageOptions { load: stage.load_options(), ..StageOptions::default() };
        let this = Self::of(name, Arc::clone(stage.model()), Start::Here(options), cache)?;
        this.working.get_or_init(|| Ok(Working::of(stage, cache)));
        Ok(this)
    }

    fn of(name: String, model: Arc<Model>, start: Start, cache: &Arc<ScoreCache>) -> Result<Self, dismax::Error> {
        let columns = Columns::of_model(&model, "")?;
        Ok(Self { name, columns, model, start, cache: Arc::clone(cache), working: Arc::default() })
    }

    /// What queries call it, and which model it is.
    pub fn name(&self) -> ModelName {
        ModelName { name: self.name.clone(), digest: self.digest().to_owned() }
    }

    /// SHA-256 of the model's files.
    pub fn digest(&self) -> &str {
        self.model.digest()
    }

    /// The workers, which are started where they are not.
    ///
    /// # Errors
    /// What [`Stage::try_new`] says.
    pub fn working(&self) -> Result<&Working> {
        let working = self.working.get_or_init(|| {
            let stage = match &self.start {
                Start::Here(options) | Start::OnDemand(options) => {
                    Stage::try_new(Arc::clone(&self.model), options).map(Arc::new).map_err(external)
                }
                Start::Elsewhere(source) => source.stage(&self.name()),
            };
            stage.map(|stage| Working::of(stage, &self.cache)).map_err(Arc::new)
        });
        working.as_ref().map_err(|error| DataFusionError::Shared(Arc::clone(error)))
    }

    /// Starts what should be at work before a plan is made: the sizes of its record batches depend on it.
    ///
    /// # Errors
    /// As [`ScoringModel::working`].
    pub fn be_ready(&self) -> Result<()> {
        match self.start {
            Start::OnDemand(_) => self.working().map(|_| ()),
            Start::Here(_) | Start::Elsewhere(_) => Ok(()),
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The workers, where there are any.
    pub fn stage_if_started(&self) -> Option<&Arc<Stage>> {
        self.working.get()?.as_ref().ok().map(|working| &working.stage)
    }

    /// Checks that this argument holds what the model scores, and says how the stage finds it there.
    pub fn input_column(&self, argument: &Field) -> Result<InputColumn> {
        if self.model.input().embeddings().is_some() {
            let field = argument.clone().with_data_type(self.argument_type(argument));
            return self.model.input_column_of(&field).map_err(|error| plan_datafusion_err!("{error}"));
        }
        let reads_paths = match &self.start {
            Start::Here(options) | Start::OnDemand(options) => options.load.read_paths,
            // Rows of a query name no files that its worker opens.
            Start::Elsewhere(_) => false,
        };
        image_column(argument, reads_paths).map(InputColumn::Image)
    }

    /// The type of an argument. A NULL is a missing image or embedding.
    pub fn argument_type(&self, argument: &Field) -> DataType {
        argument_type(&self.model, argument)
    }
}

/// Checks that an argument holds images, and says how they are found in it.
pub(crate) fn image_column(argument: &Field, reads_paths: bool) -> Result<ImageColumn> {
    let field = argument.clone().with_data_type(image_type(argument).clone());
    let column = ImageColumn::from_field(&field).ok();
    let readable = column.filter(|column| !column.holds_paths() || reads_paths);
    readable.ok_or_else(|| {
        plan_datafusion_err!(
            "\"{}\" has type {}, which holds no images: give a column of encoded images (binary), the struct {{bytes, path}} \
             of Hugging Face, arrow.fixed_shape_tensor of uint8 or nested lists of uint8",
            argument.name(),
            argument.data_type()
        )
    })
}

/// The type of an argument of a model. A NULL is a missing image or embedding.
pub(crate) fn argument_type(model: &Model, argument: &Field) -> DataType {
    match model.input() {
        ModelInput::Embeddings(_) if argument.data_type().is_null() => DataType::new_list(DataType::Float32, true),
        ModelInput::Embeddings(_) => argument.data_type().clone(),
        ModelInput::Images(_) => image_type(argument).clone(),
    }
}

/// The type of an image argument. A NULL is a missing image.
pub(crate) fn image_type(argument: &Field) -> &DataType {
    if argument.data_type().is_null() { &DataType::Binary } else { argument.data_type() }
}

impl fmt::Debug for ScoringModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScoringModel").field("name", &self.name).field("digest", &self.digest()).finish_non_exhaustive()
    }
}

impl PartialEq for ScoringModel {
    fn eq(&self, other: &Self) -> bool {
        // Stages of one model may differ in device and limits.
        let is_one = match (self.stage_if_started(), other.stage_if_started()) {
            (Some(stage), Some(other)) => Arc::ptr_eq(stage, other),
            _ => Arc::ptr_eq(&self.working, &other.working),
        };
        self.name == other.name && is_one
    }
}

impl Eq for ScoringModel {}

impl Hash for ScoringModel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.digest().hash(state);
    }
}

/// A query calls a scoring function in a session that has no models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no model is registered")]
pub struct NoModel;

/// All models of a session. Equal where the models are.
#[derive(Debug)]
pub(crate) struct Registry {
    models: Vec<Arc<ScoringModel>>,
    settings: Settings,
}

impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        self.models == other.models
    }
}

impl Eq for Registry {}

impl Hash for Registry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.models.hash(state);
    }
}

impl Registry {
    /// The models, in the order in which they were added.
    pub fn models(&self) -> &[Arc<ScoringModel>] {
        &self.models
    }

    /// How images are loaded where no model says otherwise.
    pub fn load_options(&self) -> LoadOptions {
        self.settings.options.load
    }

    /// What was seen of images in this session.
    pub fn seen(&self) -> &Arc<Seen> {
        &self.settings.seen
    }

    /// These models and one more, which starts as they did, in the place of one that has its name.
    ///
    /// # Errors
    /// What starting it says.
    pub fn with(&self, name: &str, model: Model) -> Result<Self, dismax::Error> {
        let mut more = self.without(name);
        more.models.push(Arc::new(self.settings.start(name.to_owned(), Entry::Model(Box::new(model)))?));
        Ok(more)
    }

    /// These models but the one of this name.
    pub fn without(&self, name: &str) -> Self {
        let models = self.models.iter().filter(|model| model.name != name).cloned().collect();
        Self { models, settings: self.settings.clone() }
    }

    /// Whether there is a model of this name.
    pub fn has(&self, name: &str) -> bool {
        self.models.iter().any(|model| model.name == name)
    }

    /// The models by name and digest.
    pub fn names(&self) -> Vec<ModelName> {
        self.models.iter().map(|model| model.name()).collect()
    }

    /// The model of this name, or the only one where none is named.
    ///
    /// # Errors
    /// Which models there are.
    pub fn get(&self, name: Option<&str>) -> Result<&Arc<ScoringModel>> {
        let names = || self.listing();
        match (name, self.models.as_slice()) {
            (None, [only]) => Ok(only),
            (None, []) => Err(DataFusionError::External(Box::new(NoModel))),
            (None, _) => {
                Err(plan_datafusion_err!("several models are registered, so name one as last argument ({})", names()))
            }
            (Some(name), models) => models
                .iter()
                .find(|model| model.name == name)
                .ok_or_else(|| plan_datafusion_err!("there is no model '{name}' ({})", names())),
        }
    }

    /// The models' names, for messages.
    pub fn listing(&self) -> String {
        let names: Vec<_> = self.models.iter().map(|model| format!("'{}'", model.name)).collect();
        if names.is_empty() { "none is registered".to_owned() } else { format!("registered: {}", names.join(", ")) }
    }
}

/// An error of the scoring library inside a query.
pub(crate) fn external(error: dismax::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
