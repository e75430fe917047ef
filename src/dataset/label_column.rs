//! Which column holds the class labels, and what they say.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};

use super::bytes::{BytesColumn, is_text};
use super::chunk::Chunk;
use super::class_names::ClassNames;
use super::huggingface;
use super::schema::{list_columns, named};
use crate::error::{ColumnRole, Error, Result};

/// Names that a label column has where the user gives none.
const NAMES: [&str; 5] = ["label", "labels", "class", "target", "fine_label"];

/// The column that holds the class labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelColumn {
    name: String,
    index: usize,
    kind: LabelKind,
    class_names: Option<Vec<String>>,
}

/// What a label is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelKind {
    /// The number of the class, from 0.
    Index,
    /// The name of the class.
    Name,
}

/// Labels of a record batch, one for each row; `None` where it is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// Numbers of classes; not checked against a number of classes.
    Indices(Vec<Option<i64>>),
    /// Names of classes.
    Names(Vec<Option<String>>),
}

impl LabelColumn {
    /// Finds the column by its name (`label`, `labels`, `class`, `target` or `fine_label`, in any case), or takes the
    /// one that the user named. Labels are integers (class numbers) or text (class names).
    ///
    /// # Errors
    /// When no column fits, several fit, or the named one does not exist or is neither integer nor text; the message
    /// lists the columns in question with their types.
    pub fn find(schema: &Schema, wanted: Option<&str>) -> Result<Self> {
        let fields = || schema.fields().iter().map(AsRef::as_ref).enumerate();
        let refused = |message: String| Error::column(ColumnRole::Label, message);
        let refuse = |message: String| Err(refused(message));
        let wrong_type = |field: &Field| {
            format!(
                "\"{}\" is {}; labels are whole numbers (classes) or text (class names)",
                field.name(),
                field.data_type()
            )
        };
        if let Some(wanted) = wanted {
            let (index, field) = named(schema, wanted).map_err(refused)?;
            return match kind_of(field.data_type()) {
                Some(kind) => Ok(Self::new(schema, index, field, kind)),
                None => refuse(wrong_type(field)),
            };
        }
        let usual = || fields().filter(|(_, field)| NAMES.iter().any(|name| field.name().eq_ignore_ascii_case(name)));
        let mut fitting = usual().filter_map(|(index, field)| Some((index, field, kind_of(field.data_type())?)));
        match (fitting.next(), fitting.next()) {
            (Some((index, field, kind)), None) => Ok(Self::new(schema, index, field, kind)),
            (Some(_), Some(_)) => refuse(format!(
                "several columns fit: {}; name one of them",
                list_columns(usual().filter(|(_, field)| kind_of(field.data_type()).is_some()))
            )),
            (None, _) => match usual().next() {
                Some((_, field)) => refuse(wrong_type(field)),
                None => refuse(format!(
                    "no column is called {}; the columns are {}",
                    NAMES.join(", "),
                    list_columns(fields())
                )),
            },
        }
    }

    fn new(schema: &Schema, index: usize, field: &Field, kind: LabelKind) -> Self {
        let class_names = huggingface::class_names(schema, field.name());
        Self { name: field.name().clone(), index, kind, class_names }
    }

    /// Name of the column.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Position of the column in the schema it was found in.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether labels are numbers or names.
    pub fn kind(&self) -> LabelKind {
        self.kind
    }

    /// Names of the classes by number, where Hugging Face's metadata in the schema tell them.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// The labels of a record batch that has this column, at any position.
    ///
    /// # Errors
    /// When the batch lacks the column, has it with another type, or a number does not fit 64 signed bits.
    pub fn labels(&self, record_batch: &RecordBatch) -> Result<Labels> {
        self.read(record_batch, "label column", 0)
    }

    /// The labels of a chunk; messages name its file and the row in it.
    ///
    /// # Errors
    /// As [`LabelColumn::labels`].
    pub fn labels_of(&self, chunk: &Chunk) -> Result<Labels> {
        self.read(&chunk.record_batch, &chunk.file, chunk.first_row)
    }

