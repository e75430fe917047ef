//! What lies in a folder of the disk or below a prefix of a store.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
#[cfg(feature = "delta")]
use std::sync::Arc;

#[cfg(feature = "delta")]
use object_store::{ObjectStore, local::LocalFileSystem};
#[cfg(feature = "delta")]
use url::Url;
use walkdir::{DirEntry, WalkDir};

#[cfg(feature = "cloud")]
use super::object::{Listed, ObjectFolder};
use super::place::Location;
use super::remote::is_remote;
#[cfg(feature = "cloud")]
use super::upload::Upload;
use super::version::Version;
use crate::cancel::Cancel;
use crate::disk::WholeFile;
use crate::error::{Error, Result};

/// A folder of the disk or a prefix of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// A folder of the disk.
    Local(PathBuf),
    /// Objects whose names begin alike.
    #[cfg(feature = "cloud")]
    Object(ObjectFolder),
}

/// Something in a folder.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A file or an object.
    File(Location),
    /// A folder, with its name.
    Folder(String, Folder),
}

/// A file somewhere below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkedFile {
    /// Its path from the folder.
    pub path: PathBuf,
    /// Its state.
    pub version: Version,
}

impl Folder {
    /// Files and folders directly in it, sorted by name. What is hidden (`.`) or private (`_`) is left out.
    ///
    /// # Errors
    /// A folder that cannot be read, a store that refuses.
    pub fn list(
        &self,
        #[cfg_attr(not(feature = "cloud"), expect(unused_variables))] cancel: &Cancel,
    ) -> Result<Vec<Entry>> {
        match self {
            Self::Local(path) => list(path),
            #[cfg(feature = "cloud")]
            Self::Object(folder) => {
                let listed = folder.list(is_left_out, cancel)?.into_iter();
                let entry = |listed| match listed {
                    Listed::Object(object) => Entry::File(Location::Object(Box::new(object))),
                    Listed::Folder(name, folder) => Entry::Folder(name, Self::Object(folder)),
                };
                Ok(listed.map(entry).collect())
            }
        }
    }

    /// All files below it whose name `wanted` accepts, sorted by path. What is hidden or private is left out; links are
    /// followed.
    ///
    /// # Errors
    /// As [`Folder::list`].
    pub fn walk(&self, wanted: fn(&Path) -> bool, cancel: &Cancel) -> Result<Vec<WalkedFile>> {
        let mut files = match self {
            Self::Local(path) => walk(path, wanted, cancel)?,
            #[cfg(feature = "cloud")]
            Self::Object(folder) => {
                let kept = |path: &Path| wanted(path) && !path.iter().any(|part| is_left_out(&part.to_string_lossy()));
                let found = folder.walk(cancel)?.into_iter().filter(|(path, _)| kept(path));
                found.map(|(path, version)| WalkedFile { path, version }).collect()
            }
        };
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    /// Whether it holds a folder of this name.
    ///
    /// # Errors
    /// A store that refuses.
    pub fn has_folder(
        &self,
        name: &str,
        #[cfg_attr(not(feature = "cloud"), expect(unused_variables))] cancel: &Cancel,
    ) -> Result<bool> {
        match self {
            Self::Local(path) => Ok(path.join(name).is_dir()),
            #[cfg(feature = "cloud")]
            Self::Object(folder) => folder.inner(name).is_empty(cancel).map(|empty| !empty),
        }
    }

    /// A store that holds it, and its address there.
    ///
    /// # Errors
    /// A folder that is not there, a store that cannot be used.
    #[cfg(feature = "delta")]
    pub fn in_store(&self) -> Result<(Arc<dyn ObjectStore>, Url)> {
        match self {
            Self::Local(path) => {
                let whole = path.canonicalize().map_err(|source| Error::io(path, source))?;
                let url = Url::from_directory_path(whole).expect("a canonical path is absolute");
                Ok((Arc::new(LocalFileSystem::new()), url))
            }
            Self::Object(folder) => folder.in_store(),
        }
    }

    /// The file at a path below it.
    pub fn file(&self, path: &Path) -> Location {
        match self {
            Self::Local(folder) => Location::File(folder.join(path)),
            #[cfg(feature = "cloud")]
            Self::Object(folder) => Location::Object(Box::new(folder.object(path))),
        }
    }

    /// Whether it holds a file of this name.
    ///
    /// # Errors
    /// A store that refuses.
    pub fn has_file(
        &self,
        name: &str,
        #[cfg_attr(not(feature = "cloud"), expect(unused_variables))] cancel: &Cancel,
    ) -> Result<bool> {
        match self {
            Self::Local(path) => Ok(path.join(name).exists()),
            #[cfg(feature = "cloud")]
            Self::Object(folder) => folder.has(name, cancel),
        }
    }
}

impl Folder {
    /// The folder that a name or an address stands for, whether it exists or not.
    ///
    /// # Errors
    /// An address that is no place to write to.
    pub fn named(name: &str) -> Result<Self> {
        match is_remote(name) {
            false => Ok(Self::Local(PathBuf::from(name))),
            #[cfg(feature = "cloud")]
            true => ObjectFolder::named(name).map(Self::Object),
            #[cfg(not(feature = "cloud"))]
            true => Err(super::remote::without_cloud(name)),
        }
    }

