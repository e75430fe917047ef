//! The columns of a reading in the order that a plan asked for.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;

/// Which columns a plan reads of a table. A reading gives them in the table's order, each once.
#[derive(Debug, Clone)]
pub(crate) struct Projected {
    all: usize,
    /// None: all.
    pub columns: Option<Vec<usize>>,
    pub schema: SchemaRef,
}

impl Projected {
    /// # Errors
    /// A column beyond the table's.
    pub fn try_new(table: &SchemaRef, columns: Option<Vec<usize>>) -> Result<Self> {
        let schema = match &columns {
            None => SchemaRef::clone(table),
            Some(columns) => SchemaRef::new(table.project(columns)?),
        };
        Ok(Self { all: table.fields().len(), columns, schema })
    }

    /// What was read, in the order that was asked for. A reading may also give all columns.
    pub fn in_order(&self, read: RecordBatch) -> Result<RecordBatch> {
        let Some(columns) = &self.columns else { return Ok(read.with_schema(SchemaRef::clone(&self.schema))?) };
        if read.num_columns() == self.all && columns.len() != read.num_columns() {
            return Ok(read.project(columns)?.with_schema(SchemaRef::clone(&self.schema))?);
        }
        let mut sorted = columns.clone();
        sorted.sort_unstable();
        let positions: Vec<usize> =
            columns.iter().map(|column| sorted.binary_search(column).expect("it is one of them")).collect();
        Ok(read.project(&positions)?.with_schema(SchemaRef::clone(&self.schema))?)
    }
}
