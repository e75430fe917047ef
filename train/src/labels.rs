//! The labels of a dataset: which classes there are and which row belongs to which.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use dismax::dataset::{ClassMap, Dataset, LabelColumn, LabelKind, Labels};
use dismax::error::{Error, Result};

/// Rows read at once where only labels are read.
const ROWS: usize = 8192;

/// Class of every row of a dataset, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowLabels {
    /// Class number, none where the label is null.
    pub classes: Vec<Option<u32>>,
    /// Names of the classes in the order of their numbers.
    pub names: Vec<String>,
}

impl RowLabels {
    /// Reads the label column alone. `names` are the classes of a model that the labels must belong to; without them
    /// they come from Hugging Face's metadata, else from the labels themselves (texts in alphabetical order, numbers
    /// from 0 to the largest).
    ///
    /// # Errors
    /// A label outside the classes (with file and row), a column that is no label column, two classes of one name.
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
        let map = ClassMap::new(column, &names);
        let mut classes = Vec::new();
        for chunk in dataset.read(ROWS, Some(&[column.index()]))? {
            classes.extend(map.classes_of(&chunk?)?.into_iter().map(|class| class.map(|class| class as u32)));
        }
        Ok(Self { classes, names })
    }

    /// # Errors
    /// [`Error::Data`] unless at least two classes have rows: there is nothing to tell apart.
    pub fn require_two_classes(&self, dataset: &Dataset, column: &LabelColumn) -> Result<()> {
        let present: BTreeSet<u32> = self.classes.iter().copied().flatten().collect();
        let message = match (self.classes.len(), present.len()) {
            (0, _) => "there are no rows; give a dataset with labelled images".to_owned(),
            (_, 0) => format!("all labels in \"{}\" are null; give labelled rows", column.name()),
            (_, 1) => {
                let name = present.first().and_then(|&class| self.names.get(class as usize)).map_or("", String::as_str);
                format!(
                    "all rows in \"{}\" belong to the class {name:?}; training needs at least two classes",
                    column.name()
                )
            }
            _ => return Ok(()),
        };
        Err(Error::data(dataset.files().next().unwrap_or("training data"), message))
    }

    /// SHA-256 over all labels in order, in hexadecimal: tells datasets apart.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for class in &self.classes {
            digest.update(class.map_or(u32::MAX, |class| class).to_le_bytes());
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn found_names(dataset: &Dataset, column: &LabelColumn) -> Result<Vec<String>> {
    let (mut texts, mut largest) = (BTreeSet::new(), None);
    for chunk in dataset.read(ROWS, Some(&[column.index()]))? {
        let chunk = chunk?;
        match column.labels(&chunk.record_batch)? {
            Labels::Names(names) => texts.extend(names.into_iter().flatten()),
            Labels::Indices(indices) => largest = largest.max(indices.into_iter().flatten().max()),
        }
    }
    match (column.kind(), largest) {
        (LabelKind::Name, _) => Ok(texts.into_iter().collect()),
        (LabelKind::Index, None) => Ok(Vec::new()),
        // A label of a million is a mistake in the column, not a class.
        (LabelKind::Index, Some(largest)) if largest >= 1_000_000 => Err(Error::data(
            "label column",
            format!("\"{}\" holds the number {largest}; labels are class numbers from 0", column.name()),
        )),
        (LabelKind::Index, Some(largest)) => Ok((0..=largest).map(|class| class.to_string()).collect()),
    }
}
