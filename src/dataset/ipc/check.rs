//! What is checked of every message, and the error for damage.

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc;
use arrow::ipc::convert::fb_to_schema;

use super::message;
use crate::dataset::guard::guarded;
use crate::{Error, Result};

/// Bytes that a record batch may take once decompressed: damaged lengths would take all memory there is.
const MAX_BATCH_BYTES: u64 = 8 << 30;

pub(super) fn schema_of(schema: ipc::Schema<'_>) -> Result<Schema, ArrowError> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(ArrowError::IpcError("its numbers have the byte order of another kind of processor".into()));
    }
    guarded(|| Ok(fb_to_schema(schema)))
}

/// Checks that a message of the record batch `number`, whose body begins at `body`, claims no more memory than a record
/// batch may take. The body begins where the decoder will take it from: a damaged message may say something else.
pub(super) fn require_claim(origin: &str, number: usize, message: &[u8], body: usize) -> Result<()> {
    let claimed = message::parse(message).and_then(|header| {
        let body = message.get(body..).ok_or_else(|| ArrowError::IpcError("a message is cut off".into()))?;
        if usize::try_from(header.bodyLength()) != Ok(body.len()) {
            let (told, found) = (header.bodyLength(), body.len());
            return Err(ArrowError::IpcError(format!("a message tells a body of {told} bytes and has one of {found}")));
        }
        message::claimed_bytes(&header, body)
    });
    match claimed.map_err(|error| damaged(origin, &error))? {
        claimed if claimed > MAX_BATCH_BYTES => Err(Error::data(
            origin,
            format!(
                "record batch {number} claims to hold {claimed} bytes once decompressed, more than the limit of {} GiB: it is \
                 damaged, or must be written again in smaller record batches",
                MAX_BATCH_BYTES >> 30
            ),
        )),
        _ => Ok(()),
    }
}

pub(super) fn damaged(origin: &str, error: &ArrowError) -> Error {
    Error::data(origin, format!("this Arrow data is incomplete or damaged ({error}); write or download it again"))
}
