//! Names that are addresses.

/// Whether a name is an address and not a file's.
pub fn is_remote(name: &str) -> bool {
    let scheme = name.split_once("://").map_or("", |(scheme, _)| scheme);
    !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// An address without its pattern, and the pattern, where it has one: names on the Hugging Face Hub as `https`. None
/// for what is no address that is read.
pub fn address_and_pattern(name: &str) -> Option<(String, Option<String>)> {
    #[cfg(feature = "cloud")]
    return super::object::address_and_pattern(name);
    #[cfg(not(feature = "cloud"))]
    return name.is_empty().then(Default::default);
}

/// What a build without object stores says to an address.
#[cfg(not(feature = "cloud"))]
pub(super) fn without_cloud(name: &str) -> crate::error::Error {
    let message = format!("{name}: this build reads and writes files only; build it with the feature `cloud`");
    crate::error::Error::Config(message)
}
