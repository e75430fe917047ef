//! The folder of an audit.

use std::path::Path;

use super::format;
use dismax::disk::{FolderKind, WholeFolder};
use dismax::error::Result;

/// Finds out whether `target` can be written, and begins. Only an audit or an empty folder is replaced.
pub(super) fn create(target: &Path, force: bool) -> Result<WholeFolder> {
    WholeFolder::create(target, force, FolderKind { name: "an audit", is_ours: format::is_audit, is_kept: |_| false })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use dismax::error::Error;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("a/audit");
        let staging = create(&target, false).expect("room");
        staging.write("summary.json", br#"{"format": "dismax audit", "format_version": 1}"#).expect("written");
        assert!(!target.exists());
        staging.publish().expect("published");
        assert!(target.join("summary.json").is_file());

        let error = create(&target, false).expect_err("it exists");
        assert!(matches!(error, Error::OutputExists { .. }), "{error}");
        let staging = create(&target, true).expect("an audit is replaced");
        staging.write("other", b"new").expect("written");
        staging.publish().expect("published");
        assert!(target.join("other").is_file() && !target.join("summary.json").exists());

        let message = create(&target, true).expect_err("no audit any more").to_string();
        assert!(message.contains("not an audit"), "{message}");
        assert!(create(&target.join("other"), true).is_err(), "a file");
        drop(create(&folder.path().join("b"), false).expect("room"));
        let names: Vec<_> =
            fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
        assert_eq!(names, ["a"], "what was dropped leaves nothing");
        assert_eq!(fs::read_dir(folder.path().join("a")).expect("a folder").count(), 1);
    }
}
