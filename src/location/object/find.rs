//! From an address to the objects that it stands for.

use super::address::{Address, Kind};
use super::fault;
use super::folder::ObjectFolder;
use super::one::Object;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::location::pattern::{is_pattern, matcher, split};

/// What an address stands for.
#[derive(Debug)]
pub(in crate::location) enum Hit {
    One(Object),
    /// The objects that a pattern matches, sorted, and where the pattern begins.
    Matches(ObjectFolder, Vec<Object>),
    Folder(ObjectFolder),
}

/// Finds what an address stands for. An object of that name comes first, then objects below it, then a pattern.
pub(in crate::location) fn find(name: &str, cancel: &Cancel) -> Result<Hit> {
    let address = Address::parse(name)?;
    if address.kind == Kind::Web || !address.key.ends_with('/') && !address.key.is_empty() {
        match Object::at(address.clone())?.with_meta(cancel) {
            Ok(object) => return Ok(Hit::One(object)),
            Err(error) if address.kind == Kind::Web => return Err(error),
            Err(error) if !fault::is_missing(&error) => return Err(error),
            Err(_) => {}
        }
    }
    if is_pattern(&address.key) {
        return matches(&address, cancel);
    }
    let folder = ObjectFolder::new(address);
    match folder.is_empty(cancel)? {
        false => Ok(Hit::Folder(folder)),
        true => Err(Error::data(name, "there is no such object, and none whose name begins so")),
    }
}

fn matches(address: &Address, cancel: &Cancel) -> Result<Hit> {
    let (root, rest) = split(&address.key);
    let fits = matcher(rest)?;
    let folder = ObjectFolder::new(address.with_key(root));
    let mut found: Vec<Object> = folder
        .objects(rest.contains('/'), cancel)?
        .into_iter()
        .filter(|(name, _)| fits(name))
        .map(|(_, o)| o)
        .collect();
    if found.is_empty() {
        return Err(Error::data(&address.text, "the pattern matches no object"));
    }
    found.sort_by(|one, other| one.url.cmp(&other.url));
    Ok(Hit::Matches(folder, found))
}
