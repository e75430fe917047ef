//! One object.

use std::fmt;
use std::io;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::address::Address;
use super::reader::ObjectReader;
use super::store::store_of;
use super::{fault, runtime};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::location::version::Version;

/// An object: where it lies, and its state once that is known.
#[derive(Clone)]
pub struct Object {
    pub(super) url: String,
    pub(super) address: Address,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: Path,
    meta: Option<ObjectMeta>,
}

impl Object {
    /// As [`Object::at`], of an address as text.
    ///
    /// # Errors
    /// What is no address, and as [`Object::at`].
    pub(in crate::location) fn named(name: &str) -> Result<Self> {
        Self::at(Address::parse(name)?)
    }

    /// The object that an address names, of which nothing is known yet.
    ///
    /// # Errors
    /// A name that no object has, a store that cannot be used.
    pub(super) fn at(address: Address) -> Result<Self> {
        let path = Path::parse(&address.key).map_err(|error| Error::Config(format!("{}: {error}", address.text)))?;
        let (url, store) = (address.name_of(&address.key), store_of(&address.base)?);
        Ok(Self { url, address, store, path, meta: None })
    }

    /// An object that was listed.
    pub(super) fn listed(address: &Address, meta: ObjectMeta) -> Result<Self> {
        let address = address.with_key(meta.location.as_ref());
        let (url, store) = (address.name_of(&address.key), store_of(&address.base)?);
        Ok(Self { url, address, store, path: meta.location.clone(), meta: Some(meta) })
    }

    /// The same, with what the store says about it.
    ///
    /// # Errors
    /// The store's answer.
    pub(in crate::location) fn with_meta(self, cancel: &Cancel) -> Result<Self> {
        Ok(Self { meta: Some(self.known(cancel)?), ..self })
    }

    /// Its address, without what a query holds: that may be a key.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for size and version unless they are known.
    pub(super) fn known(&self, cancel: &Cancel) -> Result<ObjectMeta> {
        match &self.meta {
            Some(meta) => Ok(meta.clone()),
            None => {
                let (store, path) = (Arc::clone(&self.store), self.path.clone());
                runtime::wait(async move { store.head(&path).await }, cancel)?
                    .map_err(|error| fault::about(&self.url, &error))
            }
        }
    }

    pub(in crate::location) fn reader(&self, cancel: &Cancel) -> Result<ObjectReader> {
        let meta = self.known(cancel)?;
        Ok(ObjectReader::new(self.url.clone(), Arc::clone(&self.store), meta, cancel.clone()))
    }

    pub(in crate::location) fn read_whole(&self, most: u64, cancel: &Cancel) -> io::Result<Option<Vec<u8>>> {
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let read = async move {
            let found = store.get_opts(&path, GetOptions::default()).await?;
            if found.meta.size > most {
                return Ok(None);
            }
            found.bytes().await.map(|bytes| Some(bytes.to_vec()))
        };
        runtime::wait(read, cancel).map_err(io::Error::other)?.map_err(|error| fault::as_io(&error))
    }

    pub(in crate::location) fn remove(&self) -> io::Result<()> {
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let removed = runtime::wait(async move { store.delete(&path).await }, &Cancel::default());
        removed.map_err(io::Error::other)?.map_err(|error| fault::as_io(&error))
    }

    pub(in crate::location) fn version(&self) -> Result<Version> {
        Ok(version_of(&self.known(&Cancel::default())?))
    }
}

pub(super) fn version_of(meta: &ObjectMeta) -> Version {
    let changed = || meta.last_modified.timestamp_nanos_opt().unwrap_or_default().to_string();
    Version { size: meta.size, tag: meta.e_tag.clone().unwrap_or_else(changed) }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.url).finish()
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for Object {}
