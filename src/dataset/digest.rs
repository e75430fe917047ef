//! What tells images apart without decoding them.

use sha2::{Digest as _, Sha256};

use super::{Image, Images};
use crate::image::Layout;

/// SHA-256 of what is loaded for an image. Equal where the images are, in whatever form of column; not equal for one image
/// encoded twice.
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
pub(super) fn digest_of_encoded(bytes: &[u8]) -> ImageDigest {
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
        let images = column.values(&record_batch).unwrap();
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
    fn a_file_has_the_digest_of_its_bytes_in_a_column() {
        let folder = tempfile::tempdir().unwrap();
        let picture = image::RgbImage::from_pixel(3, 2, image::Rgb([9, 8, 7]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let bytes = bytes.into_inner();
        std::fs::write(folder.path().join("a.png"), &bytes).unwrap();
        let options = crate::dataset::LoadOptions { read_paths: true, ..Default::default() };
        let dataset_file = folder.path().join("rows.parquet").display().to_string();
        let load = |image: Image| crate::dataset::load_with_source(&image, &dataset_file, &options).unwrap();
        let (pixels, from_file) = load(Image::Path("a.png"));
        let (same, from_column) = load(Image::Encoded(&bytes));
        assert_eq!((&pixels, from_file.format), (&same, from_column.format));
        assert_eq!(from_file.format, Some(crate::image::EncodedFormat::Png));
        let in_column = digests(Arc::new(BinaryArray::from_iter([Some(&bytes)])));
        assert_eq!((from_file.file_digest, from_column.file_digest), (Some(in_column[0]), None));
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
