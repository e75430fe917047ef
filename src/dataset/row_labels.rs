//! The labels of a dataset: which classes there are and which row belongs to which.

use std::collections::BTreeSet;

use super::class_map::{ClassMap, require_common_class};
use super::label_column::{LabelColumn, LabelKind, Labels};
use super::reader::Dataset;
use crate::error::{Error, Result};

/// Rows of a chunk when only labels are read.
const ROWS: usize = 8192;
/// Largest class number. A label of a million is a mistake in the column, not a class.
const MAX_CLASS: i64 = 999_999;

/// Class of every row of a dataset, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowLabels {
    /// Class number, none where the label is null.
    pub classes: Vec<Option<u32>>,
    /// Names of the classes in the order of their numbers.
    pub names: Vec<String>,
}

impl RowLabels {
    /// Reads the label column. Every label must belong to one of the classes `names`; without `names` the classes are
    /// those of Hugging Face's metadata, or else the labels themselves (texts in alphabetical order, numbers from 0 to
    /// the largest).
    ///
    /// # Errors
    /// A label outside the classes (with file and row), a column that does not hold labels, two classes of one name, a
    /// dataset none of whose class names is one of `names`.
    pub fn read(dataset: &Dataset, column: &LabelColumn, names: Option<&[String]>) -> Result<Self> {
        let names = match names.or(column.class_names()) {
            Some(names) => names.to_vec(),
            None => found_names(dataset, column)?,
        };
        let mut seen = BTreeSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(Error::data(
                dataset.files().next().unwrap_or("dataset"),
                format!("column \"{}\" has two classes named {name:?}; give each its own name", column.name()),
            ));
        }
        require_common_class(column, &names)?;
        let map = ClassMap::new(column, &names);
        let mut classes = Vec::new();
        for chunk in dataset.read(ROWS, Some(&[column.index()]))? {
            classes.extend(map.classes_of(&chunk?)?.into_iter().map(|class| class.map(|class| class as u32)));
        }
        Ok(Self { classes, names })
    }
}

fn found_names(dataset: &Dataset, column: &LabelColumn) -> Result<Vec<String>> {
    let (mut texts, mut largest) = (BTreeSet::new(), None);
    for chunk in dataset.read(ROWS, Some(&[column.index()]))? {
        let chunk = chunk?;
        match column.labels_of(&chunk)? {
            Labels::Names(names) => texts.extend(names.into_iter().flatten()),
            Labels::Indices(indices) => largest = largest.max(indices.into_iter().flatten().max()),
        }
    }
    match (column.kind(), largest) {
        (LabelKind::Name, _) => Ok(texts.into_iter().collect()),
        (LabelKind::Index, None) => Ok(Vec::new()),
        (LabelKind::Index, Some(largest)) if largest > MAX_CLASS => Err(Error::data(
            "label column",
            format!("\"{}\" holds the number {largest}; labels are class numbers from 0", column.name()),
        )),
        (LabelKind::Index, Some(largest)) => Ok((0..=largest).map(|class| class.to_string()).collect()),
    }
}
