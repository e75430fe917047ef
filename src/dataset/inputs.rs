//! What a user named, as an ordered list of inputs.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Format;
#[cfg(feature = "delta")]
use super::delta::live_files;
use super::images::{ImageFolder, is_image};
use super::partitions::Partitions;
use crate::cancel::Cancel;
#[cfg(feature = "cloud")]
use crate::location::ObjectFolder;
use crate::location::{Entry, Folder, Found, Location, WalkedFile, find, read_once};
use crate::{Error, Result};

/// One input of a dataset.
#[derive(Debug)]
pub struct Input {
    /// What it is.
    pub kind: InputKind,
    /// Columns that the names of its folders hold.
    pub partitions: Partitions,
    /// Whether a table's log named it: files beside it may hold rows that were removed.
    pub from_log: bool,
}

/// Where the rows of an input lie.
#[derive(Debug)]
pub enum InputKind {
    /// In a file, an object or a stream.
    One(Location),
    /// In the image files of a folder.
    Images(Box<ImageFolder>),
}

/// Resolves files, folders, addresses, patterns and `-` (standard input).
///
/// The order of the arguments is kept. A folder stands for its files `*.parquet`, `*.pq`, `*.arrow`, `*.arrows`,
/// `*.feather` and `*.ipc`, else for its `*.tar`, `*.tar.gz` and `*.tgz`, sorted by name, also in folders `name=value`;
/// else for the images anywhere below it. Hidden files and names that begin with `_` are left out, and so are other
/// subfolders, because they often hold other splits of the data (`**` in a pattern reaches them). A Delta table stands
/// for the files of its newest version. A file that is named twice is read twice.
///
/// # Errors
/// An argument that matches nothing, a folder without such files, `-` given twice, a folder that cannot be read.
pub fn resolve<S: AsRef<str>>(arguments: &[S], cancel: &Cancel) -> Result<Vec<Input>> {
    let mut inputs: Vec<Input> = Vec::new();
    for argument in arguments {
        let argument = argument.as_ref();
        match find(argument, cancel)? {
            Found::One(Location::Stdin) => {
                if inputs.iter().any(|input| matches!(input.kind, InputKind::One(Location::Stdin))) {
                    return Err(read_once());
                }
                inputs.push(Input::one(Location::Stdin));
            }
            Found::One(location) if is_image(Path::new(&location.file_name())) => {
                inputs.push(Input::of_images(argument, &folder_of(&location), vec![location])?);
            }
            Found::One(location) => inputs.push(Input::one(location)),
            Found::Matches(root, locations) => {
                require_no_part_of_a_table(argument, &root.to_string(), cancel)?;
                of_matches(argument, &root, locations, &mut inputs)?;
            }
            Found::Folder(folder) => inputs.extend(of_folder(&folder, cancel)?),
        }
    }
    if inputs.is_empty() {
        return Err(Error::Config(
            "no input given: name Parquet or Arrow files, folders, tar files, addresses, patterns or `-`".into(),
        ));
    }
    Ok(inputs)
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            InputKind::One(location) => location.fmt(f),
            InputKind::Images(folder) => folder.fmt(f),
        }
    }
}

impl Input {
    /// Where it lies, where that is one place.
    pub fn location(&self) -> Option<&Location> {
        match &self.kind {
            InputKind::One(location) => Some(location),
            InputKind::Images(_) => None,
        }
    }

    /// Whether more than its name is needed to read it as a table: images, tar files, files of a table with a log.
    pub fn needs_dataset_reader(&self) -> bool {
        match &self.kind {
            InputKind::Images(_) => true,
            InputKind::One(location) => self.from_log || is_tar(location),
        }
    }

    fn one(location: Location) -> Self {
        let partitions = Partitions::of_path(&location.to_string());
        to_input((location, partitions))
    }

    /// Image files that lie below one folder.
    fn of_images(argument: &str, folder: &Folder, locations: Vec<Location>) -> Result<Self> {
        let mut files = Vec::with_capacity(locations.len());
        for location in locations {
            let path = below(folder, &location)
                .ok_or_else(|| Error::Internal(format!("{location} does not lie in {folder}")))?;
            let version = location.version()?.ok_or_else(|| Error::data(&location, "is no file"))?;
            files.push(WalkedFile { path, version });
        }
        let images = ImageFolder::of_files(argument, folder, files)?;
        Ok(Self { kind: InputKind::Images(Box::new(images)), partitions: Partitions::default(), from_log: false })
    }
}

