//! Where one input lies.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

#[cfg(feature = "cloud")]
use super::object::Object;
use super::open_file::OpenFile;
use super::pipe::CancellablePipe;
use super::remote::is_remote;
use super::version::Version;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Where one input lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of this machine, or a pipe with a name.
    File(PathBuf),
    /// An object of a store or of a web server.
    #[cfg(feature = "cloud")]
    Object(Box<Object>),
    /// Standard input.
    Stdin,
}

impl Location {
    /// The file or the object of this name, whether or not it is there.
    ///
    /// # Errors
    /// An address that is none, a store that cannot be used.
    pub fn named(name: &str) -> Result<Self> {
        match is_remote(name) {
            false => Ok(Self::File(PathBuf::from(name))),
            #[cfg(feature = "cloud")]
            true => Ok(Self::Object(Box::new(Object::named(name)?))),
            #[cfg(not(feature = "cloud"))]
            true => Err(super::remote::without_cloud(name)),
        }
    }

    /// Whether the bytes come once, in order: standard input, and pipes with a name.
    pub fn is_stream(&self) -> bool {
        match self {
            Self::File(path) => !path.is_file(),
            #[cfg(feature = "cloud")]
            Self::Object(_) => false,
            Self::Stdin => true,
        }
    }

    /// Whether every answer about it takes a round trip.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::File(_) | Self::Stdin => false,
            #[cfg(feature = "cloud")]
            Self::Object(_) => true,
        }
    }

    /// The name without its folder.
    pub fn file_name(&self) -> String {
        let name = self.to_string();
        name.rsplit('/').next().unwrap_or_default().to_owned()
    }

    /// The same, with what a store says about an object: it is asked once.
    ///
    /// # Errors
    /// The store's answer.
    pub fn looked_up(
        self,
        #[cfg_attr(not(feature = "cloud"), expect(unused_variables))] cancel: &Cancel,
    ) -> Result<Self> {
        match self {
            #[cfg(feature = "cloud")]
            Self::Object(object) => Ok(Self::Object(Box::new(object.with_meta(cancel)?))),
            other => Ok(other),
        }
    }

    /// Opens a file or an object for reading anywhere. Once `cancel` is set, reading an object ends with an error.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened; a stream cannot.
    pub fn open(
        &self,
        #[cfg_attr(not(feature = "cloud"), expect(unused_variables))] cancel: &Cancel,
    ) -> Result<OpenFile> {
        match self {
            Self::File(path) => OpenFile::local(path),
            #[cfg(feature = "cloud")]
            Self::Object(object) => Ok(OpenFile::object(object.reader(cancel)?)),
            Self::Stdin => Err(Error::Internal("standard input was to be read anywhere".into())),
        }
    }

    /// Reads from the beginning. Once `cancel` is set, waiting for a pipe or an object ends with an error.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened, [`Error::Config`] for standard input that was taken before.
    pub fn read(&self, cancel: &Cancel) -> Result<Box<dyn Read + Send>> {
        match self {
            Self::Stdin => Ok(Box::new(CancellablePipe::stdin(cancel)?)),
            Self::File(path) if self.is_stream() => Ok(Box::new(CancellablePipe::open(path, cancel)?)),
            Self::File(path) => {
                let file = File::open(path).map_err(|source| Error::io(path, source))?;
                Ok(Box::new(BufReader::new(file)))
            }
            #[cfg(feature = "cloud")]
            Self::Object(_) => {
                let file = self.open(cancel)?;
                file.will_read_all();
                Ok(Box::new(file.reader(0)))
            }
        }
    }

    /// All bytes, unless there are more than `most`; `None` where there are.
    ///
    /// # Errors
    /// The system's or the store's answer.
    pub fn read_whole(
        &self,
        most: u64,
        #[cfg_attr(not(feature = "cloud"), expect(unused_variables))] cancel: &Cancel,
    ) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::File(path) => {
                let metadata = fs::metadata(path)?;
                // A pipe or a device could keep the run waiting for ever.
                if !metadata.is_file() {
                    return Err(io::Error::other("is not a regular file"));
                }
                if metadata.len() > most {
                    return Ok(None);
                }
                let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
                File::open(path)?.take(most).read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            #[cfg(feature = "cloud")]
            Self::Object(object) => object.read_whole(most, cancel),
            Self::Stdin => Err(io::Error::other("standard input is no file among others")),
        }
    }

    /// What tells this state of it from another; `None` for streams.
    ///
    /// # Errors
    /// [`Error::Io`] when the system or the store does not tell.
    pub fn version(&self) -> Result<Option<Version>> {
        match self {
            Self::File(path) if self.is_stream() => {
                path.metadata().map_err(|source| Error::io(path, source))?;
                Ok(None)
            }
            Self::File(path) => {
                let metadata = path.metadata().map_err(|source| Error::io(path, source))?;
                Ok(Some(Version::of(&metadata)))
            }
            #[cfg(feature = "cloud")]
            Self::Object(object) => object.version().map(Some),
            Self::Stdin => Ok(None),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            #[cfg(feature = "cloud")]
            Self::Object(object) => object.url().fmt(f),
            Self::Stdin => f.write_str("stdin"),
        }
    }
}
