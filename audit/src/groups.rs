//! Rows by the values of a column.

use std::collections::HashMap;

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sha2::{Digest as _, Sha256};

use super::error::AuditError;
use super::text::clipped;
use dismax::dataset::list_columns;
use dismax::error::{Error, Result};

/// Most different values that are told apart; rows with others are one group.
const MAX_VALUES: usize = 10_000;
/// What rows without a value belong to.
const NULL: &str = "(null)";
/// What rows with one value too many belong to.
const OTHERS: &str = "(other values)";
/// Most characters of a value that is kept.
const LONGEST: usize = 200;

/// A column whose values divide the rows into groups. 4 bytes a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Groups {
    /// Name of the column.
    pub name: String,
    /// The values as text, in the order in which they came.
    pub values: Vec<String>,
    /// For each row the position of its value.
    pub codes: Vec<u32>,
}

/// Which column divides rows, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupColumn {
    /// Name of the column.
    pub name: String,
    /// Position in the dataset's schema.
    pub index: usize,
    /// Whether its values are points in time, which are taken by day.
    pub by_day: bool,
}

impl GroupColumn {
    /// Finds a column to group by; with `by_day` one of dates, timestamps or texts that are such.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no such column or its type cannot be used; the message lists the columns.
    pub fn find(schema: &Schema, name: &str, by_day: bool) -> Result<Self> {
        let fields = || schema.fields().iter().map(AsRef::as_ref).enumerate();
        let refuse = |message| Err(AuditError::GroupColumn { by_day, message }.into());
        let Some((index, field)) = fields().find(|(_, field)| field.name() == name) else {
            let columns = list_columns(fields());
            return refuse(format!("there is no column \"{name}\"; the columns are {columns}"));
        };
        let data_type = field.data_type();
        let fits = if by_day { is_time(data_type) } else { !data_type.is_nested() && !is_binary(data_type) };
        if !fits {
            let what =
                if by_day { "dates, timestamps or texts that are such" } else { "numbers, texts, dates or booleans" };
            return refuse(format!("\"{name}\" is {data_type}; name a column of {what}"));
        }
        Ok(Self { name: name.to_owned(), index, by_day })
    }
}

fn is_time(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_time(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => true,
        _ => false,
    }
}

fn is_binary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_binary(values),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => true,
        _ => false,
    }
}

/// Groups while rows come in.
#[derive(Debug)]
pub(super) struct GroupBuilder {
    column: GroupColumn,
    values: Vec<String>,
    codes: Vec<u32>,
    of_value: HashMap<String, u32>,
}

