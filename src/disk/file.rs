//! A file that appears whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use super::{exchange, parent, sync_folder};
use crate::error::{Error, Result};

const SUFFIX: &str = ".part";
/// Random characters in a temporary name.
const RANDOM_CHARS: usize = 6;
/// Longest part of the target's name in a temporary name: file systems allow names of 255 bytes.
const MAX_NAME_BYTES: usize = 200;
/// How often a temporary file is created again because another run removed it before it was locked.
const MAX_ATTEMPTS: usize = 8;

/// A file that does not have its name yet. Dropped, it is removed.
#[derive(Debug)]
pub struct WholeFile {
    /// Removes the file when dropped.
    temporary: TempPath,
    /// Holds the lock that tells other runs that the file is in use.
    handle: File,
    target: PathBuf,
    overwrite: bool,
}

impl WholeFile {
    /// Begins a file in the folder of `target`, and removes what killed runs left of the same target.
    ///
    /// A file that is replaced keeps its mode; the mode of a new one follows the umask.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(target: &Path, overwrite: bool) -> io::Result<Self> {
        remove_abandoned(parent(target), |name| name == prefix(target));
        Self::create_without_cleaning(target, overwrite)
    }

    /// As [`create`](Self::create), and leaves what killed runs left: with thousands of files in a folder, looking for
    /// that takes longer than writing. See [`remove_all_abandoned`].
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_without_cleaning(target: &Path, overwrite: bool) -> io::Result<Self> {
        let prefix = prefix(target);
        for _ in 0..MAX_ATTEMPTS {
            let (handle, temporary) = temporary_beside(target, &prefix)?.into_parts();
            // File systems without locks still write; what a kill leaves there is not removed.
            let locked = handle.lock().is_ok();
            if !locked || temporary.exists() {
                return Ok(Self { temporary, handle, target: target.to_path_buf(), overwrite });
            }
        }
        Err(io::Error::other("other runs keep removing the temporary file"))
    }

    /// A handle to write through.
    ///
    /// # Errors
    /// When the process has no handle left.
    pub fn writer(&self) -> io::Result<File> {
        self.handle.try_clone()
    }

    /// Syncs the contents to disk.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses.
    pub fn sync(&self) -> Result<()> {
        self.handle.sync_all().map_err(|source| Error::io(&self.target, source))
    }

    /// Gives the file the target's name. Call [`sync`](Self::sync) first.
    ///
    /// # Errors
    /// When a file appeared at the target meanwhile that may not be overwritten, or the folder cannot be written.
    pub fn publish(self) -> Result<()> {
        let Self { temporary, handle: _handle, target, overwrite } = self;
        let placed = if overwrite { temporary.persist(&target) } else { temporary.persist_noclobber(&target) };
        placed.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => Error::OutputExists { path: target.clone() },
            _ => Error::io(&target, error.error),
        })?;
        sync_folder(parent(&target));
        Ok(())
    }
}

/// Gives both files their names. If the second cannot have its name, the first gives its name up again. A file that the
/// first replaced comes back where the system can exchange two names.
///
/// # Errors
/// As [`WholeFile::publish`].
pub fn publish_together(first: WholeFile, second: WholeFile) -> Result<()> {
    let undo = first.publish_for_now()?;
    second.publish().inspect_err(|_| undo.undo())
}

/// How a name is given back.
enum Undo {
    /// The replaced file has the temporary name.
    Exchange(TempPath, PathBuf),
    Remove(PathBuf),
    /// The replaced file is gone.
    Impossible,
}

impl Undo {
    fn undo(&self) {
        // Best effort: the caller is already about to report why.
        let _ = match self {
            Self::Exchange(replaced, target) => exchange(replaced, target),
            Self::Remove(target) => fs::remove_file(target),
            Self::Impossible => Ok(()),
        };
    }
}

impl WholeFile {
    fn publish_for_now(self) -> Result<Undo> {
        let target = self.target.clone();
        let replaces = self.overwrite && target.exists();
        if replaces && exchange(&self.temporary, &target).is_ok() {
            sync_folder(parent(&target));
            return Ok(Undo::Exchange(self.temporary, target));
        }
        self.publish()?;
        Ok(if replaces { Undo::Impossible } else { Undo::Remove(target) })
    }
}

