//! What a user named, as an ordered list of files and streams.

use std::fs;
use std::path::{Path, PathBuf};

use super::pipe::read_once;
use super::{Format, pattern};
use crate::{Error, Result};

/// One file or stream of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file; its format is found out from its content.
    File(PathBuf),
    /// An Arrow IPC stream on standard input.
    Stdin,
}

/// Resolves files, folders, glob patterns and `-` (standard input).
///
/// The order of the arguments is kept. A folder stands for its files `*.parquet`, `*.pq`, `*.arrow`, `*.arrows`,
/// `*.feather` and `*.ipc`, sorted by name; hidden files and names that begin with `_` are left out, and so are
/// subfolders, because they often hold other splits of the data (`**` in a pattern reaches them). A file that is named
/// twice is read twice.
///
/// # Errors
/// An argument that matches nothing, a folder without such files, `-` given twice, or a folder that cannot be read.
pub fn resolve<S: AsRef<str>>(arguments: &[S]) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for argument in arguments {
        let argument = argument.as_ref();
        let path = Path::new(argument);
        if argument == "-" {
            if inputs.contains(&Input::Stdin) {
                return Err(read_once());
            }
            inputs.push(Input::Stdin);
        } else if path.is_dir() {
            inputs.extend(folder(path)?.into_iter().map(Input::File));
        } else if path.exists() {
            inputs.push(Input::File(path.to_path_buf()));
        } else if pattern::is_pattern(argument) {
            inputs.extend(pattern::files(argument)?.into_iter().map(Input::File));
        } else {
            return Err(Error::data(argument, "no such file or folder"));
        }
    }
    if inputs.is_empty() {
        return Err(Error::Config("no input given: name Parquet or Arrow files, folders, patterns or `-`".into()));
    }
    warn_of_partitions(&inputs);
    Ok(inputs)
}

/// Says which columns lie in the names of folders, as Spark, DuckDB and Polars write them: they are not read.
fn warn_of_partitions(inputs: &[Input]) {
    let mut names: Vec<String> = inputs.iter().flat_map(partition_columns).collect();
    names.sort();
    names.dedup();
    if !names.is_empty() {
        log::warn!(
            "the columns {} of folders such as {}=VALUE are left out: only the files are read",
            names.join(", "),
            names[0]
        );
    }
}

/// The columns that the names of a file's folders hold.
fn partition_columns(input: &Input) -> Vec<String> {
    let Input::File(path) = input else { return Vec::new() };
    let folders = path.parent().into_iter().flat_map(Path::components);
    let names = folders.filter_map(|folder| folder.as_os_str().to_str()?.split_once('='));
    names.filter(|(name, _)| !name.is_empty()).map(|(name, _)| name.to_owned()).collect()
}

fn folder(path: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut subfolders) = (Vec::new(), 0);
    for entry in fs::read_dir(path).map_err(|source| Error::io(path, source))? {
        let file = entry.map_err(|source| Error::io(path, source))?.path();
        let hidden = file.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['.', '_']));
        if !hidden && file.is_dir() {
            subfolders += 1;
        } else if !hidden && Format::of_extension(&file).is_some() && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() && path.join("config.json").is_file() && path.join("model.safetensors").is_file() {
        return Err(Error::ModelAsDataset { path: path.to_path_buf() });
    }
    if subfolders > 0 && !files.is_empty() {
        log::warn!(
            "{}: {subfolders} subfolders are not searched; a pattern such as '{}/**/*.parquet' does that",
            path.display(),
            path.display()
        );
    }
    if files.is_empty() {
        return Err(Error::data(
            path.display(),
            format!(
                "holds no .parquet, .pq, .arrow, .arrows, .feather or .ipc file; subfolders are not searched, a pattern \
                 such as '{}/**/*.parquet' does that",
                path.display()
            ),
        ));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_partitions_are_told_from_others() {
        let columns = |path: &str| partition_columns(&Input::File(path.into()));
        assert_eq!(columns("data/label=cat/day=1/part-0.parquet"), ["label", "day"]);
        assert!(columns("data/photos/a=b.parquet").is_empty() && columns("=x/a.parquet").is_empty());
    }

    fn touch(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("joined to a folder")).expect("temporary folder");
            fs::write(path, b"").expect("temporary file");
        }
    }

    fn names(arguments: &[String]) -> Vec<String> {
        resolve(arguments)
            .expect("resolves")
            .into_iter()
            .map(|input| match input {
                Input::File(path) => path.file_name().expect("a file").to_string_lossy().into_owned(),
                Input::Stdin => "-".into(),
            })
            .collect()
    }

    #[test]
    fn folders_patterns_and_order() {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let folder = temporary.path();
        touch(folder, &["b.parquet", "a.arrow", "c.txt", "_meta.parquet", ".x.parquet", "test/d.parquet", "[1].pq"]);
        let root = folder.display().to_string();
        assert_eq!(names(std::slice::from_ref(&root)), ["[1].pq", "a.arrow", "b.parquet"]);
        assert_eq!(names(&[format!("{root}/c.txt"), "-".into(), root.clone()])[..3], ["c.txt", "-", "[1].pq"]);
        assert_eq!(names(&[format!("{root}/**/*.parquet")]).len(), 4);
        assert_eq!(names(&[format!("{root}/[1].pq")]), ["[1].pq"], "an existing file is no pattern");
    }

    #[test]
    fn nothing_found_says_so() {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let root = temporary.path().display().to_string();
        touch(temporary.path(), &["sub/a.parquet"]);
        for (arguments, text) in [
            (vec![root.clone()], "**/*.parquet"),
            (vec![format!("{root}/*.parquet")], "the pattern matches no file"),
            (vec![format!("{root}/a.parquet")], "no such file or folder"),
            (vec!["-".to_string(), "-".to_string()], "only once"),
            (vec![], "no input given"),
        ] {
            let error = resolve(&arguments).expect_err("nothing to read").to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
