//! A predicate in SQL on the columns of a dataset.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use dismax::filter::RowPredicate;
use dismax::{Error, Result};

/// A predicate in SQL for [`dismax::filter`], on the input's columns or on the scored ones by their names.
#[derive(Debug)]
pub struct SqlPredicate {
    sql: String,
    expr: Arc<dyn PhysicalExpr>,
    needs_scores: bool,
    /// Conditions that must all be true.
    conjuncts: Vec<Expr>,
}

impl SqlPredicate {
    /// Plans `sql` on the columns of `extended`, which begins with those of `input`.
    ///
    /// # Errors
    /// [`Error::Config`] for text that is not SQL, a column that is not there, or a value that is neither true nor
    /// false.
    pub fn try_new(sql: &str, input: &Schema, extended: &Schema) -> Result<Self> {
        let refuse = |error: DataFusionError| Error::Config(format!("predicate {sql:?}: {}", error.strip_backtrace()));
        let session = SessionContext::new();
        let schema = DFSchema::try_from(extended.clone()).map_err(refuse)?;
        let logical = session.parse_sql_expr(sql, &schema).map_err(refuse)?;
        let needs_scores = logical.column_refs().iter().any(|column| input.column_with_name(&column.name).is_none());
        let conjuncts = split_conjunction(&logical).into_iter().cloned().collect();
        let schema = if needs_scores { extended } else { input };
        let planned = DFSchema::try_from(schema.clone()).map_err(refuse)?;
        let expr = session.create_physical_expr(logical, &planned).map_err(refuse)?;
        match expr.data_type(schema).map_err(refuse)? {
            DataType::Boolean => Ok(Self { sql: sql.to_owned(), expr, needs_scores, conjuncts }),
            other => Err(Error::Config(format!("predicate {sql:?}: it gives {other}, not true or false"))),
        }
    }
}

impl RowPredicate for SqlPredicate {
    fn needs_scores(&self) -> bool {
        self.needs_scores
    }

    /// NULL is not true.
    fn is_true(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let refuse = |error: DataFusionError| Error::data(format!("predicate {:?}", self.sql), error.strip_backtrace());
        let value = self.expr.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())).map_err(refuse)?;
        let mask = value.as_boolean();
        Ok(if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() })
    }

    fn may_be_true(&self, folders: &RecordBatch) -> Result<bool> {
        let refuse = |error: DataFusionError| Error::data(format!("predicate {:?}", self.sql), error.strip_backtrace());
        let schema = DFSchema::try_from(folders.schema()).map_err(refuse)?;
        let in_folders = |expr: &&Expr| {
            let columns = expr.column_refs();
            !columns.is_empty()
                && columns.iter().all(|column| folders.schema().column_with_name(&column.name).is_some())
        };
        for condition in self.conjuncts.iter().filter(in_folders) {
            let expr = SessionContext::new().create_physical_expr(condition.clone(), &schema).map_err(refuse)?;
            let value = expr.evaluate(folders).and_then(|value| value.into_array(1)).map_err(refuse)?;
            if value.as_boolean_opt().is_some_and(|value| value.is_null(0) || !value.value(0)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