/// How temporary names of `target` begin.
fn prefix(target: &Path) -> String {
    let mut name = target.file_name().expect("a file has a name").to_string_lossy().into_owned();
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    format!(".{name}.")
}

/// A file in the target's folder, so that renaming it does not cross file systems.
fn temporary_beside(target: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(SUFFIX).rand_bytes(RANDOM_CHARS);
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt;
        // A file that is replaced keeps its mode: a private one stays private. For a new one the user's umask decides,
        // not the privacy of temporary files.
        let replaced = target.metadata().map(|metadata| metadata.permissions().mode() & 0o777);
        fs::Permissions::from_mode(replaced.unwrap_or(0o666))
    };
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.tempfile_in(parent(target))
}

/// Removes what killed runs left of any file of a folder.
pub fn remove_all_abandoned(folder: &Path) {
    remove_abandoned(folder, |_| true);
}

/// Removes temporary files that nobody holds a lock on, of those whose name up to the random part is `wanted`. Best
/// effort: what cannot be removed harms nobody.
fn remove_abandoned(folder: &Path, wanted: impl Fn(&str) -> bool) {
    let is_random = |text: &str| text.len() == RANDOM_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(SUFFIX)?.rsplit_once('.'));
        let is_temporary = parts.is_some_and(|(target, random)| is_random(random) && wanted(&format!(".{target}.")))
            && entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_temporary
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // The lock is held meanwhile: whoever is about to take it finds the file gone and creates another one.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_a_live_run_writes_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out.parquet");
        for name in [".out.parquet.aB3dE6.part", ".out.parquet.notes.part", ".other.aB3dE6.part", ".out.parquet.aB3dE6"]
        {
            fs::write(folder.path().join(name), b"x").expect("written");
        }
        let live = WholeFile::create(&target, false).expect("room");
        let second = WholeFile::create(&target, false).expect("room");
        live.writer().expect("a handle").write_all(b"live").expect("written");
        live.sync().expect("synced");
        live.publish().expect("published");
        assert!(matches!(second.publish(), Err(Error::OutputExists { .. })));
        assert_eq!(fs::read(&target).expect("there"), b"live");
        let kept = [".other.aB3dE6.part", ".out.parquet.aB3dE6", ".out.parquet.notes.part", "out.parquet"];
        assert_eq!(names(folder.path()), kept);
    }

    fn written(target: &Path, bytes: &[u8]) -> WholeFile {
        let file = WholeFile::create(target, true).expect("room");
        file.writer().expect("a handle").write_all(bytes).expect("written");
        file
    }

    #[test]
    fn two_files_get_their_names_together_or_not_at_all() {
        let place = tempfile::tempdir().expect("a folder");
        let [first, second] = ["first", "second"].map(|name| place.path().join(name));
        // A folder in the way, which no file replaces.
        fs::create_dir(&second).expect("made");
        for old in [None, Some(b"old")] {
            if let Some(old) = old {
                fs::write(&first, old).expect("written");
            }
            publish_together(written(&first, b"new"), written(&second, b"new")).expect_err("a folder");
            assert_eq!(fs::read(&first).ok().as_deref(), old.map(|old| &old[..]));
            assert_eq!(names(place.path()).len(), 1 + usize::from(old.is_some()), "nothing else stays");
        }
        fs::remove_dir(&second).expect("removed");
        publish_together(written(&first, b"new"), written(&second, b"new")).expect("published");
        assert_eq!([&first, &second].map(|path| fs::read(path).expect("there")), [b"new", b"new"]);
        assert_eq!(names(place.path()), ["first", "second"]);
    }

    #[test]
    fn names_as_long_as_the_file_system_allows() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["n".repeat(255), "ä".repeat(127), "n".repeat(243)] {
            let file = WholeFile::create(&folder.path().join(&name), false).expect("room");
            file.publish().expect("published");
            assert!(folder.path().join(&name).is_file());
        }
        assert_eq!(names(folder.path()).len(), 3);
    }
}
