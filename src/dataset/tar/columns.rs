//! Samples as record batches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::Read;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int64Array, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::samples::{Member, Sample, Samples};
use crate::dataset::BatchSize;
use crate::dataset::batches::Batches;
use crate::dataset::images::{IMAGE, LABEL, PATH, image_parts, is_image};
use crate::error::{Error, Result};

/// Samples that tell which columns there are, unless they are larger than [`BYTES_FOR_COLUMNS`].
const SAMPLES_FOR_COLUMNS: usize = 100;
const BYTES_FOR_COLUMNS: usize = 32 << 20;
/// The ending of a member that holds the class.
const CLASS: &str = "cls";
/// Endings of members that hold text.
const TEXTS: [&str; 5] = ["txt", "text", "caption", "json", "transcript"];

/// A tar file of which the first samples were read.
pub(in crate::dataset) struct TarRows {
    origin: String,
    waiting: VecDeque<Sample>,
    rest: Samples,
    schema: SchemaRef,
}

/// What a column holds of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Image(Pictures),
    Path(Pictures),
    ClassNumber,
    ClassName,
    Text(String),
    Bytes(String),
}

/// Which member of a sample is its image.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pictures {
    /// The only one that ends as image files do.
    Any,
    /// The one with this ending, because samples hold several.
    Ending(String),
}

impl TarRows {
    /// Reads the first samples.
    ///
    /// # Errors
    /// [`Error::Data`] for bytes that are no tar file, or one that is cut off at its beginning.
    pub fn open(origin: &str, reader: Box<dyn Read + Send>) -> Result<Self> {
        let mut rest = Samples::read(origin, reader)?;
        let (mut waiting, mut bytes) = (VecDeque::new(), 0);
        while waiting.len() < SAMPLES_FOR_COLUMNS && bytes < BYTES_FOR_COLUMNS {
            let Some(sample) = rest.next().transpose()? else { break };
            bytes += sample.bytes();
            waiting.push_back(sample);
        }
        if waiting.is_empty() {
            return Err(Error::data(origin, "this tar file holds no files"));
        }
        let fields: Vec<Field> = columns_of(&waiting).iter().map(Column::field).collect();
        Ok(Self { origin: origin.to_owned(), waiting, rest, schema: Arc::new(Schema::new(fields)) })
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The rows, with the columns at these positions; all where there is none.
    pub fn batches(self, size: BatchSize, positions: Option<&[usize]>) -> Batches {
        let Self { origin, mut waiting, mut rest, schema } = self;
        let all = columns_of(&waiting);
        let positions = positions.map_or_else(|| (0..all.len()).collect(), <[usize]>::to_vec);
        let schema = Arc::new(schema.project(&positions).expect("positions in the schema"));
        let columns: Vec<Column> = positions.iter().map(|position| all[*position].clone()).collect();
        let mut unforeseen = Unforeseen::new(&all);
        Box::new(iter::from_fn(move || {
            let (mut samples, mut bytes) = (Vec::new(), 0);
            while samples.len() < size.rows && (samples.is_empty() || bytes < size.max_bytes()) {
                let sample = match waiting.pop_front().map(Ok).or_else(|| rest.next()) {
                    Some(Ok(sample)) => sample,
                    Some(Err(error)) => return Some(Err(error)),
                    None => break,
                };
                bytes += sample.bytes();
                unforeseen.look_at(&sample, &origin);
                samples.push(sample);
            }
            (!samples.is_empty()).then(|| batch(&samples, &columns, &schema, &origin))
        }))
    }
}

impl fmt::Debug for TarRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarRows").field("origin", &self.origin).field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Column {
    fn field(&self) -> Field {
        match self {
            Self::Image(_) => Field::new(IMAGE, DataType::Struct(image_parts()), true),
            Self::Path(_) => Field::new(PATH, DataType::Utf8, true),
            Self::ClassNumber => Field::new(LABEL, DataType::Int64, true),
            Self::ClassName => Field::new(LABEL, DataType::Utf8, true),
            Self::Text(ending) => Field::new(ending, DataType::Utf8, true),
            Self::Bytes(ending) => Field::new(ending, DataType::Binary, true),
        }
    }

    fn array(&self, samples: &[Sample], origin: &str) -> Result<ArrayRef> {
        let members = |ending: &str| samples.iter().map(move |sample| sample.member(ending)).collect::<Vec<_>>();
        Ok(match self {
            Self::Image(pictures) => {
                let (mut bytes, mut names) = (BinaryBuilder::new(), StringBuilder::new());
                for image in samples.iter().map(|sample| pictures.of(sample)) {
                    bytes.append_option(image.map(|image| &image.bytes));
                    // Bytes that are missing are not to be looked for in a file of that name.
                    names.append_option(image.map(|image| &image.name));
                }
                Arc::new(StructArray::new(
                    image_parts(),
                    vec![Arc::new(bytes.finish()), Arc::new(names.finish())],
                    None,
                ))
            }
            Self::Path(pictures) => {
                let name = |sample| pictures.of(sample).map_or(sample.key(), |image| &image.name);
                Arc::new(StringArray::from_iter_values(samples.iter().map(name)))
            }
            Self::ClassNumber => {
                let number = |member: Option<&Member>| member.map(|member| number_in(member, origin)).transpose();
                Arc::new(Int64Array::from(members(CLASS).into_iter().map(number).collect::<Result<Vec<_>>>()?))
            }
            Self::ClassName => {
                let name = |member: &Member| text_in(member, origin).map(|text| text.trim().to_owned());
                let names = members(CLASS).into_iter().map(|member| member.map(name).transpose());
                Arc::new(StringArray::from(names.collect::<Result<Vec<_>>>()?))
            }
            Self::Text(ending) => {
                let texts = members(ending).into_iter().map(|member| member.map(|m| text_in(m, origin)).transpose());
                Arc::new(StringArray::from(texts.collect::<Result<Vec<_>>>()?))
            }
            Self::Bytes(ending) => {
                let mut bytes = BinaryBuilder::new();
                members(ending).into_iter().for_each(|member| bytes.append_option(member.map(|member| &member.bytes)));
                Arc::new(bytes.finish())
            }
        })
    }
}

