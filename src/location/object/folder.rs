//! Objects whose names begin alike, as a folder.

use std::fmt;
use std::path::{Path as FilePath, PathBuf};
#[cfg(feature = "delta")]
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
#[cfg(feature = "delta")]
use url::Url;

use super::address::{Address, Kind};
use super::one::{Object, version_of};
use super::store::store_of;
use super::{fault, runtime};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::location::version::Version;

/// A prefix of names that ends with `/`, or a whole bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFolder {
    address: Address,
}

/// Something directly in a folder.
#[derive(Debug)]
pub(in crate::location) enum Listed {
    Object(Object),
    /// With its name.
    Folder(String, ObjectFolder),
}

impl ObjectFolder {
    /// The folder in which an object lies.
    pub fn around(object: &Object) -> Self {
        let key = object.path.as_ref();
        Self::new(object.address.with_key(&key[..key.rfind('/').map_or(0, |slash| slash + 1)]))
    }

    /// The folder that an address stands for.
    ///
    /// # Errors
    /// An address that is none, or of a server that is not written to.
    pub fn named(name: &str) -> Result<Self> {
        let address = Address::parse(name)?;
        match address.kind {
            Kind::Bucket => Ok(Self::new(address)),
            Kind::Web => Err(Error::Config(format!("{name}: files on web servers are read, not written"))),
        }
    }

    pub(super) fn new(mut address: Address) -> Self {
        if !address.key.is_empty() && !address.key.ends_with('/') {
            address.key.push('/');
        }
        Self { address }
    }

    /// Its store, and its address there.
    #[cfg(feature = "delta")]
    pub(in crate::location) fn in_store(&self) -> Result<(Arc<dyn ObjectStore>, Url)> {
        let mut url = self.address.base.clone();
        // Each part is escaped, also a `%` in it.
        let mut parts = url.path_segments_mut().map_err(|()| Error::Internal(format!("{self} has no path")))?;
        parts.pop_if_empty().extend(self.address.key.split('/'));
        drop(parts);
        Ok((store_of(&self.address.base)?, url))
    }

    /// A folder in it.
    pub(in crate::location) fn inner(&self, name: &str) -> Self {
        Self::new(self.address.with_key(&format!("{}{name}", self.address.key)))
    }

    /// Whether there are no objects in it.
    pub(in crate::location) fn is_empty(&self, cancel: &Cancel) -> Result<bool> {
        let (store, prefix) = (store_of(&self.address.base)?, self.prefix()?);
        let first = async move { store.list(prefix.as_ref()).try_next().await };
        Ok(self.answer(runtime::wait(first, cancel)?)?.is_none())
    }

    pub(in crate::location) fn list(&self, is_left_out: fn(&str) -> bool, cancel: &Cancel) -> Result<Vec<Listed>> {
        let (store, prefix) = (store_of(&self.address.base)?, self.prefix()?);
        let listed = async move { store.list_with_delimiter(prefix.as_ref()).await };
        let listed = self.answer(runtime::wait(listed, cancel)?)?;
        let mut entries = Vec::with_capacity(listed.common_prefixes.len() + listed.objects.len());
        for folder in listed.common_prefixes {
            let name = folder.filename().unwrap_or_default().to_owned();
            if !is_left_out(&name) {
                let key = format!("{folder}/");
                let folder = Self { address: self.address.with_key(&key) };
                entries.push((name.clone(), Listed::Folder(name, folder)));
            }
        }
        for meta in listed.objects {
            let name = meta.location.filename().unwrap_or_default().to_owned();
            // Some tools mark a folder by an empty object of its name.
            if !is_left_out(&name) && !meta.location.as_ref().is_empty() && self.below(&meta.location).is_some() {
                entries.push((name, Listed::Object(Object::listed(&self.address, meta)?)));
            }
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// All objects below it, with their paths from here.
    pub(in crate::location) fn walk(&self, cancel: &Cancel) -> Result<Vec<(PathBuf, Version)>> {
        let metas = self.metas(true, cancel)?;
        let file = |meta: &ObjectMeta| Some((self.below(&meta.location)?.into(), version_of(meta)));
        Ok(metas.iter().filter_map(file).collect())
    }

    /// Objects in it, or anywhere `below` it, with their names from here.
    pub(super) fn objects(&self, below: bool, cancel: &Cancel) -> Result<Vec<(String, Object)>> {
        let metas = self.metas(below, cancel)?;
        let named = metas.into_iter().filter_map(|meta| Some((self.below(&meta.location)?.to_owned(), meta)));
        named.map(|(name, meta)| Ok((name, Object::listed(&self.address, meta)?))).collect()
    }

    /// The object at a path below it, of which nothing is known yet.
    pub(in crate::location) fn object(&self, path: &FilePath) -> Object {
        let key = format!("{}{}", self.address.key, path.to_string_lossy());
        Object::at(self.address.with_key(&key)).expect("its objects were listed")
    }

    /// The path from here of an object below it.
    pub fn path_of(&self, object: &Object) -> Option<PathBuf> {
        self.below(&object.path).map(PathBuf::from)
    }

    pub(in crate::location) fn has(&self, name: &str, cancel: &Cancel) -> Result<bool> {
        let object = Object::at(self.address.with_key(&format!("{}{name}", self.address.key)))?;
        match object.known(cancel) {
            Ok(_) => Ok(true),
            Err(error) if fault::is_missing(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn metas(&self, below: bool, cancel: &Cancel) -> Result<Vec<ObjectMeta>> {
        let (store, prefix) = (store_of(&self.address.base)?, self.prefix()?);
        let listed = async move {
            match below {
                true => store.list(prefix.as_ref()).try_collect().await,
                false => store.list_with_delimiter(prefix.as_ref()).await.map(|listed| listed.objects),
            }
        };
        self.answer(runtime::wait(listed, cancel)?)
    }

    /// The name from here; none for the mark of the folder itself.
    fn below<'a>(&self, location: &'a Path) -> Option<&'a str> {
        location.as_ref().strip_prefix(&*self.address.key).filter(|name| !name.is_empty())
    }

    fn prefix(&self) -> Result<Option<Path>> {
        let path = Path::parse(self.address.key.trim_end_matches('/'));
        let path = path.map_err(|error| Error::Config(format!("{}: {error}", self.address.text)))?;
        Ok((!path.as_ref().is_empty()).then_some(path))
    }

    fn answer<T>(&self, answer: object_store::Result<T>) -> Result<T> {
        answer.map_err(|error| fault::about(&self.to_string(), &error))
    }
}

impl fmt::Display for ObjectFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address.name_of(&self.address.key))
    }
}
