//! Columns in the names of folders, `label=cat/day=1/part-0.parquet`, as Hive, Spark, DuckDB and Polars write them.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field};
use serde::{Deserialize, Serialize};

/// What stands for null in a folder's name.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Names and values that the folders of a file give all its rows, outermost first. Values are text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partitions(Vec<(String, Option<String>)>);

impl Partitions {
    /// Those of the folders in a path; the last part of it is the file.
    pub fn of_path(path: &str) -> Self {
        let mut found = Self::default();
        let mut folders: Vec<&str> = path.split('/').collect();
        folders.pop();
        folders.into_iter().for_each(|folder| found.push(folder));
        found
    }

    /// Those that something else than a path says, outermost first.
    #[cfg(feature = "delta")]
    pub fn of_values(values: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// Adds what a folder's name holds, if it does.
    pub fn push(&mut self, folder: &str) {
        if let Some((name, value)) = parse(folder) {
            // The inner folder of two that say the same counts.
            self.0.retain(|(other, _)| *other != name);
            self.0.push((name, value));
        }
    }

    /// Whether a folder's name holds a column.
    pub fn is_partition(folder: &str) -> bool {
        parse(folder).is_some()
    }

    /// The columns that the file does not have itself: writers that keep them in the file too write the same values.
    pub fn fields_beside(&self, file: &[Arc<Field>]) -> Vec<Field> {
        let missing = self.0.iter().filter(|(name, _)| file.iter().all(|field| field.name() != name));
        missing.map(|(name, _)| Field::new(name, DataType::Utf8, true)).collect()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// The value of a column; the outer option is none where there is no such column.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The column `name` of so many rows.
    pub fn array(&self, name: &str, rows: usize) -> ArrayRef {
        match self.get(name).flatten() {
            Some(value) => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows))),
            None => new_null_array(&DataType::Utf8, rows),
        }
    }
}

fn parse(folder: &str) -> Option<(String, Option<String>)> {
    let (name, value) = folder.split_once('=').filter(|(name, _)| !name.is_empty())?;
    Some((unescaped(name), (value != NULL).then(|| unescaped(value))))
}

/// Spark and others write what cannot stand in a name as `%` and two digits.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &behind[2..]).1,
            None => (bytes.push(*first), rest = behind).1,
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_partitions_are_told_from_others() {
        let found = |path: &str| {
            let found = Partitions::of_path(path);
            found.iter().map(|(name, value)| format!("{name}={}", value.unwrap_or("NULL"))).collect::<Vec<_>>()
        };
        assert_eq!(found("data/label=cat/day=1/part-0.parquet"), ["label=cat", "day=1"]);
        assert_eq!(found("s3://b/a=1/x/a=2/y.parquet"), ["a=2"]);
        assert_eq!(found("at=12%3A30/x=__HIVE_DEFAULT_PARTITION__/y=/z"), ["at=12:30", "x=NULL", "y="]);
        assert_eq!(found("100%=1%zz/a"), ["100%=1%zz"]);
        assert!(found("data/photos/a=b.parquet").is_empty() && found("=x/a.parquet").is_empty());
    }
}
