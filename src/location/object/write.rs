//! An object that appears whole or not at all: its parts are uploaded, and a last request names it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::{MultipartUpload, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::address::{Address, Kind};
use super::fault;
use super::one::Object;
use super::runtime::{self, Pending};
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Bytes of a part. Stores take 10,000 of them.
const PART_BYTES: usize = 16 << 20;
/// Parts that are uploaded at a time.
const UPLOADS: usize = 4;

/// An upload. Dropped before it was published, it leaves nothing behind.
pub(in crate::location) struct ObjectUpload {
    object: Object,
    overwrite: bool,
    /// Bytes that make no whole part yet.
    rest: Vec<u8>,
    /// None while all bytes fit into one request.
    parts: Option<Box<dyn MultipartUpload>>,
    uploads: VecDeque<Pending<object_store::Result<()>>>,
    cancel: Cancel,
}

impl ObjectUpload {
    /// Begins one.
    ///
    /// # Errors
    /// [`Error::OutputExists`] where the object exists and may not be replaced; an address that is not written to.
    pub fn begin(name: &str, overwrite: bool) -> Result<Self> {
        let address = Address::parse(name)?;
        if address.kind == Kind::Web {
            return Err(Error::Config(format!("{name}: files on web servers are read, not written")));
        }
        if address.key.is_empty() || address.key.ends_with('/') {
            return Err(Error::Config(format!("{name}: names no object; write a name after the last `/`")));
        }
        let object = Object::at(address)?;
        let cancel = Cancel::default();
        match object.known(&cancel) {
            Ok(_) if !overwrite => return Err(Error::OutputExists { path: object.url.into() }),
            Ok(_) => {}
            Err(error) if fault::is_missing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { object, overwrite, rest: Vec::new(), parts: None, uploads: VecDeque::new(), cancel })
    }

    /// Appends bytes; waits while the store is behind.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest.extend_from_slice(bytes);
        while self.rest.len() >= PART_BYTES {
            let after = self.rest.split_off(PART_BYTES);
            let part = std::mem::replace(&mut self.rest, after);
            self.upload(part.into())?;
        }
        Ok(())
    }

    /// Waits until every byte is in the store, except for what one request will bring.
    pub fn complete(&mut self) -> Result<()> {
        if self.parts.is_some() && !self.rest.is_empty() {
            let part = std::mem::take(&mut self.rest);
            self.upload(part.into())?;
        }
        while let Some(upload) = self.uploads.pop_front() {
            self.wait_for(&upload)?;
        }
        Ok(())
    }

    /// Gives the object its name.
    ///
    /// # Errors
    /// [`Error::OutputExists`] where one appeared meanwhile that may not be replaced; the store's answer.
    pub fn publish(&mut self) -> Result<()> {
        let url = self.object.url.clone();
        let answer = match self.parts.take() {
            Some(mut parts) => {
                if !self.overwrite && self.object.known(&self.cancel).is_ok() {
                    self.parts = Some(parts);
                    return Err(Error::OutputExists { path: url.into() });
                }
                let (answer, parts) = runtime::wait(async move { (parts.complete().await, parts) }, &self.cancel)?;
                // What could not be named is given up when this is dropped.
                self.parts = answer.is_err().then_some(parts);
                answer
            }
            None => {
                let (store, path) = (Arc::clone(&self.object.store), self.object.path.clone());
                let payload = PutPayload::from(std::mem::take(&mut self.rest));
                let mode = if self.overwrite { PutMode::Overwrite } else { PutMode::Create };
                let put = async move { store.put_opts(&path, payload, PutOptions::from(mode)).await };
                runtime::wait(put, &self.cancel)?
            }
        };
        match answer {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => Err(Error::OutputExists { path: url.into() }),
            Err(error) => Err(fault::about(&url, &error)),
        }
    }

    /// Takes a published object's name back.
    pub fn unpublish(&self) {
        let (store, path) = (Arc::clone(&self.object.store), self.object.path.clone());
        // Best effort: the caller is already about to report why.
        let _ = runtime::wait(async move { store.delete(&path).await }, &self.cancel);
    }

    fn upload(&mut self, part: Bytes) -> Result<()> {
        let request: BoxFuture<'static, object_store::Result<()>> = match &mut self.parts {
            Some(parts) => parts.put_part(part.into()),
            None => {
                let (store, path) = (Arc::clone(&self.object.store), self.object.path.clone());
                let begun = runtime::wait(async move { store.put_multipart(&path).await }, &self.cancel)?;
                let begun = begun.map_err(|error| fault::about(&self.object.url, &error))?;
                self.parts.insert(begun).put_part(part.into())
            }
        };
        self.uploads.push_back(Pending::start(request)?);
        while self.uploads.len() > UPLOADS {
            let oldest = self.uploads.pop_front().expect("there are some");
            self.wait_for(&oldest)?;
        }
        Ok(())
    }

    fn wait_for(&self, upload: &Pending<object_store::Result<()>>) -> Result<()> {
        upload.wait(&self.cancel)?.map_err(|error| fault::about(&self.object.url, &error))
    }
}

impl fmt::Debug for ObjectUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObjectUpload").field(&self.object).finish()
    }
}

impl Drop for ObjectUpload {
    fn drop(&mut self) {
        self.uploads.clear();
        if let Some(mut parts) = self.parts.take() {
            // Best effort: stores remove parts that nobody names after some days.
            let _ = runtime::wait(async move { parts.abort().await }, &Cancel::default());
        }
    }
}
