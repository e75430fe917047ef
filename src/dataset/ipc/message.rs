//! The messages that Arrow IPC consists of, checked before memory is taken for what they claim to hold.

use std::io::{self, Read};

use arrow::error::ArrowError;
use arrow::ipc;

/// Bytes before a message's header: a marker, and the header's length.
pub(super) const PREFIX_BYTES: usize = 8;
const CONTINUATION: [u8; 4] = [0xFF; 4];
/// Memory that is reserved for bytes that are still to come; beyond it memory grows with what arrives.
const MAX_RESERVED_BYTES: u64 = 16 << 20;

/// What a stream holds next.
pub(super) enum Next {
    /// A message with its prefix, header and body.
    Message(Vec<u8>),
    /// The marker that ends a stream.
    End,
    /// Nothing: the bytes end before the marker or within a message.
    CutOff,
}

/// Reads the next message of a stream.
pub(super) fn read(reader: &mut impl Read) -> Result<Next, ArrowError> {
    let mut bytes = Vec::new();
    if !append(reader, &mut bytes, PREFIX_BYTES as u64)? {
        return Ok(Next::CutOff);
    }
    let header_bytes = header_bytes(&bytes)?;
    if header_bytes == 0 {
        return Ok(Next::End);
    }
    if !append(reader, &mut bytes, header_bytes as u64)? {
        return Ok(Next::CutOff);
    }
    let body_bytes = u64::try_from(parse(&bytes)?.bodyLength())
        .map_err(|_| ArrowError::IpcError("a message with a body of negative length".into()))?;
    match append(reader, &mut bytes, body_bytes)? {
        true => Ok(Next::Message(bytes)),
        false => Ok(Next::CutOff),
    }
}

/// Appends so many bytes; false where there are fewer.
fn append(reader: &mut impl Read, bytes: &mut Vec<u8>, count: u64) -> io::Result<bool> {
    bytes.reserve(usize::try_from(count.min(MAX_RESERVED_BYTES)).expect("some MiB"));
    Ok(reader.by_ref().take(count).read_to_end(bytes)? as u64 == count)
}

/// Where the body of a message that was read from a stream begins.
pub(super) fn body_start(message: &[u8]) -> Result<usize, ArrowError> {
    Ok(PREFIX_BYTES + header_bytes(message)?)
}

fn header_bytes(message: &[u8]) -> Result<usize, ArrowError> {
    match message {
        [0xFF, 0xFF, 0xFF, 0xFF, a, b, c, d, ..] => Ok(u32::from_le_bytes([*a, *b, *c, *d]) as usize),
        _ => Err(ArrowError::IpcError(format!("a message does not begin with the bytes {CONTINUATION:02X?}"))),
    }
}

/// The header of a message.
pub(super) fn parse(message: &[u8]) -> Result<ipc::Message<'_>, ArrowError> {
    let header = message.get(PREFIX_BYTES..PREFIX_BYTES + header_bytes(message)?);
    let header = header.ok_or_else(|| ArrowError::IpcError("a message's header reaches over its end".into()))?;
    ipc::root_as_message(header).map_err(|error| ArrowError::IpcError(format!("a message's header: {error}")))
}

/// Bytes that the compressed buffers of a message claim to hold; 0 for messages without such buffers. `body` is the
/// message's body.
pub(super) fn claimed_bytes(header: &ipc::Message<'_>, body: &[u8]) -> Result<u64, ArrowError> {
    let batch = match header.header_type() {
        ipc::MessageHeader::RecordBatch => header.header_as_record_batch(),
        ipc::MessageHeader::DictionaryBatch => header.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => None,
    };
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return Ok(0) };
    let mut claimed = 0u64;
    for buffer in batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() != 0) {
        let start = usize::try_from(buffer.offset()).ok();
        let end =
            start.zip(usize::try_from(buffer.length()).ok()).and_then(|(start, length)| start.checked_add(length));
        let bytes = start.zip(end).and_then(|(start, end)| body.get(start..end)?.first_chunk::<8>());
        let bytes = bytes.ok_or_else(|| ArrowError::IpcError("a compressed buffer lies outside its message".into()))?;
        claimed = claimed.saturating_add(match i64::from_le_bytes(*bytes) {
            // Stored as it is.
            -1 => 0,
            length => u64::try_from(length)
                .map_err(|_| ArrowError::IpcError(format!("a compressed buffer claims to hold {length} bytes")))?,
        });
    }
    Ok(claimed)
}
