//! A predicate in SQL on the columns of a dataset.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use dismax::{Error, Result};

/// A predicate and whether it needs scores.
#[derive(Debug)]
pub(super) struct Predicate {
    sql: String,
    expr: Arc<dyn PhysicalExpr>,
    /// Whether a scored column is mentioned, so that it is evaluated on the extended rows.
    pub on_scores: bool,
}

impl Predicate {
    /// Plans `sql` on the columns of `extended`, which begins with those of `input`.
    pub fn parse(sql: &str, input: &Schema, extended: &Schema) -> Result<Self> {
        let refuse = |error: DataFusionError| Error::Config(format!("predicate {sql:?}: {}", error.strip_backtrace()));
        let session = SessionContext::new();
        let schema = DFSchema::try_from(extended.clone()).map_err(refuse)?;
        let logical = session.parse_sql_expr(sql, &schema).map_err(refuse)?;
        let on_scores = logical.column_refs().iter().any(|column| input.column_with_name(&column.name).is_none());
        let expr = if on_scores {
            session.create_physical_expr(logical, &schema)
        } else {
            let schema = DFSchema::try_from(input.clone()).map_err(refuse)?;
            session.create_physical_expr(logical, &schema)
        };
        let expr = expr.map_err(refuse)?;
        let schema = if on_scores { extended } else { input };
        match expr.data_type(schema).map_err(refuse)? {
            DataType::Boolean => Ok(Self { sql: sql.to_owned(), expr, on_scores }),
            other => Err(Error::Config(format!("predicate {sql:?}: it gives {other}, not true or false"))),
        }
    }

    /// Whether it is true, for each row; NULL is not.
    pub fn is_true(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let refuse = |error: DataFusionError| Error::data(format!("predicate {:?}", self.sql), error.strip_backtrace());
        let value = self.expr.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())).map_err(refuse)?;
        let mask = value.as_boolean();
        Ok(if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() })
    }
}
