//! Duplicates: exact by digest, near by perceptual hash.
//!
//! A picture that is another one in another encoding or light, moved by a little or cropped by a little, has its middle
//! in one of the other's windows ([`Inspection::windows`](crate::inspection::Inspection::windows)): the hash of the one
//! is near a window's hash of the other ([`hash_table`](super::hash_table)). What is found is checked on the thumbnails
//! ([`likeness`](super::likeness)).

use serde::{Deserialize, Serialize};

use super::observer::ShortDigest;

/// Numbers of duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DuplicateFigures {
    /// Images that were compared: those that could be decoded.
    pub images: u64,
    /// Different ones among them, byte for byte.
    pub distinct: u64,
    /// Images that occur more than once.
    pub repeated: u64,
    /// Rows of the reference that were compared; none without reference.
    pub reference_images: Option<u64>,
}

/// A row that equals an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copy {
    pub row: u32,
    /// The first row with this image.
    pub first: u32,
    /// Rows with this image.
    pub rows: u32,
}

/// Rows by image.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Distinct {
    /// The first row of each image, ascending.
    pub first: Vec<u32>,
    /// The other rows, ascending.
    pub copies: Vec<Copy>,
}

/// Groups rows by image: pairs of row and the image's number.
pub(super) fn distinct(mut rows: Vec<(u32, u32)>) -> Distinct {
    rows.sort_unstable_by_key(|(row, image)| (*image, *row));
    let (mut first, mut copies) = (Vec::new(), Vec::new());
    for group in rows.chunk_by(|a, b| a.1 == b.1) {
        let Some(((head, _), rest)) = group.split_first() else { continue };
        first.push(*head);
        copies.extend(rest.iter().map(|(row, _)| Copy { row: *row, first: *head, rows: group.len() as u32 }));
    }
    first.sort_unstable();
    copies.sort_unstable_by_key(|copy| copy.row);
    Distinct { first, copies }
}

/// The reference's rows by digest.
#[derive(Debug)]
pub(super) struct Digests(Vec<(ShortDigest, u32)>);

impl Digests {
    pub fn new(rows: impl Iterator<Item = (u32, ShortDigest)>) -> Self {
        let mut digests: Vec<_> = rows.map(|(row, digest)| (digest, row)).collect();
        digests.sort_unstable();
        Self(digests)
    }

    /// The first row with this digest and how many have it.
    pub fn find(&self, digest: &ShortDigest) -> Option<(u32, u32)> {
        let start = self.0.partition_point(|(other, _)| other < digest);
        let end = self.0.partition_point(|(other, _)| other <= digest);
        let (_, first) = self.0.get(start..end)?.first()?;
        Some((*first, (end - start) as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_point_to_the_first_row() {
        let found = distinct(vec![(2, 7), (3, 1), (5, 7), (8, 9), (9, 7)]);
        assert_eq!(found.first, [2, 3, 8]);
        assert_eq!(found.copies, [Copy { row: 5, first: 2, rows: 3 }, Copy { row: 9, first: 2, rows: 3 }]);
        let digest = |byte: u8| [byte; 16];
        let digests = Digests::new([(2, digest(7)), (3, digest(1)), (5, digest(7)), (9, digest(7))].into_iter());
        assert_eq!(digests.find(&digest(7)), Some((2, 3)));
        assert_eq!((digests.find(&digest(8)), digests.find(&digest(255))), (None, None));
    }
}