    /// The name of a file in it, for a writer.
    pub fn name_of(&self, file: &str) -> String {
        self.file(Path::new(file)).to_string()
    }

    /// Makes it, where folders have to be made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(&self) -> Result<()> {
        match self {
            Self::Local(path) => fs::create_dir_all(path).map_err(|source| Error::io(path, source)),
            #[cfg(feature = "cloud")]
            Self::Object(_) => Ok(()),
        }
    }

    /// The bytes of a file in it, where there is one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read_file(&self, name: &str, cancel: &Cancel) -> Result<Option<Vec<u8>>> {
        let location = self.file(Path::new(name));
        match location.read_whole(u64::MAX, cancel) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map_err(|source| Error::io(location.to_string(), source)),
        }
    }

    /// Writes a file in it, which appears whole or not at all and takes the place of one of that name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Local(path) => {
                let path = path.join(name);
                let write = || {
                    let file = WholeFile::create(&path, true)?;
                    file.writer()?.write_all(bytes)?;
                    Ok(file)
                };
                let file = write().map_err(|source| Error::io(&path, source))?;
                file.sync()?;
                file.publish()
            }
            #[cfg(feature = "cloud")]
            Self::Object(_) => {
                let upload = Upload::begin(&self.name_of(name), true)?;
                upload.writer().write_all(bytes).map_err(|source| Error::io(self.name_of(name), source))?;
                upload.complete()?;
                upload.publish()
            }
        }
    }

    /// Removes a file in it, if it is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_file(&self, name: &str) -> Result<()> {
        let removed = match self {
            Self::Local(path) => fs::remove_file(path.join(name)),
            #[cfg(feature = "cloud")]
            Self::Object(folder) => folder.object(Path::new(name)).remove(),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|source| Error::io(self.name_of(name), source)),
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            #[cfg(feature = "cloud")]
            Self::Object(folder) => folder.fmt(f),
        }
    }
}

/// Whether a name is one that listings leave out.
fn is_left_out(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

fn list(folder: &Path) -> Result<Vec<Entry>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| Error::io(folder, source))? {
        let path = entry.map_err(|source| Error::io(folder, source))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        paths.extend(name.filter(|name| !is_left_out(name)).map(|name| (path, name)));
    }
    paths.sort();
    let entry = |(path, name): (PathBuf, String)| match path.is_dir() {
        true => Some(Entry::Folder(name, Folder::Local(path))),
        false if path.is_file() => Some(Entry::File(Location::File(path))),
        false => None,
    };
    Ok(paths.into_iter().filter_map(entry).collect())
}

fn walk(folder: &Path, wanted: fn(&Path) -> bool, cancel: &Cancel) -> Result<Vec<WalkedFile>> {
    let kept = |entry: &DirEntry| entry.depth() == 0 || !is_left_out(&entry.file_name().to_string_lossy());
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(kept) {
        cancel.check()?;
        let entry = match entry {
            Ok(entry) => entry,
            // A link to a folder around it, and one to nothing.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) if error.path().is_some_and(Path::is_symlink) => continue,
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_path_buf();
                return Err(Error::io(path, error.into()));
            }
        };
        if !entry.file_type().is_file() || !wanted(entry.path()) {
            continue;
        }
        let metadata = entry.metadata().map_err(|error| Error::io(entry.path(), error.into()))?;
        let path = entry.path().strip_prefix(folder).expect("a walk stays below its start").to_path_buf();
        files.push(WalkedFile { path, version: Version::of(&metadata) });
    }
    Ok(files)
}
