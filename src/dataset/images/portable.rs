//! Image files that another process reads: their names, and what a table beside them says about them.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};

use super::ImageFolder;
use super::layout::text_of;
use super::metadata::Metadata;
use crate::error::{Error, Result};
use crate::location::{Folder, Version, WalkedFile};

/// Some files of a folder of images, as another process opens them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::dataset) struct PortableImages {
    /// Where they lie: an absolute path or an address.
    place: String,
    /// How the rows name it.
    shown: String,
    name: String,
    files: Vec<(PathBuf, Version)>,
    partitions: Vec<String>,
    has_labels: bool,
    /// Where it came from, and an Arrow IPC stream with a row for each file.
    metadata: Option<(String, Vec<u8>)>,
}

impl PortableImages {
    /// The files, as absolute paths or addresses.
    pub fn places(&self) -> impl Iterator<Item = String> {
        let folder = self.place.trim_end_matches('/');
        self.files.iter().map(move |(path, _)| format!("{folder}/{}", path.display()))
    }
}

impl ImageFolder {
    /// The files in `range`, for another process.
    ///
    /// # Errors
    /// A folder that is gone, or whose name is no UTF-8.
    pub(in crate::dataset) fn to_portable(&self, range: Range<usize>) -> Result<PortableImages> {
        let place = match &self.folder {
            Folder::Local(path) => {
                let path = if path.as_os_str().is_empty() { ".".into() } else { path.clone() };
                let whole = path.canonicalize().map_err(|error| Error::io(&path, error))?;
                let text = whole.to_str().map(str::to_owned);
                text.ok_or_else(|| Error::data(&self.name, "its name is no UTF-8, so that no other process finds it"))?
            }
            #[cfg(feature = "cloud")]
            folder @ Folder::Object(_) => folder.to_string(),
        };
        let files = &self.files[range];
        let metadata = self.metadata.as_ref().map(|metadata| {
            let rows = metadata.rows_of(files)?;
            let mut bytes = Vec::new();
            let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema()).map_err(fault)?;
            writer.write(&rows).and_then(|()| writer.finish()).map_err(fault)?;
            drop(writer);
            Ok::<_, Error>((metadata.origin().to_owned(), bytes))
        });
        Ok(PortableImages {
            place,
            shown: self.shown.to_string(),
            name: self.name.clone(),
            files: files.iter().map(|file| (file.path.clone(), file.version.clone())).collect(),
            partitions: self.partitions.clone(),
            has_labels: self.has_labels,
            metadata: metadata.transpose()?,
        })
    }

    /// The files that another process named.
    ///
    /// # Errors
    /// Bytes that were altered, names that lead out of the folder.
    pub(in crate::dataset) fn of_portable(images: &PortableImages) -> Result<Self> {
        let inside = |path: &PathBuf| path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if let Some((path, _)) = images.files.iter().find(|(path, _)| !inside(path)) {
            return Err(Error::data(&images.place, format!("{} does not lie in it", path.display())));
        }
        let files: Vec<WalkedFile> = images
            .files
            .iter()
            .map(|(path, version)| WalkedFile { path: path.clone(), version: version.clone() })
            .collect();
        let metadata = images.metadata.as_ref().map(|(origin, bytes)| {
            let mut reader = StreamReader::try_new(bytes.as_slice(), None).map_err(fault)?;
            let rows = reader.next().unwrap_or_else(|| Ok(arrow::array::RecordBatch::new_empty(reader.schema())));
            let rows = rows.map_err(fault)?;
            if rows.num_rows() != files.len() {
                return Err(Error::data(origin, "was altered on its way from another process"));
            }
            let by_file: HashMap<String, usize> =
                files.iter().enumerate().map(|(row, file)| (text_of(&file.path), row)).collect();
            Ok::<_, Error>(Metadata::of_rows(origin.clone(), rows, by_file))
        });
        let (folder, shown) = (Folder::named(&images.place)?, Folder::named(&images.shown)?);
        let (partitions, has_labels) = (images.partitions.clone(), images.has_labels);
        Ok(Self::of_parts(images.name.clone(), (folder, shown), files, partitions, has_labels, metadata.transpose()?))
    }
}

fn fault(source: arrow::error::ArrowError) -> Error {
    Error::Arrow { origin: "a table of images for another process".into(), source }
}
