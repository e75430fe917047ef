//! The columns that scoring appends.

mod embedding;
mod prediction_set;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBuilder, DictionaryArray, FixedSizeListArray, Float32Array, Float32Builder,
    Int32Builder, RecordBatch, StringArray, StringBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

pub use self::embedding::{embedding_type, embeddings};
use crate::calibration::{Calibration, SetThresholds};
use crate::dataset::huggingface::{METADATA_KEY, extend_features};
use crate::error::{Error, Result, RowError};
use crate::model::Model;
use crate::score::Score;
use crate::stage::{Scored, Stage};

/// Keys of the schema's metadata, after the prefix.
const ALPHA_KEY: &str = "alpha";
pub(crate) const DIGEST_KEY: &str = "model_digest";
const SET_ALPHA_KEY: &str = "prediction_set_alpha";

/// A column that scoring always appends, in the order of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ScoredColumn {
    /// Name of the class with the largest probability: dictionary of utf8.
    Prediction,
    /// Its calibrated probability: f32 in (0, 1].
    Confidence,
    /// Calibrated probability of every class, in the model's order: fixed-size list of f32.
    Probabilities,
    /// Minus the in-distribution score: f32, higher is more out-of-distribution.
    OodScore,
    /// Conformal p-value: f32 in (0, 1], small is out-of-distribution.
    OodPValue,
    /// Whether the p-value is at most alpha: bool.
    IsOod,
    /// Why the row has no scores: utf8, null where it has.
    Error,
}

impl ScoredColumn {
    /// All columns, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        use strum::IntoEnumIterator;
        Self::iter()
    }

    /// Name without prefix.
    pub fn name(self) -> &'static str {
        self.into()
    }

    fn data_type(self, classes: i32) -> DataType {
        match self {
            Self::Prediction => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            Self::Confidence | Self::OodScore | Self::OodPValue => DataType::Float32,
            Self::Probabilities => DataType::FixedSizeList(probability(), classes),
            Self::IsOod => DataType::Boolean,
            Self::Error => DataType::Utf8,
        }
    }
}

/// Field of one probability.
fn probability() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}

/// The appended columns of a record batch.
#[derive(Debug, Clone)]
pub struct ScoredColumns {
    /// The columns, in the order of [`ScoredColumn::all`], and the prediction sets where they were asked for.
    pub arrays: Vec<ArrayRef>,
    /// P-value of each row, none where it has an `error`. `is_ood` compares these, which are not rounded to f32.
    pub p_values: Vec<Option<f64>>,
    /// Rows whose `is_ood` is true.
    pub flagged: u64,
    /// Rows that have an `error`, with the reason.
    pub failed: Vec<(usize, RowError)>,
}

impl ScoredColumns {
    /// One of the columns.
    pub fn array(&self, column: ScoredColumn) -> &ArrayRef {
        &self.arrays[column as usize]
    }

    /// Replaces a column.
    pub fn set_array(&mut self, column: ScoredColumn, array: ArrayRef) {
        self.arrays[column as usize] = array;
    }
}

/// Builds record batches with the scored columns appended:
///
/// | name | type | meaning |
/// | --- | --- | --- |
/// | `prediction` | dictionary of utf8 | name of the class with the largest probability |
/// | `confidence` | f32 in (0, 1] | its calibrated probability |
/// | `probabilities` | fixed-size list of f32 | calibrated probability of every class, in the model's order |
/// | `ood_score` | f32 | minus the in-distribution score: higher is more out-of-distribution |
/// | `ood_p_value` | f32 in (0, 1] | conformal p-value: small is out-of-distribution |
/// | `is_ood` | bool | whether the p-value is at most alpha |
/// | `error` | utf8 | null for a scored row, else `code` or `code: detail`; all others are null then |
/// | `prediction_set` | list of utf8 | on request: the classes that the row may have, [`PredictionSets`](crate::calibration::PredictionSets) |
#[derive(Debug, Clone)]
pub struct Columns {
    fields: Vec<Field>,
    class_names: Arc<StringArray>,
    model: Arc<Model>,
    calibration: Calibration,
    metadata: HashMap<String, String>,
    prefix: String,
    sets: Option<SetThresholds>,
}

impl Columns {
    /// The columns of the stage's model, each name with `prefix` in front.
    ///
    /// The schema's metadata get `dismax.model_digest`, `.temperature`, `.score` and `.alpha`, where scores are
    /// averages `.tta` too, with the prefix before the last word, so that scoring a dataset with a second model keeps
    /// what is known of the first.
    ///
    /// # Errors
    /// [`Error::NotCalibrated`] if the model is not calibrated, [`Error::Config`] for more classes than a list can
    /// have.
    pub fn try_new(stage: &Stage, prefix: &str) -> Result<Self> {
        Self::of_model(stage.model(), prefix)
    }

