//! Folders of image files as rows: `photos/*.jpg` and `photos/CLASS/*.jpg`, as torchvision's `ImageFolder` and Hugging
//! Face's `imagefolder` lay them out.
//!
//! | column | holds |
//! | --- | --- |
//! | `image` | struct `{bytes, path}`: the file, and its name as it can be opened from here |
//! | `path` | its path from the folder |
//! | `label` | the outermost folder in it, where all files lie in such folders |
//!
//! Folders `name=value` become columns, and so do those of `metadata.csv`, `metadata.jsonl` or `metadata.parquet`,
//! whose `file_name` says which image a row is about. A file that cannot be read is a row without bytes.

mod layout;
mod metadata;
mod portable;
mod read;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub(super) use self::layout::{IMAGE, LABEL, PATH, image_parts, is_image};
use self::layout::{label_of, partitions_of};
use self::metadata::Metadata;
pub(super) use self::portable::PortableImages;
use super::partitions::Partitions;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::location::{Folder, Location, Version, WalkedFile};

/// Image files below one folder.
#[derive(Debug)]
pub struct ImageFolder {
    /// As the user named it.
    name: String,
    folder: Folder,
    /// The same folder as the rows name it: relative where the user's words were, also in another process.
    shown: Folder,
    files: Vec<WalkedFile>,
    /// Names of the columns that folders `name=value` hold.
    partitions: Vec<String>,
    has_labels: bool,
    metadata: Option<Metadata>,
    schema: SchemaRef,
}

impl ImageFolder {
    /// The images below `folder`, with the metadata that lies in it; `None` where there are none.
    ///
    /// # Errors
    /// A folder that cannot be read, metadata that are no table of images.
    pub fn open(folder: &Folder, cancel: &Cancel) -> Result<Option<Self>> {
        let files = folder.walk(is_image, cancel)?;
        if files.is_empty() {
            return Ok(None);
        }
        let metadata = Metadata::find(folder, cancel)?;
        Self::new(folder.to_string(), folder.clone(), files, metadata).map(Some)
    }

    /// These files, which lie below `folder`; `name` is what the user wrote.
    ///
    /// # Errors
    /// None so far: as [`ImageFolder::open`].
    pub fn of_files(name: &str, folder: &Folder, files: Vec<WalkedFile>) -> Result<Self> {
        Self::new(name.to_owned(), folder.clone(), files, None)
    }

    fn new(name: String, folder: Folder, mut files: Vec<WalkedFile>, metadata: Option<Metadata>) -> Result<Self> {
        let metadata = metadata.map(|metadata| metadata.about(&folder, &mut files)).transpose()?;
        let all_have =
            |wanted: &dyn Fn(&Partitions) -> bool| files.iter().all(|file| wanted(&partitions_of(&file.path)));
        let partitions: Vec<String> = partitions_of(&files[0].path).iter().map(|(name, _)| name.to_owned()).collect();
        let partitions: Vec<String> =
            partitions.into_iter().filter(|name| all_have(&|found| found.get(name).is_some())).collect();
        let taken = |name: &str| metadata.as_ref().is_some_and(|metadata| metadata.has(name));
        let has_labels = !taken(LABEL)
            && !partitions.iter().any(|name| name == LABEL)
            && files.iter().all(|file| label_of(&file.path).is_some());
        let places = (folder.clone(), folder);
        Ok(Self::of_parts(name, places, files, partitions, has_labels, metadata))
    }

    /// `places` are where it lies and how the rows name it.
    fn of_parts(
        name: String,
        places: (Folder, Folder),
        files: Vec<WalkedFile>,
        partitions: Vec<String>,
        has_labels: bool,
        metadata: Option<Metadata>,
    ) -> Self {
        let (folder, shown) = places;
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let mut fields = vec![Field::new(IMAGE, DataType::Struct(image_parts()), true), text(PATH)];
        fields.extend(has_labels.then(|| text(LABEL)));
        fields.extend(partitions.iter().map(|name| text(name)));
        fields.extend(metadata.iter().flat_map(Metadata::fields));
        let schema = Arc::new(Schema::new(fields));
        Self { name, folder, shown, files, partitions, has_labels, metadata, schema }
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of its files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Path, size and time of each file in a range.
    pub fn versions(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = (&Path, &Version)> {
        self.files[range].iter().map(|file| (file.path.as_path(), &file.version))
    }

    /// Digest of the table beside the images; empty where there is none.
    pub fn metadata_digest(&self) -> &[u8] {
        self.metadata.as_ref().map_or(&[], Metadata::digest)
    }

    /// Where a file lies.
    pub fn location(&self, file: usize) -> Location {
        self.folder.file(&self.files[file].path)
    }

    /// How the rows name a file.
    fn name_of(&self, file: usize) -> String {
        self.shown.file(&self.files[file].path).to_string()
    }

    /// Whether its files lie on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.folder, Folder::Local(_))
    }
}

impl fmt::Display for ImageFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
