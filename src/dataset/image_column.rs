//! Which column holds the images, and how to get one out of it.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::bytes::{BytesColumn, is_binary, is_text};
use super::chunk::Chunk;
use super::raw_pixels::{NestedLists, Shape, nesting, shape_of, tensor_shape};
use super::schema::{list_columns, named};
use super::slices::used_bytes;
use crate::error::ColumnRole;
use crate::image::Layout;
use crate::{Error, Result, RowError, RowErrorCode};

/// The forms that are understood, for messages.
const FORMS: &str = "an image column is binary (encoded images), the struct {bytes, path} of Hugging Face, \
                     arrow.fixed_shape_tensor of uint8 or nested lists of uint8";

/// The column that holds the images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageColumn {
    name: String,
    index: usize,
    form: Form,
    /// Where the files that rows name may lie, because the user named that folder; empty for anywhere, where the names
    /// come from our own listing of it.
    opens_below: Option<Arc<Path>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Encoded images as bytes.
    Binary,
    /// Hugging Face's `{bytes, path}`.
    Struct,
    /// Pixels of one shape.
    Tensor(Shape),
    /// Pixels as lists in lists.
    Nested,
    /// Names of files.
    Path,
}

impl ImageColumn {
    /// Finds the column by its type, or takes the one that the user named.
    ///
    /// Columns of text count only when named: they may hold anything.
    ///
    /// # Errors
    /// When no column fits, several fit, or the named one does not exist or does not fit; the message lists the columns
    /// in question with their types.
    pub fn find(schema: &Schema, wanted: Option<&str>) -> Result<Self> {
        let column =
            |(index, field): (usize, &Field), form| Self { name: field.name().clone(), index, form, opens_below: None };
        let fields = || schema.fields().iter().map(AsRef::as_ref).enumerate();
        let refused = |message: String| Error::column(ColumnRole::Image, message);
        let refuse = |message: String| Err(refused(message));
        if let Some(wanted) = wanted {
            let found = named(schema, wanted).map_err(refused)?;
            let form = form_of(found.1).or_else(|| is_text(found.1.data_type()).then_some(Form::Path));
            return match form {
                Some(form) => Ok(column(found, form)),
                None => refuse(format!("\"{wanted}\" is {}; {FORMS}, or text (paths)", found.1.data_type())),
            };
        }
        let mut fitting = fields().filter_map(|found| Some(column(found, form_of(found.1)?)));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => match fields().find(|(_, field)| holds_several(field)) {
                Some((_, field)) => refuse(format!(
                    "\"{}\" ({}) holds several images a row; give each a row of its own first, in SQL with \
                     SELECT *, unnest(\"{}\") AS image",
                    field.name(),
                    field.data_type(),
                    field.name()
                )),
                None => refuse(format!("no column fits: {FORMS}; the columns are {}", list_columns(fields()))),
            },
            (Some(_), Some(_)) => refuse(format!(
                "several columns fit: {}; name one of them",
                list_columns(fields().filter(|(_, field)| form_of(field).is_some()))
            )),
        }
    }

    /// The column that consists of arrays of this field. Text counts as paths.
    ///
    /// # Errors
    /// When a column of this type holds no images.
    pub fn from_field(field: &Field) -> Result<Self> {
        let form = form_of(field).or_else(|| is_text(field.data_type()).then_some(Form::Path));
        match form {
            Some(form) => Ok(Self { name: field.name().clone(), index: 0, form, opens_below: None }),
            None => Err(Error::data(
                "image column",
                format!("\"{}\" is {}; {FORMS}, or text (paths)", field.name(), field.data_type()),
            )),
        }
    }

    /// The same for rows whose files may be opened where they lie below `folder`, or anywhere where that is empty.
    pub(crate) fn opening_below(self, folder: &Path) -> Self {
        Self { opens_below: Some(folder.into()), ..self }
    }

    /// Name of the column.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether every row names a file instead of holding an image.
    pub fn holds_paths(&self) -> bool {
        self.form == Form::Path
    }

    /// Position of the column in the schema it was found in.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The images of a chunk that has this column, at any position. Paths start in the folder of the chunk's file.
    ///
    /// # Errors
    /// When the chunk lacks the column or has it with another type.
    pub fn images(&self, chunk: &Chunk) -> Result<Images> {
        let images = self.images_in(&chunk.record_batch)?;
        match &self.opens_below {
            Some(_) => Ok(Images { opens_below: self.opens_below.clone(), ..images }),
            None => Ok(Images { folder: Path::new(&*chunk.file).parent().map(Arc::from), ..images }),
        }
    }

    /// The images of a record batch that has this column, at any position. Paths start in the current folder.
    ///
    /// # Errors
    /// When the record batch lacks the column or has it with another type.
    pub fn images_in(&self, record_batch: &RecordBatch) -> Result<Images> {
        let array = record_batch
            .column_by_name(&self.name)
            .ok_or_else(|| Error::data("image column", format!("a record batch has no column \"{}\"", self.name)))?;
        let bytes = record_batch.columns().iter().map(used_bytes).sum();
        Ok(Images { bytes, ..self.images_of(array)? })
    }

    /// The images of an array that has this column's type. Paths start in the current folder.
    ///
    /// # Errors
    /// When the array has another type.
    pub fn images_of(&self, array: &ArrayRef) -> Result<Images> {
        let data_type = array.data_type();
        let fits = match self.form {
            Form::Path => is_text(data_type),
            // The shape of a tensor stands in the field's metadata, which a batch may have lost; the length must do.
            Form::Tensor(shape) => {
                nesting(data_type) == Some(1)
                    && matches!(data_type, DataType::FixedSizeList(_, length) if i64::from(*length) == values_of(shape))
            }
            _ => form_of(&Field::new(&self.name, data_type.clone(), true)).as_ref() == Some(&self.form),
        };
        if !fits {
            return Err(Error::data(
                "image column",
                format!("\"{}\" changed its type to {data_type} in a record batch", self.name),
            ));
        }
        let values = match self.form {
            Form::Binary => Values::Encoded(BytesColumn::try_new(array)?),
            Form::Path => Values::Path(BytesColumn::try_new(array)?),
            Form::Tensor(shape) => Values::Tensor(NestedLists::try_new(array)?, shape),
            Form::Nested => Values::Nested(NestedLists::try_new(array)?),
            Form::Struct => {
                let parts = array.as_struct();
                let part = |name, fits: fn(&DataType) -> bool| match parts.column_by_name(name) {
                    Some(part) if fits(part.data_type()) => BytesColumn::try_new(part).map(Some),
                    _ => Ok(None),
                };
                let (bytes, path) = (part("bytes", is_binary)?, part("path", is_text)?);
                Values::Struct(Box::new(StructParts { array: parts.clone(), bytes, path }))
            }
        };
        Ok(Images { values, rows: array.len(), bytes: used_bytes(array), folder: None, opens_below: None })
    }
}

