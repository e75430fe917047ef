//! The models that SQL can name, each with its workers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result, plan_datafusion_err};
use dismax::columns::Columns;
use dismax::dataset::ImageColumn;
use dismax::model::Model;
use dismax::stage::{Stage, StageOptions};

use crate::scoring::{Remembered, ScoreCache};

/// Models under the names that queries use.
#[derive(Debug, Default)]
pub struct Models {
    options: StageOptions,
    cache: Arc<ScoreCache>,
    entries: Vec<(String, Entry)>,
}

/// A model, or a stage that has one.
#[derive(Debug)]
enum Entry {
    Model(Box<Model>),
    Stage(Arc<Stage>),
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

    /// Adds a model. A later one with the same name takes its place.
    #[must_use]
    pub fn with(self, name: impl Into<String>, model: Model) -> Self {
        self.add(name.into(), Entry::Model(Box::new(model)))
    }

    /// Adds the model of a stage that the caller shares with other work, or whose [`Stage::stats`] it wants to read.
    #[must_use]
    pub fn with_stage(self, name: impl Into<String>, stage: Arc<Stage>) -> Self {
        self.add(name.into(), Entry::Stage(stage))
    }

    fn add(mut self, name: String, entry: Entry) -> Self {
        self.entries.retain(|(taken, _)| *taken != name);
        self.entries.push((name, entry));
        self
    }

    /// Starts the workers.
    pub(crate) fn start(self) -> Result<Registry, dismax::Error> {
        let mut models = Vec::with_capacity(self.entries.len());
        for (name, entry) in self.entries {
            let stage = match entry {
                Entry::Stage(stage) => stage,
                Entry::Model(model) => Arc::new(Stage::try_new(*model, &self.options)?),
            };
            models.push(Arc::new(ScoringModel::try_new(name, stage, &self.cache)?));
        }
        Ok(Registry { models })
    }
}

/// A model with its workers. Equal where name and workers are.
pub(crate) struct ScoringModel {
    pub name: String,
    pub columns: Columns,
    pub stage: Arc<Stage>,
    pub remembered: Remembered,
}

impl ScoringModel {
    fn try_new(name: String, stage: Arc<Stage>, cache: &Arc<ScoreCache>) -> Result<Self, dismax::Error> {
        let columns = Columns::try_new(&stage, "")?;
        let remembered = Remembered::of(cache, &stage);
        Ok(Self { name, columns, stage, remembered })
    }

    fn digest(&self) -> &str {
        self.stage.model().digest()
    }

    /// Checks that this argument holds images, and says how the stage finds them in it.
    pub fn image_column(&self, argument: &Field) -> Result<ImageColumn> {
        let field = argument.clone().with_data_type(image_type(argument).clone());
        let column = ImageColumn::from_field(&field).ok();
        let readable = column.filter(|column| !column.holds_paths() || self.stage.load_options().read_paths);
        readable.ok_or_else(|| {
            plan_datafusion_err!(
                "\"{}\" has type {}, which holds no images: give a column of encoded images (binary), the struct {{bytes, path}} \
                 of Hugging Face, arrow.fixed_shape_tensor of uint8 or nested lists of uint8",
                argument.name(),
                argument.data_type()
            )
        })
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
        self.name == other.name && Arc::ptr_eq(&self.stage, &other.stage)
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

/// All models of a session.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Registry {
    models: Vec<Arc<ScoringModel>>,
}

impl Registry {
    /// The model of this name, or the only one where none is named.
    pub fn get(&self, name: Option<&str>) -> Result<&Arc<ScoringModel>> {
        let names = || {
            let names: Vec<_> = self.models.iter().map(|model| format!("'{}'", model.name)).collect();
            if names.is_empty() { "none is registered".to_owned() } else { format!("registered: {}", names.join(", ")) }
        };
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
}

/// An error of the scoring library inside a query.
pub(crate) fn external(error: dismax::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