    /// The same without a stage: for plans that others carry out.
    ///
    /// # Errors
    /// As [`Columns::try_new`].
    pub fn of_model(model: &Arc<Model>, prefix: &str) -> Result<Self> {
        let calibration = model.require_calibration()?.clone();
        let classes = i32::try_from(model.classes().len())
            .map_err(|_| Error::Config(format!("{} classes are too many for a column", model.classes().len())))?;
        let fields = ScoredColumn::all()
            .map(|column| Field::new(format!("{prefix}{}", column.name()), column.data_type(classes), true));
        let metadata = [
            (DIGEST_KEY, model.digest().to_owned()),
            ("temperature", calibration.temperature.to_string()),
            ("score", calibration.score.to_string()),
            (ALPHA_KEY, calibration.alpha.to_string()),
        ];
        let averages = (!calibration.tta.is_none()).then(|| ("tta", calibration.tta.to_string()));
        Ok(Self {
            fields: fields.collect(),
            class_names: Arc::new(StringArray::from_iter_values(model.classes())),
            model: Arc::clone(model),
            calibration,
            metadata: metadata
                .into_iter()
                .chain(averages)
                .map(|(name, value)| (metadata_key(prefix, name), value))
                .collect(),
            prefix: prefix.to_owned(),
            sets: None,
        })
    }

    /// Flags at another share of in-distribution rows than the model's; p-values stay as they are.
    ///
    /// # Errors
    /// [`Error::Config`] for an alpha outside (0, 1) or one that the model has too few calibration rows for.
    pub fn with_alpha(mut self, alpha: f64) -> Result<Self> {
        self.calibration.scores.check_alpha(alpha)?;
        self.calibration.alpha = alpha;
        self.metadata.insert(metadata_key(&self.prefix, ALPHA_KEY), alpha.to_string());
        Ok(self)
    }

    /// Flags at `alpha`, and appends prediction sets at `prediction_set`, each where it is given.
    ///
    /// # Errors
    /// As [`Columns::with_alpha`] and [`Columns::with_prediction_set`].
    pub fn with_alphas(self, alpha: Option<f64>, prediction_set: Option<f64>) -> Result<Self> {
        let flagged = match alpha {
            None => self,
            Some(alpha) => self.with_alpha(alpha)?,
        };
        match prediction_set {
            None => Ok(flagged),
            Some(alpha) => flagged.with_prediction_set(alpha),
        }
    }

    /// Appends the column `prediction_set` too: the classes that a row may have, so that of the rows of each class at
    /// most a share of `alpha` lacks it. The schema's metadata get `dismax.prediction_set_alpha`.
    ///
    /// # Errors
    /// As [`Columns::set_thresholds`].
    pub fn with_prediction_set(mut self, alpha: f64) -> Result<Self> {
        self.sets = Some(self.set_thresholds(alpha)?);
        self.fields.truncate(ScoredColumn::all().count());
        self.fields.push(prediction_set_field(format!("{}{}", self.prefix, prediction_set::NAME)));
        self.metadata.insert(metadata_key(&self.prefix, SET_ALPHA_KEY), alpha.to_string());
        Ok(self)
    }

    /// What decides which classes are in a prediction set.
    ///
    /// # Errors
    /// [`Error::Model`] for a model that an earlier release calibrated, [`Error::Config`] for an alpha outside (0, 1)
    /// or one that the model has too few calibration rows for.
    pub fn set_thresholds(&self, alpha: f64) -> Result<SetThresholds> {
        let sets = self.calibration.prediction_sets.as_ref().filter(|sets| sets.classes() == self.classes());
        let sets = sets.ok_or_else(|| {
            let message =
                "an earlier release calibrated it and kept nothing to make prediction sets from: calibrate it again";
            Error::model(self.model.path(), message)
        })?;
        sets.at(alpha)
    }

    /// The prediction set of each row, null where it has an error.
    ///
    /// # Errors
    /// [`Error::Arrow`] if the probabilities are not those of this model's classes.
    pub fn prediction_sets(&self, scored: &ScoredColumns, thresholds: &SetThresholds) -> Result<ArrayRef> {
        let probabilities = scored.array(ScoredColumn::Probabilities).as_fixed_size_list();
        prediction_set::array(thresholds, &self.class_names, probabilities).map_err(fault)
    }

