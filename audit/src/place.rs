//! The folder of an audit, which appears whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::summary;
use dismax::error::{Error, Result};

/// A folder beside the target. Dropped, it is gone with all that is in it.
#[derive(Debug)]
pub(super) struct Staging {
    folder: TempDir,
    inner: PathBuf,
    target: PathBuf,
    force: bool,
}

impl Staging {
    /// Finds out whether `target` can be written, and begins.
    ///
    /// # Errors
    /// [`Error::Config`] where something is there that must not be replaced, [`Error::Io`] where nothing can be written.
    pub fn create(target: &Path, force: bool) -> Result<Self> {
        // What a link points to is replaced, and the link stays.
        let target = target.canonicalize().unwrap_or_else(|_| target.to_path_buf());
        refuse_foreign(&target, force)?;
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).map_err(|error| Error::io(&parent, error))?;
        let folder = tempfile::Builder::new()
            .prefix(".dismax-audit-")
            .tempdir_in(&parent)
            .map_err(|error| Error::io(&parent, error))?;
        let inner = folder.path().join("new");
        fs::create_dir(&inner).map_err(|error| Error::io(&inner, error))?;
        Ok(Self { folder, inner, target, force })
    }

    /// A folder for what is needed only meanwhile.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a file of the result is written.
    pub fn path(&self, name: &str) -> PathBuf {
        self.inner.join(name)
    }

    /// Writes a file of the result.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        let write = || {
            let mut file = fs::File::create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| Error::io(&path, error))
    }

    /// Gives the folder its name. An old audit steps aside, and steps back where that fails.
    pub fn publish(self) -> Result<()> {
        let Self { folder, inner, target, force } = self;
        refuse_foreign(&target, force)?;
        let aside = folder.path().join("old");
        let replaced = target.exists();
        if replaced {
            fs::rename(&target, &aside).map_err(|error| Error::io(&target, error))?;
        }
        if let Err(error) = fs::rename(&inner, &target) {
            if replaced && let Err(error) = fs::rename(&aside, &target) {
                return Err(Error::io(folder.keep().join("old"), error));
            }
            return Err(Error::io(&target, error));
        }
        Ok(())
    }
}

/// Only an audit or an empty folder may be replaced, and only on request.
fn refuse_foreign(folder: &Path, force: bool) -> Result<()> {
    if !folder.exists() && !folder.is_symlink() {
        return Ok(());
    }
    if !folder.is_dir() {
        return Err(Error::OutputForeign { path: folder.to_path_buf(), expected: "a folder" });
    }
    if !force {
        return Err(Error::OutputExists { path: folder.to_path_buf() });
    }
    let empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if !empty && !summary::is_audit(folder) {
        return Err(Error::OutputForeign { path: folder.to_path_buf(), expected: "an audit" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("a/audit");
        let staging = Staging::create(&target, false).expect("room");
        staging.write("summary.json", br#"{"format": "dismax audit", "format_version": 1}"#).expect("written");
        assert!(!target.exists());
        staging.publish().expect("published");
        assert!(target.join("summary.json").is_file());

        let error = Staging::create(&target, false).expect_err("it exists");
        assert!(matches!(error, Error::OutputExists { .. }), "{error}");
        let staging = Staging::create(&target, true).expect("an audit is replaced");
        staging.write("other", b"new").expect("written");
        staging.publish().expect("published");
        assert!(target.join("other").is_file() && !target.join("summary.json").exists());

        let message = Staging::create(&target, true).expect_err("no audit any more").to_string();
        assert!(message.contains("not an audit"), "{message}");
        assert!(Staging::create(&target.join("other"), true).is_err(), "a file");
        drop(Staging::create(&folder.path().join("b"), false).expect("room"));
        let names: Vec<_> =
            fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
        assert_eq!(names, ["a"], "what was dropped leaves nothing");
        assert_eq!(fs::read_dir(folder.path().join("a")).expect("a folder").count(), 1);
    }
}
