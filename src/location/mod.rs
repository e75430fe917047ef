//! Where bytes lie: in files, in objects of stores and web servers, on standard input. What they hold is the business
//! of the rooms above.
//!
//! A [`Location`] is one of these; a [`Folder`] holds several, whether it is a folder of the disk or a prefix of a
//! store. The function `find` turns what a user named into one or the other. Objects need the feature `cloud`.

mod find;
mod folder;
#[cfg(feature = "cloud")]
mod object;
mod open_file;
mod pattern;
mod pipe;
mod place;
mod remote;
mod upload;
mod version;

pub use self::find::{Found, find};
pub use self::folder::{Entry, Folder, WalkedFile};
#[cfg(feature = "delta")]
pub use self::object::blocking;
#[cfg(feature = "cloud")]
pub use self::object::{Object, ObjectFolder, store_of};
pub use self::open_file::{OpenFile, Sequential};
pub use self::pipe::read_once;
pub use self::place::Location;
pub use self::remote::{address_and_pattern, is_remote};
pub use self::upload::Upload;
pub use self::version::Version;