    /// Share of in-distribution rows that may be flagged.
    pub fn alpha(&self) -> f64 {
        self.calibration.alpha
    }

    /// The in-distribution score whose negative is the column `ood_score`.
    pub fn score(&self) -> Score {
        self.calibration.score
    }

    /// The field of an appended column.
    pub fn field(&self, column: ScoredColumn) -> &Field {
        &self.fields[column as usize]
    }

    /// The appended fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Schema of the output: the input's columns and metadata, then the appended ones.
    ///
    /// # Errors
    /// [`Error::ColumnTaken`] if the input has a column of one of these names.
    pub fn schema(&self, input: &Schema) -> Result<SchemaRef> {
        self.extended(input, &self.fields)
    }

    /// Schema of the failed rows alone: the input's columns and metadata, then the column `error`.
    ///
    /// # Errors
    /// As [`Columns::schema`].
    pub fn error_schema(&self, input: &Schema) -> Result<SchemaRef> {
        self.extended(input, std::slice::from_ref(self.field(ScoredColumn::Error)))
    }

    /// The same with prediction sets where a dataset has them that this model appended.
    ///
    /// # Errors
    /// As [`Columns::with_prediction_set`].
    pub(crate) fn like_those_in(self, schema: &Schema) -> Result<Self> {
        match set_alpha_in(schema, &self.prefix) {
            Some(alpha) if self.sets.is_none() => self.with_prediction_set(alpha),
            _ => Ok(self),
        }
    }

    /// Checks that a dataset has the columns that this model appended to it.
    ///
    /// # Errors
    /// What is missing, in words.
    pub(crate) fn require_in(&self, schema: &Schema) -> Result<(), String> {
        if let Some(missing) = self.fields.iter().find(|field| schema.column_with_name(field.name()).is_none()) {
            return Err(format!("has no column \"{}\"; name the output of an earlier run", missing.name()));
        }
        match (set_alpha_in(schema, &self.prefix), &self.sets) {
            (Some(theirs), Some(sets)) if theirs != sets.alpha() => {
                return Err(format!("has prediction sets at alpha {theirs}, not at {}", sets.alpha()));
            }
            _ => {}
        }
        match schema.metadata().get(&metadata_key(&self.prefix, DIGEST_KEY)) {
            Some(digest) if *digest == self.model.digest() => {
                let alpha = schema.metadata().get(&metadata_key(&self.prefix, ALPHA_KEY));
                match alpha.filter(|alpha| **alpha != self.alpha().to_string()) {
                    None => Ok(()),
                    Some(alpha) => Err(format!("was flagged at alpha {alpha}, not at {}", self.alpha())),
                }
            }
            Some(digest) => Err(format!("comes from model {digest}, not from {}", self.model.digest())),
            None => Err("does not say which model it comes from".into()),
        }
    }

    fn extended(&self, input: &Schema, added: &[Field]) -> Result<SchemaRef> {
        if let Some(taken) = self.fields.iter().find(|field| input.column_with_name(field.name()).is_some()) {
            return Err(Error::ColumnTaken { name: taken.name().clone() });
        }
        extended(input, added, &self.metadata)
    }

    /// `record_batch` with the columns of `scored` appended; `schema` is what [`Columns::schema`] gave.
    ///
    /// # Errors
    /// As [`Columns::build`]; [`Error::Arrow`] if the record batch does not have the schema's input columns.
    pub fn append(&self, record_batch: &RecordBatch, scored: &Scored, schema: &SchemaRef) -> Result<RecordBatch> {
        with_columns(record_batch, &self.build(scored)?.arrays, schema)
    }