/// Days of points in time; null where one is beyond the calendar or a text is no date.
fn days(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let day = |array: &ArrayRef| cast_with_options(array, &DataType::Date32, &CastOptions::default());
    day(array).or_else(|_| {
        let each: Vec<ArrayRef> = (0..array.len())
            .map(|row| day(&array.slice(row, 1)).unwrap_or_else(|_| new_null_array(&DataType::Date32, 1)))
            .collect();
        concat(&each.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    })
}

impl GroupBuilder {
    pub fn new(column: GroupColumn) -> Self {
        Self { column, values: Vec::new(), codes: Vec::new(), of_value: HashMap::new() }
    }

    /// The column that is grouped by.
    pub fn column(&self) -> &GroupColumn {
        &self.column
    }

    /// Appends the rows of a record batch.
    pub fn push(&mut self, array: &ArrayRef) -> Result<()> {
        let name = self.column.name.clone();
        let fault = |source| Error::Arrow { origin: format!("column \"{name}\""), source };
        let days;
        let array = match self.column.by_day {
            // A text that is no date becomes null.
            true => {
                days = self::days(array).map_err(fault)?;
                &days
            }
            false => array,
        };
        let options = FormatOptions::default().with_null(NULL);
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options).map_err(fault)?;
        for row in 0..array.len() {
            // A time beyond the calendar, such as an "infinity" of a database, has no text.
            let value = formatter.value(row).try_to_string().unwrap_or_else(|_| NULL.to_owned());
            let code = self.code_of(value);
            self.codes.push(code);
        }
        Ok(())
    }

    fn code_of(&mut self, value: String) -> u32 {
        // Long values stay different where they differ in what is left out.
        let value = match value.len() > LONGEST {
            true => {
                let digest = Sha256::digest(value.as_bytes());
                let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                format!("{} #{digest}", clipped(&value, LONGEST - 10))
            }
            false => value,
        };
        if let Some(&code) = self.of_value.get(&value) {
            return code;
        }
        let value = if self.values.len() < MAX_VALUES { value } else { OTHERS.to_owned() };
        let next = self.values.len() as u32;
        let code = *self.of_value.entry(value.clone()).or_insert(next);
        if code == next {
            self.values.push(value);
        }
        code
    }

    pub fn finish(self) -> Groups {
        Groups { name: self.column.name, values: self.values, codes: self.codes }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "columns are made here")]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int32Array, StringArray, TimestampMillisecondArray};
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    fn groups(by_day: bool, array: ArrayRef) -> Groups {
        let schema = Schema::new(vec![Field::new("column", array.data_type().clone(), true)]);
        let mut builder = GroupBuilder::new(GroupColumn::find(&schema, "column", by_day).unwrap());
        builder.push(&array.slice(0, 1)).unwrap();
        builder.push(&array.slice(1, array.len() - 1)).unwrap();
        builder.finish()
    }

    #[test]
    fn values_of_any_type_by_their_text() {
        let found = groups(false, Arc::new(Int32Array::from(vec![Some(3), None, Some(-1), Some(3)])));
        assert_eq!((found.values, found.codes), (vec!["3".into(), NULL.into(), "-1".into()], vec![0, 1, 2, 0]));
        let long = "x".repeat(1 << 20);
        let texts = [format!("{long}a{long}"), format!("{long}b{long}"), format!("{long}a{long}")];
        let found = groups(false, Arc::new(StringArray::from(texts.to_vec())));
        assert_eq!(found.codes, [0, 1, 0], "what is left out still tells them apart");
        assert!(found.values.iter().all(|value| value.chars().count() <= LONGEST));
    }

    #[test]
    fn days_of_timestamps_and_texts() {
        let hours = [0, 23, 24, 50].map(|hour| hour * 3_600_000);
        let found = groups(true, Arc::new(TimestampMillisecondArray::from(hours.to_vec())));
        assert_eq!(
            (found.values, found.codes),
            (["1970-01-01", "1970-01-02", "1970-01-03"].map(String::from).to_vec(), vec![0, 0, 1, 2])
        );
        let found = groups(true, Arc::new(StringArray::from(vec!["2024-05-01", "soon", "2024-05-01"])));
        assert_eq!((found.values, found.codes), (vec!["2024-05-01".into(), NULL.into()], vec![0, 1, 0]));
    }

    #[test]
    fn times_beyond_the_calendar_are_nulls() {
        for by_day in [false, true] {
            let found =
                groups(by_day, Arc::new(TimestampMillisecondArray::from(vec![Some(0), Some(i64::MAX), None, Some(1)])));
            assert!(found.values.iter().any(|value| value == NULL), "{:?}", found.values);
            assert_eq!(found.codes[1], found.codes[2], "{:?}", found.values);
        }
        let days = groups(true, Arc::new(Date32Array::from(vec![0, i32::MAX])));
        assert_eq!((days.values.len(), days.codes), (2, vec![0, 1]));
    }

    #[test]
    fn too_many_values_become_one_group() {
        let values = (0..MAX_VALUES as i32 + 500).chain([0, 1, -1]);
        let found = groups(false, Arc::new(Int32Array::from_iter_values(values)));
        assert_eq!(found.values.len(), MAX_VALUES + 1);
        assert_eq!(found.values.last().map(String::as_str), Some(OTHERS));
        let end = &found.codes[found.codes.len() - 4..];
        assert_eq!(end, [MAX_VALUES as u32, 0, 1, MAX_VALUES as u32]);
    }

    #[test]
    fn columns_that_do_not_fit_are_named() {
        let fields = vec![
            Field::new("image", DataType::Binary, true),
            Field::new("camera", DataType::Utf8, true),
            Field::new("taken", DataType::Timestamp(TimeUnit::Second, None), true),
            Field::new("size", DataType::Int64, true),
        ];
        let schema = Schema::new(fields);
        let message = |name, by_day| GroupColumn::find(&schema, name, by_day).unwrap_err().to_string();
        assert!(message("color", false).contains("\"camera\" (Utf8)"));
        assert!(message("image", false).contains("\"image\" is Binary"));
        assert!(message("size", true).contains("\"size\" is Int64"));
        assert!(GroupColumn::find(&schema, "taken", true).unwrap().by_day);
    }
}
