//! The arguments of an aggregate, and the parts of its state.

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err};

/// A numeric argument in the width that is computed with.
pub(super) fn number(values: &[ArrayRef], index: usize, data_type: &DataType) -> Result<ArrayRef> {
    Ok(cast(column(values, index)?, data_type)?)
}

/// An argument or a part of the state.
pub(super) fn column(values: &[ArrayRef], index: usize) -> Result<&ArrayRef> {
    values.get(index).ok_or_else(|| exec_datafusion_err!("an aggregate lacks argument {index}"))
}
