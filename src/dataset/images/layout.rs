//! How image files lie in a folder, and what their columns are called.

use std::path::Path;

use arrow::datatypes::{DataType, Field, Fields};

use crate::dataset::partitions::Partitions;

/// Name of the column of images, here and where other readers make one.
pub(in crate::dataset) const IMAGE: &str = "image";
/// Name of the column of paths.
pub(in crate::dataset) const PATH: &str = "path";
/// Name of the column of labels.
pub(in crate::dataset) const LABEL: &str = "label";
/// Endings of the formats that are decoded.
const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Whether a name ends as image files do.
pub(in crate::dataset) fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| EXTENSIONS.contains(&&*ending))
}

/// The parts of the column of images: Hugging Face's.
pub(in crate::dataset) fn image_parts() -> Fields {
    let part = |name: &str, data_type| Field::new(name, data_type, true);
    Fields::from(vec![part("bytes", DataType::Binary), part("path", DataType::Utf8)])
}

/// Paths with `/` between their parts, whatever bytes they consist of.
pub(super) fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

pub(super) fn partitions_of(path: &Path) -> Partitions {
    Partitions::of_path(&text_of(path))
}

/// The outermost folder that is no partition.
pub(super) fn label_of(path: &Path) -> Option<String> {
    let mut folders = path.parent()?.components().map(|folder| folder.as_os_str().to_string_lossy().into_owned());
    folders.find(|folder| !Partitions::is_partition(folder))
}
