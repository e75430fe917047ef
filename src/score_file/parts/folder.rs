//! The folder that parts are written to.

use std::collections::HashSet;
use std::fs::File;

use super::manifest::{MANIFEST, Manifest};
use crate::cancel::Cancel;
use crate::disk::remove_all_abandoned;
use crate::error::{Error, Result};
use crate::location::{Entry, Folder};

/// A folder of parts, which no other run of this machine writes to.
#[derive(Debug)]
pub(in crate::score_file) struct PartsFolder {
    folder: Folder,
    _lock: Option<File>,
}

impl PartsFolder {
    /// Makes the folder where there is none, and removes what killed runs left unfinished in it.
    ///
    /// # Errors
    /// [`Error::OutputForeign`] for a folder that holds other things; one that another run writes to.
    pub fn open(name: &str, cancel: &Cancel) -> Result<Self> {
        let folder = Folder::named(name)?;
        folder.create()?;
        let lock = match &folder {
            Folder::Local(path) => {
                let lock = File::open(path).map_err(|source| Error::io(path, source))?;
                if matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
                    return Err(Error::Config(format!("{name}: another run writes to this folder")));
                }
                remove_all_abandoned(path);
                Some(lock)
            }
            #[cfg(feature = "cloud")]
            Folder::Object(_) => None,
        };
        let opened = Self { folder, _lock: lock };
        if !opened.folder.has_file(MANIFEST, cancel)? && !opened.folder.list(cancel)?.is_empty() {
            return Err(Error::OutputForeign { path: name.into(), expected: "a folder of parts or empty" });
        }
        Ok(opened)
    }

    /// Removes what was left unfinished in it by processes that are gone.
    pub fn tidy(&self) {
        match &self.folder {
            Folder::Local(path) => remove_all_abandoned(path),
            #[cfg(feature = "cloud")]
            Folder::Object(_) => {}
        }
    }

    /// Checks that none of these inputs lies in it: parts are replaced and removed.
    ///
    /// # Errors
    /// [`Error::OutputIsInput`].
    pub fn require_not_read<'a>(&self, inputs: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut place = match &self.folder {
            Folder::Local(path) => path.canonicalize().map_err(|source| Error::io(path, source))?.display().to_string(),
            #[cfg(feature = "cloud")]
            folder @ Folder::Object(_) => folder.to_string(),
        };
        if !place.ends_with('/') {
            place.push('/');
        }
        match inputs.into_iter().find(|input| input.starts_with(&place) || format!("{input}/") == place) {
            None => Ok(()),
            Some(input) => Err(Error::OutputIsInput { path: input.to_owned() }),
        }
    }

    /// What it says about itself; none where it is new.
    pub fn manifest(&self, cancel: &Cancel) -> Result<Option<Manifest>> {
        let bytes = self.folder.read_file(MANIFEST, cancel)?;
        bytes.map(|bytes| Manifest::parse(&self.folder.name_of(MANIFEST), &bytes)).transpose()
    }

    pub fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        self.folder.write_file(MANIFEST, &manifest.to_bytes())
    }

    /// Name of a part, for its writer.
    pub fn name_of(&self, part: &str) -> String {
        self.folder.name_of(part)
    }

    /// Names of the files in it.
    pub fn files(&self, cancel: &Cancel) -> Result<HashSet<String>> {
        let entries = self.folder.list(cancel)?.into_iter();
        Ok(entries
            .filter_map(|entry| match entry {
                Entry::File(location) => Some(location.file_name()),
                Entry::Folder(..) => None,
            })
            .collect())
    }

    pub fn remove(&self, part: &str) -> Result<()> {
        self.folder.remove_file(part)
    }
}