/// Endings that only later samples have: their members belong to no column.
#[derive(Debug)]
struct Unforeseen {
    known: BTreeSet<String>,
    pictures: Pictures,
}

impl Unforeseen {
    fn new(columns: &[Column]) -> Self {
        let (mut known, mut pictures) = (BTreeSet::new(), Pictures::Any);
        for column in columns {
            match column {
                Column::Text(ending) | Column::Bytes(ending) => drop(known.insert(ending.clone())),
                Column::ClassNumber | Column::ClassName => drop(known.insert(CLASS.into())),
                Column::Image(which) | Column::Path(which) => pictures = which.clone(),
            }
        }
        Self { known, pictures }
    }

    /// Says so once for each ending.
    fn look_at(&mut self, sample: &Sample, origin: &str) {
        for member in &sample.0 {
            let is_image = self.pictures.of(sample).is_some_and(|image| std::ptr::eq(image, member));
            if !is_image && !self.known.contains(&member.ending) {
                log::warn!(
                    "{origin}: {} is left out, and so is every .{}: the first {SAMPLES_FOR_COLUMNS} samples, which tell the \
                     columns, have none",
                    member.name,
                    member.ending
                );
                self.known.insert(member.ending.clone());
            }
        }
    }
}

fn columns_of(samples: &VecDeque<Sample>) -> Vec<Column> {
    let mut endings: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    for member in samples.iter().flat_map(|sample| &sample.0) {
        endings.entry(&member.ending).or_default().push(member);
    }
    let pictures = Pictures::in_samples(samples);
    let mut columns = Vec::new();
    columns.extend(endings.keys().any(|ending| pictures.is(ending)).then(|| Column::Image(pictures.clone())));
    columns.push(Column::Path(pictures.clone()));
    if let Some(classes) = endings.get(CLASS) {
        let numbers = classes.iter().all(|member| number_in(member, "").is_ok());
        columns.push(if numbers { Column::ClassNumber } else { Column::ClassName });
    }
    let taken = [CLASS, IMAGE, PATH, LABEL];
    let others = endings.into_keys().filter(|ending| !pictures.is(ending) && !taken.contains(ending));
    columns.extend(others.map(|ending| match TEXTS.contains(&ending) {
        true => Column::Text(ending.to_owned()),
        false => Column::Bytes(ending.to_owned()),
    }));
    columns
}

impl Pictures {
    /// Where a sample holds several images, as with masks, the ending of its first tells which is meant.
    fn in_samples(samples: &VecDeque<Sample>) -> Self {
        let plain = |sample: &Sample| {
            sample
                .0
                .iter()
                .filter(|member| is_plain_image(&member.ending))
                .map(|m| m.ending.clone())
                .collect::<Vec<_>>()
        };
        let several = samples.iter().map(plain).find(|endings| endings.len() > 1);
        several.map_or(Self::Any, |mut endings| Self::Ending(endings.swap_remove(0)))
    }

    fn is(&self, ending: &str) -> bool {
        match self {
            Self::Any => is_plain_image(ending),
            Self::Ending(only) => ending == only,
        }
    }

    fn of<'a>(&self, sample: &'a Sample) -> Option<&'a Member> {
        sample.0.iter().find(|member| self.is(&member.ending))
    }
}

fn is_plain_image(ending: &str) -> bool {
    !ending.contains('.') && is_image(Path::new(&format!("x.{ending}")))
}

fn number_in(member: &Member, origin: &str) -> Result<i64> {
    let text = text_in(member, origin)?;
    text.trim().parse().map_err(|_| {
        Error::data(
            format!("{origin}, {}", member.name),
            format!("{:?} is no class number, as others are", text.trim()),
        )
    })
}

fn text_in(member: &Member, origin: &str) -> Result<String> {
    let text = String::from_utf8(member.bytes.clone());
    text.map_err(|_| Error::data(format!("{origin}, {}", member.name), "is not text in UTF-8"))
}

fn batch(samples: &[Sample], columns: &[Column], schema: &SchemaRef, origin: &str) -> Result<RecordBatch> {
    let arrays = columns.iter().map(|column| column.array(samples, origin)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(samples.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .map_err(|source| Error::Arrow { origin: origin.to_owned(), source })
}
