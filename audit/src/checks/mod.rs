//! What an audit looks at: a file for each check.

pub(super) mod unknown;
