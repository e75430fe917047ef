//! What the readers of all formats return.

use arrow::array::RecordBatch;

use crate::Result;

/// Record batches of one input.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;
