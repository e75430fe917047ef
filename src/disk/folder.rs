//! A folder that appears whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{exchange, parent, sync_folder};
use crate::error::{Error, Result};

const PREFIX: &str = ".dismax-";
const NEW: &str = "new";
/// Holds the replaced folder under its own name between two renames.
const ASIDE: &str = "aside";
/// How often the staging folder is created again because another run removed it before it was locked.
const MAX_ATTEMPTS: usize = 8;

/// What a folder holds, and which folders it may replace.
#[derive(Debug, Clone, Copy)]
pub struct FolderKind {
    /// In words, with its article: "a model bundle".
    pub name: &'static str,
    /// Whether an existing folder is of this kind.
    pub is_ours: fn(&Path) -> bool,
    /// Whether a file in a replaced folder goes over into the new one, by its name.
    pub is_kept: fn(&OsStr) -> bool,
}

/// A folder that is written beside its target. Dropped, it is gone with all that is in it.
#[derive(Debug)]
pub struct WholeFolder {
    staging: TempDir,
    /// Holds the lock that tells other runs that the staging folder is in use.
    _lock: Option<File>,
    target: PathBuf,
    overwrite: bool,
    kind: FolderKind,
}

impl WholeFolder {
    /// Finds out whether `target` can be written, puts right what killed runs left beside it, and begins.
    ///
    /// # Errors
    /// [`Error::OutputExists`] or [`Error::OutputForeign`] where something exists that may not be replaced,
    /// [`Error::Io`] where nothing can be written.
    pub fn create(target: &Path, overwrite: bool, kind: FolderKind) -> Result<Self> {
        // What a link points to is replaced, and the link stays.
        let target = target.canonicalize().unwrap_or_else(|_| target.to_path_buf());
        let beside = parent(&target);
        fs::create_dir_all(beside).map_err(|error| Error::io(beside, error))?;
        clean_up(beside);
        refuse(&target, overwrite, kind)?;
        let (staging, lock) = locked_staging(beside).map_err(|error| Error::io(beside, error))?;
        let new = staging.path().join(NEW);
        fs::create_dir(&new).map_err(|error| Error::io(&new, error))?;
        Ok(Self { staging, _lock: lock, target, overwrite, kind })
    }

    /// A folder for what is needed only until [`publish`](Self::publish).
    pub fn scratch(&self) -> &Path {
        self.staging.path()
    }

    /// Where a file of the result is written.
    pub fn path(&self, name: &str) -> PathBuf {
        self.staging.path().join(NEW).join(name)
    }

