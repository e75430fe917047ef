//! From what a user named to where it lies.

use std::path::Path;

use super::folder::Folder;
#[cfg(feature = "cloud")]
use super::object::{self, Hit};
use super::pattern;
use super::place::Location;
use super::remote::is_remote;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// What a user's words stand for.
#[derive(Debug)]
pub enum Found {
    /// One input.
    One(Location),
    /// The inputs that a pattern matches, sorted, and the folder that the pattern begins with.
    Matches(Folder, Vec<Location>),
    /// A folder of the disk or a prefix of a store.
    Folder(Folder),
}

/// Finds what `name` stands for: a file, a folder, an address, a pattern, or `-` for standard input. A name that exists
/// is no pattern.
///
/// # Errors
/// A name that stands for nothing, a pattern that is none or matches nothing, a store that refuses.
pub fn find(name: &str, cancel: &Cancel) -> Result<Found> {
    let path = Path::new(name);
    if name == "-" {
        Ok(Found::One(Location::Stdin))
    } else if path.is_dir() {
        Ok(Found::Folder(Folder::Local(path.to_path_buf())))
    } else if path.exists() {
        Ok(Found::One(Location::File(path.to_path_buf())))
    } else if is_remote(name) {
        find_remote(name, cancel)
    } else if pattern::is_pattern(name) {
        let (root, files) = pattern::files(name)?;
        Ok(Found::Matches(Folder::Local(root), files.into_iter().map(Location::File).collect()))
    } else {
        Err(Error::data(name, "no such file or folder"))
    }
}

#[cfg(feature = "cloud")]
fn find_remote(name: &str, cancel: &Cancel) -> Result<Found> {
    Ok(match object::find(name, cancel)? {
        Hit::One(object) => Found::One(Location::Object(Box::new(object))),
        Hit::Folder(folder) => Found::Folder(Folder::Object(folder)),
        Hit::Matches(folder, objects) => Found::Matches(
            Folder::Object(folder),
            objects.into_iter().map(|object| Location::Object(Box::new(object))).collect(),
        ),
    })
}

#[cfg(not(feature = "cloud"))]
fn find_remote(name: &str, _: &Cancel) -> Result<Found> {
    Err(super::remote::without_cloud(name))
}