/// Images of one record batch. Shares its memory.
#[derive(Debug, Clone)]
pub struct Images {
    values: Values,
    rows: usize,
    bytes: usize,
    /// Where relative paths start; the current folder where there is none.
    folder: Option<Arc<Path>>,
    /// Where files may be opened without being allowed to; anywhere where it is empty.
    opens_below: Option<Arc<Path>>,
}

#[derive(Debug, Clone)]
enum Values {
    Encoded(BytesColumn),
    Path(BytesColumn),
    Struct(Box<StructParts>),
    Tensor(NestedLists, Shape),
    Nested(NestedLists),
    /// Those of several record batches one after the other, each with the number of its first row.
    Joined(Arc<Vec<(usize, Images)>>),
}

/// Hugging Face's struct. A file may lack either part.
#[derive(Debug, Clone)]
struct StructParts {
    array: StructArray,
    bytes: Option<BytesColumn>,
    path: Option<BytesColumn>,
}

/// One image as it lies in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image<'a> {
    /// The bytes of an image file, at least one.
    Encoded(&'a [u8]),
    /// Unencoded `u8` pixels.
    Raw {
        /// `height * width * channels` values, unless the data are at fault.
        values: &'a [u8],
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// Values of a pixel.
        channels: u32,
        /// Order of the values.
        layout: Layout,
    },
    /// Name of a file, not yet opened.
    Path(&'a str),
}

impl Images {
    /// The images of several record batches, one after the other.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        let bytes = parts.iter().map(Self::bytes).sum();
        let mut rows = 0;
        let parts = parts.into_iter().map(|part| {
            let first = rows;
            rows += part.rows;
            (first, part)
        });
        let values = Values::Joined(Arc::new(parts.collect()));
        Self { values, rows, bytes, folder: None, opens_below: None }
    }

    /// The record batch of a row, and the row's number there.
    pub(super) fn part_of(&self, row: usize) -> (&Self, usize) {
        match &self.values {
            Values::Joined(parts) => {
                let after = parts.partition_point(|(first, _)| *first <= row);
                let (first, part) = &parts[after - 1];
                (part, row - first)
            }
            _ => (self, row),
        }
    }

    /// Number of rows, with and without an image.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of the record batch that stay in memory with these images, the other columns included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the files that rows name may be opened; anywhere where it is empty.
    pub(super) fn opens_below(&self) -> Option<&Path> {
        self.opens_below.as_deref()
    }

    /// Where relative paths start.
    pub(super) fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new(""))
    }

    /// The image of a row of the record batch.
    ///
    /// # Errors
    /// `null_image` for null (or rows beyond the end), `empty_image` for zero bytes, `wrong_shape` for lists that form
    /// no rectangle of 1, 3 or 4 channels.
    pub fn get(&self, row: usize) -> Result<Image<'_>, RowError> {
        match &self.values {
            Values::Joined(_) => {
                let (part, row) = self.part_of(row);
                part.get(row)
            }
            Values::Encoded(bytes) => encoded(bytes.get(row)),
            Values::Path(paths) => path(paths.text(row)),
            Values::Struct(parts) => {
                if row >= parts.array.len() || parts.array.is_null(row) {
                    return encoded(None);
                }
                match (parts.bytes.as_ref().and_then(|bytes| bytes.get(row)), &parts.path) {
                    (None, Some(paths)) => path(paths.text(row)),
                    (bytes, _) => encoded(bytes),
                }
            }
            Values::Tensor(lists, shape) => raw(lists.get(row)?.0, *shape),
            Values::Nested(lists) => {
                let (values, sizes) = lists.get(row)?;
                let shape = shape_of(&sizes).ok_or_else(|| {
                    RowError::new(RowErrorCode::WrongShape, format!("{sizes:?} has not 1, 3 or 4 channels"))
                })?;
                raw(values, shape)
            }
        }
    }

    /// The file name that a row gives its image: the path of the struct `{bytes, path}` or of a column of paths; none
    /// where there is none.
    pub fn name(&self, row: usize) -> Option<&str> {
        let paths = match &self.values {
            Values::Joined(_) => {
                let (part, row) = self.part_of(row);
                return part.name(row);
            }
            Values::Path(paths) => paths,
            Values::Struct(parts) if row < parts.array.len() && parts.array.is_valid(row) => parts.path.as_ref()?,
            _ => return None,
        };
        paths.text(row).filter(|name| !name.is_empty())
    }
}