    /// Writes a file of the result and syncs it.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| Error::io(&path, error))
    }

    /// Gives the folder its name. A kill at any moment leaves the old folder or the new one under that name, where the
    /// system can exchange two names; where it cannot, a kill between two renames leaves the old folder beside it, and
    /// the next run puts it back.
    ///
    /// # Errors
    /// As [`create`](Self::create). The old folder is then still there.
    pub fn publish(self) -> Result<()> {
        refuse(&self.target, self.overwrite, self.kind)?;
        let new = self.staging.path().join(NEW);
        let exists = self.target.exists();
        if exists {
            self.keep_from(&self.target, &new).map_err(|error| Error::io(&self.target, error))?;
        }
        sync_folder(&new);
        let target = self.target.clone();
        if !exists {
            fs::rename(&new, &target).map_err(|error| Error::io(&target, error))?;
        } else if exchange(&new, &target).is_ok() {
            // The old folder must not vanish before the exchange is on disk.
            sync_folder(parent(&target));
        } else {
            self.replace_in_two_steps(&new)?;
        }
        sync_folder(parent(&target));
        Ok(())
    }

    /// Copies what goes over from the old folder, so that nothing but the exchange is left to do.
    fn keep_from(&self, old: &Path, new: &Path) -> io::Result<()> {
        for entry in fs::read_dir(old)? {
            let entry = entry?;
            if (self.kind.is_kept)(&entry.file_name()) {
                copy(&entry.path(), &new.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// The old folder steps aside, and steps back where the second rename fails.
    fn replace_in_two_steps(self, new: &Path) -> Result<()> {
        let fail = |error| Error::io(&self.target, error);
        let aside = self.staging.path().join(ASIDE);
        fs::create_dir(&aside).map_err(fail)?;
        let aside = aside.join(self.target.file_name().expect("an existing folder's canonical path has a name"));
        fs::rename(&self.target, &aside).map_err(fail)?;
        let Err(error) = fs::rename(new, &self.target) else { return Ok(()) };
        if fs::rename(&aside, &self.target).is_ok() {
            return Err(fail(error));
        }
        // The next run puts it back.
        let _ = self.staging.keep();
        let message = format!("{error}; what was here is now {}", aside.display());
        Err(Error::io(&self.target, io::Error::new(error.kind(), message)))
    }
}

/// Where a killed run left the folder `target`, if one did.
pub fn set_aside(target: &Path) -> Option<PathBuf> {
    let name = target.file_name()?;
    let mut stagings = fs::read_dir(parent(target)).ok()?.flatten().filter(|entry| is_staging(&entry.file_name()));
    stagings.find_map(|entry| Some(entry.path().join(ASIDE).join(name)).filter(|folder| folder.is_dir()))
}

fn is_staging(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX))
}

/// Only a folder of the kind, or an empty one, is replaced, and only on request.
fn refuse(folder: &Path, overwrite: bool, kind: FolderKind) -> Result<()> {
    let path = || folder.to_path_buf();
    if !folder.exists() && !folder.is_symlink() {
        return Ok(());
    }
    if !folder.is_dir() {
        return Err(Error::OutputForeign { path: path(), expected: "a folder" });
    }
    if !overwrite {
        return Err(Error::OutputExists { path: path() });
    }
    let empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if !empty && !(kind.is_ours)(folder) {
        return Err(Error::OutputForeign { path: path(), expected: kind.name });
    }
    Ok(())
}

/// A staging folder in `beside`, with its lock where the file system has locks.
fn locked_staging(beside: &Path) -> io::Result<(TempDir, Option<File>)> {
    for _ in 0..MAX_ATTEMPTS {
        let staging = tempfile::Builder::new().prefix(PREFIX).tempdir_in(beside)?;
        let lock = File::open(staging.path()).and_then(|folder| folder.lock().map(|()| folder)).ok();
        if staging.path().exists() {
            return Ok((staging, lock));
        }
    }
    Err(io::Error::other("other runs keep removing the temporary folder"))
}

/// Puts back what a killed run set aside, and removes what else it left. Best effort: what stays harms nobody.
fn clean_up(beside: &Path) {
    let Ok(entries) = fs::read_dir(beside) else { return };
    for entry in entries.flatten().filter(|entry| is_staging(&entry.file_name())) {
        let staging = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let Some(folder) = is_folder.then(|| File::open(&staging).ok()).flatten() else { continue };
        // A name alone does not make a folder ours: what is in it must be what a killed run leaves.
        if folder.try_lock().is_err() || !holds_only_our_parts(&staging) {
            continue;
        }
        // Killed between two renames: the old folder waits under its name and the new one has none yet. It goes back
        // unless another folder has its name by now. In any other state the target is whole already.
        let mut aside = fs::read_dir(staging.join(ASIDE)).into_iter().flatten().flatten();
        let put_back = |aside: fs::DirEntry| {
            let target = beside.join(aside.file_name());
            !target.exists() && fs::rename(aside.path(), target).is_ok()
        };
        if !staging.join(NEW).exists() || aside.all(put_back) {
            let _ = fs::remove_dir_all(&staging);
        }
    }
}

fn holds_only_our_parts(staging: &Path) -> bool {
    let is_part = |name: &OsStr| name == NEW || name == ASIDE;
    fs::read_dir(staging)
        .is_ok_and(|entries| entries.into_iter().all(|entry| entry.is_ok_and(|entry| is_part(&entry.file_name()))))
}

/// Copies a file, a link or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        sync_folder(to);
        return Ok(());
    }
    // A second name costs nothing and keeps owner, times and links; not every file system has them.
    fs::hard_link(from, to).or_else(|_| {
        fs::copy(from, to)?;
        File::open(to)?.sync_all()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: FolderKind = FolderKind {
        name: "a test",
        is_ours: |folder| folder.join("ours").exists(),
        is_kept: |name| name == "LICENSE",
    };

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    fn written(target: &Path, bytes: &[u8]) -> WholeFolder {
        let folder = WholeFolder::create(target, true, KIND).expect("room");
        folder.write("ours", bytes).expect("written");
        folder
    }

    #[test]
    fn a_folder_is_replaced_with_what_is_kept_by_exchange_and_in_two_steps() {
        let place = tempfile::tempdir().expect("a folder");
        let target = place.path().join("t");
        written(&target, b"1").publish().expect("published");
        fs::write(target.join("LICENSE"), b"mine").expect("written");
        fs::write(target.join("other"), b"dropped").expect("written");

        let next = written(&target, b"2");
        assert_eq!(fs::read(target.join("ours")).expect("there"), b"1");
        next.publish().expect("published");
        assert_eq!(fs::read(target.join("ours")).expect("there"), b"2");
        assert_eq!(names(&target), ["LICENSE", "ours"]);

        let next = written(&target, b"3");
        let new = next.staging.path().join(NEW);
        next.replace_in_two_steps(&new).expect("published");
        assert_eq!(fs::read(target.join("ours")).expect("there"), b"3");
        assert_eq!(names(place.path()), ["t"], "nothing stays beside it");
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let target = place.path().join("t");
        written(&target, b"1").publish().expect("published");
        let refused = WholeFolder::create(&target, false, KIND).expect_err("it exists");
        assert!(matches!(refused, Error::OutputExists { .. }), "{refused}");
        fs::rename(target.join("ours"), target.join("theirs")).expect("renamed");
        for path in [&target, &target.join("theirs")] {
            let refused = WholeFolder::create(path, true, KIND).expect_err("foreign");
            assert!(matches!(refused, Error::OutputForeign { .. }), "{refused}");
        }
        assert_eq!(names(place.path()), ["t"]);
    }

    /// The state after a kill: the folder is left and nobody holds its lock.
    fn kill(folder: WholeFolder) -> PathBuf {
        folder.staging.keep()
    }

    #[test]
    fn the_next_run_looks_after_what_a_kill_left() {
        let place = tempfile::tempdir().expect("a folder");
        let target = place.path().join("t");
        kill(written(&target, b"unfinished"));
        assert_eq!(names(place.path()).len(), 1);
        let live = written(&place.path().join("live"), b"live");
        written(&target, b"1").publish().expect("published");
        live.publish().expect("a live run's folder is left alone");
        assert_eq!(names(place.path()), ["live", "t"]);

        // Between the two renames.
        let staging = kill(written(&target, b"2"));
        fs::create_dir(staging.join(ASIDE)).expect("made");
        fs::rename(&target, staging.join(ASIDE).join("t")).expect("renamed");
        assert_eq!(set_aside(&target).as_deref(), Some(staging.join(ASIDE).join("t").as_path()));
        drop(WholeFolder::create(&place.path().join("other"), false, KIND).expect("room"));
        assert_eq!(fs::read(target.join("ours")).expect("put back"), b"1");
        assert_eq!(names(place.path()), ["live", "t"]);
        assert_eq!(set_aside(&target), None);
    }

    #[test]
    fn a_folder_of_a_similar_name_is_left_alone() {
        let place = tempfile::tempdir().expect("a folder");
        let theirs = place.path().join(".dismax-notes");
        fs::create_dir(&theirs).expect("made");
        fs::write(theirs.join("notes"), b"mine").expect("written");
        drop(WholeFolder::create(&place.path().join("t"), false, KIND).expect("room"));
        assert_eq!(fs::read(theirs.join("notes")).expect("there"), b"mine");
    }
}