    /// The appended columns, with the p-values and counts that a summary needs.
    ///
    /// # Errors
    /// [`Error::Model`] if another model computed the logits; [`Error::Arrow`] if arrays of these types cannot be
    /// built.
    pub fn build(&self, scored: &Scored) -> Result<ScoredColumns> {
        self.require_same_model(scored)?;
        let rows = scored.rows().len();
        let classes = self.classes();
        let mut prediction = Int32Builder::with_capacity(rows);
        let mut confidence = Float32Builder::with_capacity(rows);
        let mut probabilities = vec![0.0f32; rows * classes];
        let mut ood_score = Float32Builder::with_capacity(rows);
        let mut p_value = Float32Builder::with_capacity(rows);
        let mut is_ood = BooleanBuilder::with_capacity(rows);
        let mut error = StringBuilder::new();
        let mut valid = Vec::with_capacity(rows);
        let mut p_values = Vec::with_capacity(rows);
        let (mut flagged, mut failed) = (0, Vec::new());
        for (row, out) in probabilities.chunks_exact_mut(classes).enumerate() {
            let calibrated =
                scored.output(row).map_err(Clone::clone).and_then(|output| self.calibration.apply(output, out));
            valid.push(calibrated.is_ok());
            p_values.push(calibrated.as_ref().ok().map(|(_, verdict)| verdict.p_value));
            match calibrated {
                Ok((scores, verdict)) => {
                    prediction.append_value(scores.class as i32);
                    confidence.append_value(scores.confidence);
                    ood_score.append_value(-scores.score);
                    p_value.append_value(verdict.p_value as f32);
                    is_ood.append_value(verdict.is_ood);
                    flagged += u64::from(verdict.is_ood);
                    error.append_null();
                }
                Err(fault) => {
                    out.fill(0.0);
                    prediction.append_null();
                    confidence.append_null();
                    ood_score.append_null();
                    p_value.append_null();
                    is_ood.append_null();
                    error.append_value(fault.to_string());
                    failed.push((row, fault));
                }
            }
        }
        let names: ArrayRef = Arc::clone(&self.class_names) as ArrayRef;
        let prediction = DictionaryArray::try_new(prediction.finish(), names).map_err(fault)?;
        let values: ArrayRef = Arc::new(Float32Array::from(probabilities));
        let lists = FixedSizeListArray::try_new(probability(), classes as i32, values, Some(NullBuffer::from(valid)));
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(prediction),
            Arc::new(confidence.finish()),
            Arc::new(lists.map_err(fault)?),
            Arc::new(ood_score.finish()),
            Arc::new(p_value.finish()),
            Arc::new(is_ood.finish()),
            Arc::new(error.finish()),
        ];
        let mut columns = ScoredColumns { arrays, p_values, flagged, failed };
        if let Some(thresholds) = &self.sets {
            columns.arrays.push(self.prediction_sets(&columns, thresholds)?);
        }
        Ok(columns)
    }

    /// Another model's logits under this one's calibration would be plausible and wrong.
    fn require_same_model(&self, scored: &Scored) -> Result<()> {
        let (ours, theirs) = (&self.model, scored.model());
        let fault = || format!("cannot calibrate the logits of model {}", theirs.path().display());
        if ours.is_same(theirs) { Ok(()) } else { Err(Error::model(ours.path(), fault())) }
    }

    /// How many classes the model has.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Names of the classes in the model's order.
    pub fn class_names(&self) -> &StringArray {
        &self.class_names
    }
}

/// `input` with more fields behind its own, and more metadata.
///
/// # Errors
/// [`Error::ColumnTaken`] if it has a column of one of these names.
pub(crate) fn extended(input: &Schema, added: &[Field], metadata: &HashMap<String, String>) -> Result<SchemaRef> {
    if let Some(taken) = added.iter().find(|field| input.column_with_name(field.name()).is_some()) {
        return Err(Error::ColumnTaken { name: taken.name().clone() });
    }
    let mut fields = input.fields().to_vec();
    fields.extend(added.iter().cloned().map(Arc::new));
    let mut of_input = input.metadata().clone();
    if let Some(features) = of_input.remove(METADATA_KEY) {
        of_input.extend(extend_features(&features, input, added).map(|features| (METADATA_KEY.to_owned(), features)));
    }
    of_input.extend(metadata.clone());
    Ok(Arc::new(Schema::new_with_metadata(fields, of_input)))
}

/// A column of prediction sets: lists of class names in the model's order, null where a row has an error.
pub fn prediction_set_field(name: impl Into<String>) -> Field {
    Field::new(name, prediction_set::data_type(), true)
}

/// The alpha of the prediction sets that a dataset has.
fn set_alpha_in(schema: &Schema, prefix: &str) -> Option<f64> {
    schema.column_with_name(&format!("{prefix}{}", prediction_set::NAME))?;
    schema.metadata().get(&metadata_key(prefix, SET_ALPHA_KEY))?.parse().ok()
}

fn fault(source: ArrowError) -> Error {
    Error::Arrow { origin: "building the scored columns".into(), source }
}

pub(crate) fn metadata_key(prefix: &str, name: &str) -> String {
    format!("dismax.{prefix}{name}")
}

/// `record_batch` with more columns behind its own.
///
/// # Errors
/// [`Error::Arrow`] if they do not make `schema`.
pub(crate) fn with_columns(record_batch: &RecordBatch, added: &[ArrayRef], schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = record_batch.columns().iter().chain(added).cloned().collect();
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|source| Error::Arrow { origin: "appending the scored columns".into(), source })
}