fn encoded(bytes: Option<&[u8]>) -> Result<Image<'_>, RowError> {
    match bytes {
        None => Err(RowError::new(RowErrorCode::NullImage, "")),
        Some([]) => Err(RowError::new(RowErrorCode::EmptyImage, "")),
        Some(bytes) => Ok(Image::Encoded(bytes)),
    }
}

fn path(text: Option<&str>) -> Result<Image<'_>, RowError> {
    match text {
        None => Err(RowError::new(RowErrorCode::NullImage, "")),
        Some("") => Err(RowError::new(RowErrorCode::EmptyImage, "the path is empty")),
        Some(text) => Ok(Image::Path(text)),
    }
}

fn raw(values: &[u8], shape: Shape) -> Result<Image<'_>, RowError> {
    let Shape { height, width, channels, layout } = shape;
    Ok(Image::Raw { values, height, width, channels, layout })
}

fn values_of(shape: Shape) -> i64 {
    i64::from(shape.height).saturating_mul(shape.width.into()).saturating_mul(shape.channels.into())
}

/// Whether each row is a list of what could be images.
fn holds_several(field: &Field) -> bool {
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => form_of(item).is_some(),
        _ => false,
    }
}

/// How a column holds images, as far as its type tells; `None` when it does not look like one.
fn form_of(field: &Field) -> Option<Form> {
    if is_binary(field.data_type()) {
        return Some(Form::Binary);
    }
    if let Some(shape) = tensor_shape(field) {
        return Some(Form::Tensor(shape));
    }
    match field.data_type() {
        DataType::Struct(parts) => {
            let bytes = parts.iter().find(|part| part.name() == "bytes")?;
            is_binary(bytes.data_type()).then_some(Form::Struct)
        }
        other => matches!(nesting(other), Some(2 | 3)).then_some(Form::Nested),
    }
}
