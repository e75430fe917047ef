//! Writing to where an address points.

#[cfg(feature = "cloud")]
pub use with_cloud::Upload;
#[cfg(not(feature = "cloud"))]
pub use without_cloud::Upload;

#[cfg(feature = "cloud")]
mod with_cloud {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    use super::super::object::ObjectUpload;
    use crate::error::{Error, Result};

    /// An object that is written and does not have its name yet. Dropped, it is gone.
    #[derive(Debug)]
    pub struct Upload(Arc<Mutex<ObjectUpload>>);

    impl Upload {
        /// Begins the object `name`.
        ///
        /// # Errors
        /// [`Error::OutputExists`] where it exists and may not be replaced; an address that is not written to.
        pub fn begin(name: &str, overwrite: bool) -> Result<Self> {
            Ok(Self(Arc::new(Mutex::new(ObjectUpload::begin(name, overwrite)?))))
        }

        /// What to write through.
        pub fn writer(&self) -> impl Write + Send + use<> {
            Writer(Arc::clone(&self.0))
        }

        /// Waits until the store has what was written.
        ///
        /// # Errors
        /// The store's answer.
        pub fn complete(&self) -> Result<()> {
            lock(&self.0).complete()
        }

        /// Gives the object its name.
        ///
        /// # Errors
        /// [`Error::OutputExists`] where one appeared meanwhile that may not be replaced; the store's answer.
        pub fn publish(self) -> Result<()> {
            lock(&self.0).publish()
        }

        /// As [`Upload::publish`], and `then` what must succeed too: else the name is taken back. An object that was
        /// replaced does not come back.
        ///
        /// # Errors
        /// As [`Upload::publish`], and those of `then`.
        pub fn publish_before(self, then: impl FnOnce() -> Result<()>) -> Result<()> {
            lock(&self.0).publish()?;
            then().inspect_err(|_| lock(&self.0).unpublish())
        }
    }

    struct Writer(Arc<Mutex<ObjectUpload>>);

    impl Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).write(bytes).map_err(|error| match error {
                Error::Io { source, .. } => source,
                other => io::Error::other(other.to_string()),
            })?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A panic while the lock was held ended the run; what is left is dropped with the upload.
    fn lock(upload: &Mutex<ObjectUpload>) -> MutexGuard<'_, ObjectUpload> {
        upload.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(not(feature = "cloud"))]
mod without_cloud {
    use std::io::Empty;

    use super::super::remote::without_cloud;
    use crate::error::Result;

    /// Never: this build has no object stores.
    #[derive(Debug)]
    pub enum Upload {}

    impl Upload {
        /// # Errors
        /// Always.
        pub fn begin(name: &str, _: bool) -> Result<Self> {
            Err(without_cloud(name))
        }

        /// Never called.
        pub fn writer(&self) -> Empty {
            match *self {}
        }

        /// Never called.
        pub fn complete(&self) -> Result<()> {
            match *self {}
        }

        /// Never called.
        pub fn publish(self) -> Result<()> {
            match self {}
        }

        /// Never called.
        pub fn publish_before(self, _: impl FnOnce() -> Result<()>) -> Result<()> {
            match self {}
        }
    }
}
