//! Files and folders that appear whole or not at all.
//!
//! Both are written under a temporary name beside the target, synced, and renamed. A lock marks the temporary name as
//! in use, so that the next run can tell what a killed run left and remove it.

mod file;
mod folder;
mod text_file;

pub use file::WholeFile;
pub(crate) use file::{publish_together, remove_all_abandoned};
pub(crate) use folder::set_aside;
pub use folder::{FolderKind, WholeFolder};
pub use text_file::TextFile;

use std::fs::File;
use std::io;
use std::path::Path;

/// The folder that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs the names in `folder`. Not every file system can; the files are whole either way.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// Exchanges two names in one step.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
