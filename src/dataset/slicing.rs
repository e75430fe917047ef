//! Inputs in slices, so that a long run can be done in parts: a slice is an input, or a piece of a large one, that
//! stays the same as long as the input does.

use std::ops::Range;
use std::path::{self, Path};

use sha2::{Digest, Sha256};

use super::Dataset;
use super::images::ImageFolder;
use super::row_slices::row_slices;
use super::source::{Source, SourceKind};
use crate::error::{Error, Result};
use crate::location::{Version, is_remote};

/// A slice of a folder of images ends with a file whose name says so, on average one in so many: a new file then
/// changes its own slice, and not those behind it.
const SLICE_FILES: u64 = 4096;
/// Files from which it ends in any case.
const MAX_SLICE_FILES: usize = 4 * SLICE_FILES as usize;

/// What one part of an output is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The input's one name: a path from the root, or an address.
    pub input: String,
    /// State of the input; none for a stream.
    pub version: Option<Version>,
    /// Number among the slices of the input; none where there is one only.
    pub number: Option<usize>,
    /// Position in the input of its first row.
    pub first_row: u64,
    /// Rows, where they are known beforehand.
    pub rows: Option<u64>,
}

impl Dataset {
    /// The same rows with large inputs cut into slices; each has a number of its own in
    /// [`Chunk::source`](super::Chunk::source).
    pub(crate) fn in_slices(&self) -> Self {
        let sources = self.sources.iter().flat_map(slices_of).collect();
        self.of_sources(sources)
    }

    /// The same rows in the same order as `count` datasets with about as many rows each; some may have none. Cuts go
    /// between row groups of Parquet files and between image files.
    #[doc(hidden)]
    pub fn divided(&self, count: usize) -> Vec<Self> {
        let atoms: Vec<Vec<u64>> = self.sources.iter().map(atoms_of).collect();
        let all: u64 = atoms.iter().flatten().sum();
        let mut parts = vec![Vec::new(); count.max(1)];
        let mut before = 0;
        for (source, atoms) in self.sources.iter().zip(atoms) {
            let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
            for (atom, rows) in atoms.iter().enumerate() {
                let middle = u128::from(before + rows / 2);
                before += rows;
                let part = usize::try_from(middle * parts.len() as u128 / u128::from(all.max(1)));
                let part = part.unwrap_or(usize::MAX).min(parts.len() - 1);
                match runs.last_mut() {
                    Some((last, run)) if *last == part => run.end = atom + 1,
                    _ => runs.push((part, atom..atom + 1)),
                }
            }
            let mut first_row = source.first_row;
            for (part, run) in runs {
                let rows = atoms[run.clone()].iter().sum();
                parts[part].push(run_of(source, run, first_row, rows));
                first_row = first_row.saturating_add(rows);
            }
        }
        parts.into_iter().map(|sources| self.of_sources(sources)).collect()
    }

    /// The slices, in order.
    ///
    /// # Errors
    /// An input whose state cannot be found out.
    pub(crate) fn slices(&self) -> Result<Vec<Slice>> {
        let mut slices: Vec<Slice> = Vec::with_capacity(self.sources.len());
        for (position, source) in self.sources.iter().enumerate() {
            let follows = source.first_row > 0;
            let is_cut = follows || self.sources.get(position + 1).is_some_and(|next| next.first_row > 0);
            let number = match slices.last() {
                Some(Slice { number: Some(number), .. }) if follows => number + 1,
                _ => 0,
            };
            slices.push(Slice {
                input: place_of(&source.name)?,
                version: version_of(source)?,
                number: is_cut.then_some(number),
                first_row: source.first_row,
                rows: source.rows,
            });
        }
        Ok(slices)
    }

    /// The inputs with these numbers only.
    pub(crate) fn only(&self, numbers: &[usize]) -> Self {
        self.of_sources(numbers.iter().map(|number| self.sources[*number].clone()).collect())
    }
}

/// A name that means the same wherever the run is started.
fn place_of(name: &str) -> Result<String> {
    if is_remote(name) {
        return Ok(name.to_owned());
    }
    let absolute = path::absolute(name).map_err(|source| Error::io(name, source))?;
    Ok(absolute.canonicalize().unwrap_or(absolute).display().to_string())
}

fn version_of(source: &Source) -> Result<Option<Version>> {
    if let SourceKind::Images { folder, read } = &source.kind {
        let (mut size, mut digest) = (0, Sha256::new());
        for (path, version) in folder.versions(read.clone()) {
            size += version.size;
            digest.update(format!("{}\0{}\0{}\0", path.display(), version.size, version.tag));
        }
        digest.update(folder.metadata_digest());
        let tag = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        return Ok(Some(Version { size, tag }));
    }
    source.location().map_or(Ok(None), |location| location.version())
}

fn slices_of(source: &Source) -> Vec<Source> {
    let slice = |kind, first_row, rows| source.slice(kind, first_row, rows);
    match &source.kind {
        SourceKind::Parquet { .. } => row_slices(source),
        SourceKind::Images { folder, .. } => {
            let ranges = file_ranges(folder).into_iter();
            let slices = ranges.map(|read| {
                let (first_row, rows) = (read.start as u64, read.len() as u64);
                slice(SourceKind::Images { folder: folder.clone(), read }, first_row, rows)
            });
            slices.collect()
        }
        _ => vec![source.clone()],
    }
}

/// Rows of the smallest pieces of an input that can be read on their own: row groups, image files. Where rows are
/// unknown, an input counts as one.
fn atoms_of(source: &Source) -> Vec<u64> {
    match &source.kind {
        SourceKind::Parquet { row_groups, read, .. } => {
            row_groups[read.clone()].iter().map(|(rows, _)| *rows).collect()
        }
        SourceKind::Images { read, .. } => vec![1; read.len()],
        _ => vec![source.rows.unwrap_or(1)],
    }
}

/// A run of these pieces.
fn run_of(source: &Source, run: Range<usize>, first_row: u64, rows: u64) -> Source {
    let within = |read: &Range<usize>| read.start + run.start..read.start + run.end;
    let kind = match &source.kind {
        SourceKind::Parquet { location, row_groups, read } => {
            SourceKind::Parquet { location: location.clone(), row_groups: row_groups.clone(), read: within(read) }
        }
        SourceKind::Images { folder, read } => SourceKind::Images { folder: folder.clone(), read: within(read) },
        _ => return source.clone(),
    };
    source.slice(kind, first_row, rows)
}

fn file_ranges(folder: &ImageFolder) -> Vec<Range<usize>> {
    let (mut ranges, mut start) = (Vec::new(), 0);
    for (file, (path, _)) in folder.versions(0..folder.len()).enumerate() {
        if ends_slice(path) || file + 1 - start >= MAX_SLICE_FILES {
            ranges.push(start..file + 1);
            start = file + 1;
        }
    }
    if start < folder.len() {
        ranges.push(start..folder.len());
    }
    ranges
}

fn ends_slice(path: &Path) -> bool {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let start = digest.first_chunk::<8>().expect("a digest has 32 bytes");
    u64::from_le_bytes(*start).is_multiple_of(SLICE_FILES)
}