/// The folder in which a file or an object lies.
fn folder_of(location: &Location) -> Folder {
    match location {
        Location::File(path) => Folder::Local(path.parent().map(Path::to_path_buf).unwrap_or_default()),
        #[cfg(feature = "cloud")]
        Location::Object(object) => Folder::Object(ObjectFolder::around(object)),
        Location::Stdin => Folder::Local(PathBuf::new()),
    }
}

fn below(folder: &Folder, location: &Location) -> Option<PathBuf> {
    match (folder, location) {
        (Folder::Local(folder), Location::File(path)) => path.strip_prefix(folder).ok().map(Path::to_path_buf),
        #[cfg(feature = "cloud")]
        (Folder::Object(folder), Location::Object(object)) => folder.path_of(object),
        _ => None,
    }
}

/// Images that a pattern matches are one input, where they follow each other.
fn of_matches(argument: &str, root: &Folder, locations: Vec<Location>, inputs: &mut Vec<Input>) -> Result<()> {
    let mut images = Vec::new();
    for location in locations {
        if is_image(Path::new(&location.file_name())) {
            images.push(location);
            continue;
        }
        if !images.is_empty() {
            inputs.push(Input::of_images(argument, root, std::mem::take(&mut images))?);
        }
        inputs.push(Input::one(location));
    }
    if !images.is_empty() {
        inputs.push(Input::of_images(argument, root, images)?);
    }
    Ok(())
}

fn of_folder(folder: &Folder, cancel: &Cancel) -> Result<Vec<Input>> {
    let name = folder.to_string();
    if folder.has_folder("_delta_log", cancel)? {
        return of_delta_table(folder, cancel);
    }
    let partitions = Partitions::of_path(&format!("{}/x", name.trim_end_matches('/')));
    if Partitions::is_partition(name.trim_end_matches('/').rsplit('/').next().unwrap_or_default()) {
        require_no_part_of_a_table(&name, &name, cancel)?;
    }
    let (mut listed, mut subfolders) = (Vec::new(), 0);
    list(folder, &partitions, &mut listed, &mut subfolders, cancel)?;
    for of_kind in [is_table, is_tar] {
        let chosen: Vec<Input> = listed.extract_if(.., |(file, _)| of_kind(file)).map(to_input).collect();
        // A table of that name says something about images.
        let is_about_images =
            |input: &Input| matches!(&input.kind, InputKind::One(l) if l.file_name() == "metadata.parquet");
        if chosen.is_empty() || chosen.len() == 1 && is_about_images(&chosen[0]) {
            continue;
        }
        if subfolders > 0 {
            log::warn!(
                "{name}: {subfolders} subfolders are not searched; a pattern such as '{name}/**/*.parquet' does that"
            );
        }
        return Ok(chosen);
    }
    if folder.has_file("config.json", cancel)? && folder.has_file("model.safetensors", cancel)? {
        return Err(Error::ModelAsDataset { path: name.into() });
    }
    match ImageFolder::open(folder, cancel)? {
        Some(images) => Ok(vec![Input { kind: InputKind::Images(Box::new(images)), partitions, from_log: false }]),
        None => Err(Error::data(
            &name,
            format!(
                "holds no .parquet, .pq, .arrow, .arrows, .feather, .ipc or .tar file and no images; of subfolders only those \
                 of partitions are searched for tables, a pattern such as '{name}/**/*.parquet' finds others"
            ),
        )),
    }
}

/// Files of a Delta table may be removed ones: only its log says so, which lies in the table's own folder.
fn require_no_part_of_a_table(argument: &str, folder: &str, cancel: &Cancel) -> Result<()> {
    let mut table = folder.trim_end_matches('/');
    while Partitions::is_partition(table.rsplit('/').next().unwrap_or_default()) {
        table = table.rfind('/').map_or(".", |slash| &table[..slash]);
    }
    let table = Folder::named(table)?;
    if !table.has_folder("_delta_log", cancel)? {
        return Ok(());
    }
    let message = format!("{argument} is a part of it, which is not read alone; name the table, with a condition");
    Err(Error::DeltaTable { path: table.to_string().into(), message })
}