    fn read(&self, record_batch: &RecordBatch, origin: &str, first_row: u64) -> Result<Labels> {
        let refuse = |message: &str| Error::data(origin, format!("label column \"{}\" {message}", self.name));
        let array =
            record_batch.column_by_name(&self.name).ok_or_else(|| refuse("is not in a record batch of the dataset"))?;
        match self.kind {
            LabelKind::Name if is_text(array.data_type()) => {
                let texts = BytesColumn::try_new(array)?;
                Ok(Labels::Names((0..array.len()).map(|row| texts.text(row).map(str::to_owned)).collect()))
            }
            LabelKind::Index if array.data_type().is_floating() => {
                let strict = CastOptions { safe: false, ..CastOptions::default() };
                let numbers = cast_with_options(array, &DataType::Float64, &strict)
                    .map_err(|error| refuse(&format!("cannot be read as numbers: {error}")))?;
                let whole = |(row, number): (usize, Option<f64>)| match number {
                    None => Ok(None),
                    Some(number) if number.is_nan() => Ok(None),
                    // Beyond 2^53 not every whole number is a float, and no model has so many classes.
                    Some(number) if number.fract() == 0.0 && number.abs() < 9e15 => Ok(Some(number as i64)),
                    Some(number) => {
                        let origin = format!("{origin}, row {}", first_row + row as u64);
                        Err(Error::data(origin, format!("label {number} is not a whole number")))
                    }
                };
                let numbers = numbers.as_primitive::<Float64Type>().iter().enumerate();
                numbers.map(whole).collect::<Result<_>>().map(Labels::Indices)
            }
            LabelKind::Index if is_integer(array.data_type()) => {
                // Not `safe`: a number that does not fit is an error, not a null.
                let strict = CastOptions { safe: false, ..CastOptions::default() };
                let numbers = cast_with_options(array, &DataType::Int64, &strict)
                    .map_err(|error| refuse(&format!("holds a number that is too large: {error}")))?;
                Ok(Labels::Indices(numbers.as_primitive::<Int64Type>().iter().collect()))
            }
            _ => Err(refuse("changed its type between files or batches")),
        }
    }
}

impl Labels {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Indices(labels) => labels.len(),
            Self::Names(labels) => labels.len(),
        }
    }

    /// True for a batch without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels as positions in `class_names`; null stays `None`.
    ///
    /// # Errors
    /// A number beyond the classes or a name that is not among them; the message has `file` and the row in it, which
    /// `first_row` counts from.
    pub fn to_classes(&self, class_names: &[String], file: &str, first_row: u64) -> Result<Vec<Option<usize>>> {
        let refuse = |row: usize, message: String| {
            Error::data(format!("{file}, row {}", first_row + row as u64), format!("label {message}"))
        };
        match self {
            Self::Indices(labels) => labels
                .iter()
                .enumerate()
                .map(|(row, label)| {
                    let Some(label) = *label else { return Ok(None) };
                    usize::try_from(label).ok().filter(|class| *class < class_names.len()).map(Some).ok_or_else(|| {
                        let hint = if label == -1 { " (-1 often stands for an image without label)" } else { "" };
                        let last = class_names.len().saturating_sub(1);
                        refuse(row, format!("{label} is outside the classes 0 to {last}{hint}; correct the label, or make it null to leave the row out"))
                    })
                })
                .collect(),
            Self::Names(labels) => {
                let classes = ClassNames::new(class_names);
                labels
                    .iter()
                    .enumerate()
                    .map(|(row, label)| {
                        let Some(label) = label else { return Ok(None) };
                        classes
                            .class_of(label)
                            .map(Some)
                            .ok_or_else(|| refuse(row, format!("\"{label}\" is not among the classes; correct the label, or make it null to leave the row out")))
                    })
                    .collect()
            }
        }
    }
}

fn kind_of(data_type: &DataType) -> Option<LabelKind> {
    if is_integer(data_type) || data_type.is_floating() {
        Some(LabelKind::Index)
    } else {
        is_text(data_type).then_some(LabelKind::Name)
    }
}

fn is_integer(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_integer(values),
        other => other.is_integer(),
    }
}
