//! Files by a pattern, whatever bytes their names consist of.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use walkdir::{DirEntry, WalkDir};

use crate::{Error, Result};

/// Characters that make a name a pattern.
const SPECIAL: [char; 3] = ['*', '?', '['];
/// `*` and `?` stay within a name; hidden files are files.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// Whether a name has characters of a pattern.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(SPECIAL)
}

/// The folder that a pattern begins with, and the rest.
pub(super) fn split(pattern: &str) -> (&str, &str) {
    pattern.split_at(pattern.split_inclusive('/').take_while(|part| !is_pattern(part)).map(str::len).sum())
}

/// Whether a name below the folder that a pattern begins with matches its rest.
///
/// # Errors
/// Text that is no pattern.
#[cfg(feature = "cloud")]
pub(super) fn matcher(rest: &str) -> Result<impl Fn(&str) -> bool> {
    let glob = Pattern::new(rest).map_err(|error| Error::data(rest, format!("not a valid pattern: {error}")))?;
    Ok(move |name: &str| glob.matches_with(name, OPTIONS))
}

/// The folder that `pattern` begins with and the files that it matches, sorted. `*` and `?` stay within a name, `**` is
/// any number of folders, `[a-c]` one character. Links are followed.
///
/// # Errors
/// Text that is no pattern, no file that matches, a folder that cannot be read.
pub(super) fn files(pattern: &str) -> Result<(PathBuf, Vec<PathBuf>)> {
    let (root, rest) = split(pattern);
    let rest = rest.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let parse =
        |text: &str| Pattern::new(text).map_err(|error| Error::data(pattern, format!("not a valid pattern: {error}")));
    let glob = parse(&rest.join("/"))?;
    let depth = if rest.contains(&"**") { usize::MAX } else { rest.len() };
    // Folders that cannot lead to a match are not read: they may be large, or closed to this user.
    let levels = rest.iter().take_while(|part| **part != "**").map(|part| parse(part)).collect::<Result<Vec<_>>>()?;
    let may_lead = |folder: &DirEntry| match folder.depth().checked_sub(1).and_then(|level| levels.get(level)) {
        Some(level) => level.matches_with(&folder.file_name().to_string_lossy(), OPTIONS),
        None => true,
    };

    let start = if root.is_empty() { Path::new(".") } else { Path::new(root) };
    let mut files = Vec::new();
    let walk = WalkDir::new(start).follow_links(true).min_depth(1).max_depth(depth).into_iter();
    for entry in walk.filter_entry(|entry| !entry.file_type().is_dir() || may_lead(entry)) {
        let entry = match entry {
            Ok(entry) => entry,
            // A link to a folder around it, and one to nothing.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) if error.path().is_some_and(Path::is_symlink) => continue,
            // The folder that the pattern begins with.
            Err(error) if error.depth() == 0 && !start.exists() => break,
            Err(error) => {
                let path = error.path().unwrap_or(start).to_path_buf();
                return Err(Error::io(path, error.into()));
            }
        };
        let below = entry.path().strip_prefix(start).expect("a walk stays below its start");
        // Bytes that are no text are matched as the character that stands for them.
        if entry.file_type().is_file() && glob.matches_with(&below.to_string_lossy(), OPTIONS) {
            files.push(Path::new(root).join(below));
        }
    }
    if files.is_empty() {
        return Err(Error::data(pattern, "the pattern matches no file"));
    }
    files.sort();
    Ok((PathBuf::from(root), files))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    /// What a pattern finds below a folder with these files, relative to it.
    fn found(pattern: &str) -> Vec<String> {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let folder = temporary.path().join("x [alt]");
        for name in ["a.pq", "b.pq", ".c.pq", "one/a.pq", "one/two/a.pq", "one/two/b.arrow"] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("joined")).expect("a folder");
            fs::write(path, b"").expect("a file");
        }
        fs::write(folder.join(OsStr::from_bytes(b"z\xff.pq")), b"").expect("a file");
        symlink(&folder, folder.join("one/loop")).expect("a link");
        symlink("nowhere", folder.join("dead.pq")).expect("a link");
        symlink("a.pq", folder.join("link.pq")).expect("a link");
        // The folder's own name is no pattern.
        let name = folder.display().to_string().replace('[', "[[]");
        let (_, files) = files(&format!("{name}/{pattern}")).unwrap_or_default();
        files.iter().map(|file| file.strip_prefix(&folder).expect("below").display().to_string()).collect()
    }

    #[test]
    fn patterns_find_what_a_shell_would() {
        assert_eq!(found("*.pq"), [".c.pq", "a.pq", "b.pq", "link.pq", "z\u{fffd}.pq"], "also names that are no text");
        assert_eq!(found("[ab].pq"), ["a.pq", "b.pq"]);
        assert_eq!(found("[!b].pq"), ["a.pq"]);
        assert_eq!(found("?.pq"), ["a.pq", "b.pq"]);
        assert_eq!(found("z?.pq"), ["z\u{fffd}.pq"]);
        assert_eq!(found("*/*.pq"), ["one/a.pq"]);
        assert_eq!(found("**/a.pq"), ["a.pq", "one/a.pq", "one/two/a.pq"]);
        assert_eq!(found("o*/t*/*.pq"), ["one/two/a.pq"]);
        assert_eq!(found("o*/**/*.pq"), ["one/a.pq", "one/two/a.pq"]);
        assert_eq!(found("x*/*.pq"), [""; 0]);
        assert_eq!(found("*.csv"), [""; 0]);
    }

    #[test]
    fn what_is_no_pattern_or_finds_nothing_says_so() {
        for (pattern, text) in [("nowhere/at/all/*.pq", "matches no file"), ("x/[a", "not a valid pattern")] {
            let error = files(pattern).expect_err("nothing").to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
