//! What is near to a hash that was asked about.

/// Most bits in which the hashes of near duplicates differ, of 120. Other pictures of CIFAR-10 differ in 29 or more.
pub(super) const MAX_BITS: u32 = 17;

/// A picture that is near to one that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Neighbour {
    /// Bits in which the hash differs from the nearest window's.
    pub bits: u32,
    /// Position of the picture in the table.
    pub position: u32,
}
