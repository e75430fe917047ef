//! Digests as text.

use sha2::{Digest, Sha256};

/// What was hashed, as 64 hexadecimal digits.
pub(super) fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of bytes.
pub(super) fn hex_of(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}
