//! From the columns of a file to those of its dataset: chosen, put in order, widened, and completed by what the names
//! of folders say.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Schema, SchemaRef};

use super::partitions::Partitions;
use crate::{Error, Result};

/// How the record batches of one file become those of a reading.
#[derive(Debug)]
pub(super) struct Layout {
    /// Positions in the file of the columns to read, ascending; all where there is none.
    read: Option<Vec<usize>>,
    picks: Vec<Pick>,
    schema: SchemaRef,
    partitions: Partitions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pick {
    /// Position among the columns that are read.
    Column(usize),
    /// Name of a column that the folders hold.
    Partition(String),
}

impl Layout {
    /// For the columns `schema` of a reading, from a file with the columns `file` in folders that hold `partitions`.
    pub fn new(schema: &SchemaRef, file: &Schema, partitions: &Partitions) -> Self {
        let mut positions: HashMap<&str, Vec<usize>> = HashMap::new();
        for (position, field) in file.fields().iter().enumerate() {
            positions.entry(field.name()).or_default().push(position);
        }
        // Where a name repeats, its columns keep their order.
        let mut taken: HashMap<&str, usize> = HashMap::new();
        let found: Vec<Option<usize>> = schema
            .fields()
            .iter()
            .map(|field| {
                let position =
                    positions.get(field.name().as_str())?.get(*taken.get(field.name().as_str()).unwrap_or(&0));
                *taken.entry(field.name()).or_default() += 1;
                position.copied()
            })
            .collect();
        let mut read: Vec<usize> = found.iter().flatten().copied().collect();
        read.sort_unstable();
        let picks = found.iter().zip(schema.fields()).map(|(position, field)| match position {
            Some(position) => Pick::Column(read.binary_search(position).expect("it is read")),
            None => Pick::Partition(field.name().clone()),
        });
        let picks = picks.collect();
        let all = read.len() == file.fields().len();
        Self { read: (!all).then_some(read), picks, schema: Arc::clone(schema), partitions: partitions.clone() }
    }

    /// Positions in the file of the columns to read; `None` reads all.
    pub fn read(&self) -> Option<&[usize]> {
        self.read.as_deref()
    }

    /// A record batch of these columns as one of the reading.
    ///
    /// # Errors
    /// [`Error::Data`] naming the column whose values do not fit into the dataset's type.
    pub fn apply(&self, batch: RecordBatch, origin: &str) -> Result<RecordBatch> {
        if batch.schema_ref() == &self.schema {
            return Ok(batch);
        }
        let rows = batch.num_rows();
        // Without it a value that does not fit would become null.
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let columns: Result<Vec<ArrayRef>> = self
            .picks
            .iter()
            .zip(self.schema.fields())
            .map(|(pick, field)| {
                let column = match pick {
                    Pick::Column(position) => Arc::clone(batch.column(*position)),
                    Pick::Partition(name) => self.partitions.array(name, rows),
                };
                if column.data_type() == field.data_type() {
                    return Ok(column);
                }
                cast_with_options(&column, field.data_type(), &strict).map_err(|error| {
                    Error::data(
                        format!("{origin}, column \"{}\"", field.name()),
                        format!("a value does not fit into {}, the type in other files ({error})", field.data_type()),
                    )
                })
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns?, &options)
            .map_err(|source| Error::Arrow { origin: origin.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type};

    use super::*;

    #[test]
    fn columns_are_found_by_name_and_widened() {
        let field = |name: &str, kind: DataType| Field::new(name, kind, true);
        let file = Schema::new(vec![
            field("b", DataType::Int32),
            field("a", DataType::Utf8),
            field("a", DataType::Int64),
            field("unused", DataType::Utf8),
        ]);
        let schema = Arc::new(Schema::new(vec![
            field("a", DataType::Utf8),
            field("day", DataType::Utf8),
            field("a", DataType::Int64),
            field("b", DataType::Int64),
        ]));
        let layout = Layout::new(&schema, &file, &Partitions::of_path("day=7/x"));
        assert_eq!(layout.read(), Some(&[0, 1, 2][..]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![1])),
            Arc::new(StringArray::from(vec!["text"])),
            Arc::new(Int64Array::from(vec![2])),
        ];
        let batch = RecordBatch::try_new(Arc::new(file.project(&[0, 1, 2]).expect("columns")), columns).expect("fits");
        let batch = layout.apply(batch, "x").expect("fits");
        assert_eq!(batch.schema(), schema);
        let text = |column: usize| batch.column(column).as_string::<i32>().value(0).to_owned();
        let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
        assert_eq!((text(0).as_str(), text(1).as_str(), number(2), number(3)), ("text", "7", 2, 1));
    }
}
