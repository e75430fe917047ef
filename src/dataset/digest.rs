//! What tells images apart without decoding them.

use sha2::{Digest as _, Sha256};

use super::{Image, Images};
use crate::image::Layout;

/// SHA-256 of what is loaded for an image. Equal where the images are, in whatever form of column; not equal for one
/// image encoded twice.
pub type ImageDigest = [u8; 32];

impl Images {
    /// Digest of a row's image, or of why it has none. Of a path the name counts, not the file.
    pub fn digest(&self, row: usize) -> ImageDigest {
        let digest = Sha256::new();
        let digest = match self.get(row) {
            Ok(Image::Encoded(bytes)) => return digest_of_encoded(bytes),
            Ok(Image::Raw { values, height, width, channels, layout }) => {
                let layout = match layout {
                    Layout::Hwc => b"hwc",
                    Layout::Chw => b"chw",
                };
                let sizes = [height, width, channels].map(u32::to_le_bytes).concat();
                digest.chain_update(layout).chain_update(sizes).chain_update(values)
            }
            Ok(Image::Path(path)) => digest.chain_update(b"path").chain_update(path),
            Err(error) => digest.chain_update(b"error").chain_update(error.to_string()),
        };
        digest.finalize().into()
    }
}

/// Digest of an encoded image.
pub fn digest_of_encoded(bytes: &[u8]) -> ImageDigest {
    Sha256::new().chain_update(b"encoded").chain_update(bytes).finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "columns are made here")]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use arrow::array::{
        Array, ArrayRef, BinaryArray, BinaryViewArray, FixedSizeListArray, ListArray, RecordBatch, StructArray,
    };
    use arrow::datatypes::{DataType, Field, UInt8Type};

    use super::*;
    use crate::dataset::ImageColumn;

    fn digests(array: ArrayRef) -> Vec<ImageDigest> {
        let rows = array.len();
        let record_batch = RecordBatch::try_from_iter([("image", array)]).unwrap();
        let column = ImageColumn::find(&record_batch.schema(), None).unwrap();
        let images = column.images_in(&record_batch).unwrap();
        (0..rows).map(|row| images.digest(row)).collect()
    }

    #[test]
    fn what_is_loaded_counts_and_not_its_column() {
        let values = [Some(b"one".as_slice()), None, Some(b""), Some(b"two")];
        let binary = digests(Arc::new(BinaryArray::from_iter(values)));
        let apart: HashSet<_> = binary.iter().collect();
        assert_eq!(apart.len(), 4, "null and empty are apart as well");
        assert_eq!(digests(Arc::new(BinaryViewArray::from_iter(values))), binary);
        let sliced = BinaryArray::from_iter([Some(b"zero".as_slice())].into_iter().chain(values)).slice(1, 4);
        let field = Arc::new(Field::new("bytes", DataType::Binary, true));
        assert_eq!(digests(Arc::new(StructArray::from(vec![(field, Arc::new(sliced) as ArrayRef)]))), binary);
    }

    #[test]
    fn shapes_tell_equal_pixels_apart() {
        let rows = |height: usize, width: usize| {
            let pixels = vec![Some(vec![Some(7u8); width]); height];
            let rows = ListArray::from_iter_primitive::<UInt8Type, _, _>(pixels);
            let item = Arc::new(Field::new("item", Array::data_type(&rows).clone(), true));
            digests(Arc::new(FixedSizeListArray::try_new(item, height as i32, Arc::new(rows), None).unwrap()))
        };
        assert_eq!(rows(2, 8), rows(2, 8));
        assert_ne!(rows(2, 8), rows(4, 4));
    }
}