#[cfg(feature = "delta")]
fn of_delta_table(folder: &Folder, cancel: &Cancel) -> Result<Vec<Input>> {
    let files = live_files(folder, cancel)?;
    if files.is_empty() {
        return Err(Error::DeltaTable { path: folder.to_string().into(), message: "it has no rows".into() });
    }
    Ok(files.into_iter().map(|file| Input { from_log: true, ..to_input(file) }).collect())
}

#[cfg(not(feature = "delta"))]
fn of_delta_table(folder: &Folder, _: &Cancel) -> Result<Vec<Input>> {
    let message = "this build was made without the feature `delta`, which reads its log".into();
    Err(Error::DeltaTable { path: folder.to_string().into(), message })
}

fn to_input((location, partitions): (Location, Partitions)) -> Input {
    Input { kind: InputKind::One(location), partitions, from_log: false }
}

fn is_table(location: &Location) -> bool {
    Format::of_extension(Path::new(&location.file_name())).is_some()
}

fn is_tar(location: &Location) -> bool {
    let name = location.file_name().to_ascii_lowercase();
    [".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending))
}

/// The files of a folder and of its folders `name=value`, with what their folders say.
fn list(
    folder: &Folder,
    partitions: &Partitions,
    files: &mut Vec<(Location, Partitions)>,
    subfolders: &mut usize,
    cancel: &Cancel,
) -> Result<()> {
    for entry in folder.list(cancel)? {
        match entry {
            Entry::File(location) => files.push((location, partitions.clone())),
            Entry::Folder(name, folder) if Partitions::is_partition(&name) => {
                let mut inner = partitions.clone();
                inner.push(&name);
                list(&folder, &inner, files, subfolders, cancel)?;
            }
            Entry::Folder(..) => *subfolders += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn touch(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("joined to a folder")).expect("temporary folder");
            fs::write(path, b"").expect("temporary file");
        }
    }

    fn names(arguments: &[String]) -> Vec<String> {
        resolve(arguments, &Cancel::default())
            .expect("resolves")
            .into_iter()
            .map(|input| match input.kind {
                InputKind::One(Location::Stdin) => "-".into(),
                InputKind::One(location) => location.file_name(),
                InputKind::Images(folder) => format!("{} images", folder.len()),
            })
            .collect()
    }

    #[test]
    fn folders_patterns_and_order() {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let folder = temporary.path();
        touch(folder, &["b.parquet", "a.arrow", "c.txt", "_meta.parquet", ".x.parquet", "test/d.parquet", "[1].pq"]);
        touch(folder, &["k=2/e.pq", "k=1/l=x/f.pq", "z.tar", "photos/a/1.JPG", "photos/a/2.png", "photos/.a/3.png"]);
        touch(folder, &["shards/1.tar.gz", "shards/0.tar", "shards/0.jpg"]);
        let root = folder.display().to_string();
        assert_eq!(names(std::slice::from_ref(&root)), ["[1].pq", "a.arrow", "b.parquet", "f.pq", "e.pq"]);
        assert_eq!(names(&[format!("{root}/c.txt"), "-".into(), root.clone()])[..3], ["c.txt", "-", "[1].pq"]);
        assert_eq!(names(&[format!("{root}/**/*.parquet")]).len(), 4);
        assert_eq!(names(&[format!("{root}/[1].pq")]), ["[1].pq"], "an existing file is no pattern");
        assert_eq!(names(&[format!("{root}/shards")]), ["0.tar", "1.tar.gz"]);
        assert_eq!(names(&[format!("{root}/photos"), format!("{root}/photos/a/2.png")]), ["2 images", "1 images"]);
        assert_eq!(names(&[format!("{root}/photos/*/*"), format!("{root}/s*/0.*")]), ["3 images", "1 images", "0.tar"]);
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
            let error = resolve(&arguments, &Cancel::default()).expect_err("nothing to read").to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
