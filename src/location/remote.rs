//! Names that are addresses.

/// Whether a name is an address and not a file's.
pub fn is_remote(name: &str) -> bool {
    let scheme = name.split_once("://").map_or("", |(scheme, _)| scheme);
    !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// The `https` address of a name on the Hugging Face Hub; none for other names.
pub fn web_address(name: &str) -> Option<String> {
    #[cfg(feature = "cloud")]
    return super::object::on_the_hub(name.strip_prefix("hf://")?);
    #[cfg(not(feature = "cloud"))]
    return name.strip_prefix("hf://").map(str::to_owned).and(None);
}

/// What a build without object stores says to an address.
#[cfg(not(feature = "cloud"))]
pub(super) fn without_cloud(name: &str) -> crate::error::Error {
    let message = format!("{name}: this build reads and writes files only; build it with the feature `cloud`");
    crate::error::Error::Config(message)
}
