//! What tells images apart without decoding them.

use sha2::{Digest as _, Sha256};

use super::{Image, Images};
use crate::image::Layout;

/// Equal where the images are, in whatever form of column; not equal for one image encoded twice. Of an encoded image
/// it is the SHA-256 of its bytes, as `sha256sum` prints that of the file.
pub type ImageDigest = [u8; 32];

impl Images {
    /// Digest of a row's image, or of why it has none. Of a path the name counts, not the file.
    pub fn digest(&self, row: usize) -> ImageDigest {
        match self.get(row) {
            Ok(Image::Encoded(bytes)) => digest_of_encoded(bytes),
            Ok(Image::Raw { values, height, width, channels, layout }) => {
                let layout = match layout {
                    Layout::Hwc => b"hwc",
                    Layout::Chw => b"chw",
                };
                let sizes = [height, width, channels].map(u32::to_le_bytes).concat();
                digest_of_others([layout, &sizes, values])
            }
            Ok(Image::Path(path)) => digest_of_others([b"path", path.as_bytes()]),
            Err(error) => digest_of_others([b"error", error.to_string().as_bytes()]),
        }
    }
}

/// Digest of an encoded image.
pub fn digest_of_encoded(bytes: &[u8]) -> ImageDigest {
    Sha256::digest(bytes).into()
}

/// Digest of what is no encoded image: the complement of the SHA-256, or an encoded image of these bytes would have the
/// same.
fn digest_of_others<const PARTS: usize>(parts: [&[u8]; PARTS]) -> ImageDigest {
    let digest: ImageDigest = parts.into_iter().fold(Sha256::new(), Sha256::chain_update).finalize().into();
    digest.map(|byte| !byte)
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
    fn the_digest_of_an_encoded_image_is_that_of_its_file() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hex = |digest: ImageDigest| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(digest_of_encoded(b"abc")), abc);
        assert_ne!(digest_of_others([b"path", b"a.png"]), digest_of_encoded(b"patha.png"));
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
