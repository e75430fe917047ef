//! Which parts there will be, what they are called, and which of them are to be written.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::manifest::{Manifest, PART_EXTENSION, PartEntry};
use crate::dataset::Slice;
use crate::error::{Error, Result};

/// Endings that a part's name does not take over from its input.
const ENDINGS: [&str; 10] =
    [".tar.gz", ".parquet", ".pq", ".arrow", ".arrows", ".feather", ".ipc", ".tar", ".tgz", ".gz"];

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// The parts as they will be, those of inputs that were not named included.
    pub parts: Vec<PartEntry>,
    /// For each slice that is to be scored its number, and that of its part.
    pub todo: Vec<(usize, usize)>,
    /// Parts that are whole.
    pub kept: usize,
    /// Files of parts that no slice has any more.
    pub removed: Vec<String>,
    /// Parts of inputs that were not named.
    pub others: usize,
}

impl Plan {
    /// For these slices, after what `before` says and of which `files` are there.
    ///
    /// # Errors
    /// A stream: nobody could tell later whether it was scored. An input that is named twice.
    pub fn new(slices: &[Slice], before: &Manifest, files: &HashSet<String>) -> Result<Self> {
        let key = |entry: &PartEntry| (entry.input.clone(), entry.slice);
        let old: HashMap<(String, Option<usize>), &PartEntry> =
            before.parts.iter().map(|entry| (key(entry), entry)).collect();
        let named: HashSet<&str> = slices.iter().map(|slice| &*slice.input).collect();
        let mut names: HashSet<String> = before.parts.iter().map(|entry| entry.part.clone()).collect();
        let (mut parts, mut todo, mut kept, mut taken) =
            (Vec::with_capacity(slices.len()), Vec::new(), 0, HashSet::new());
        for (number, slice) in slices.iter().enumerate() {
            let version = slice.version.as_ref().ok_or_else(|| {
                Error::Config(format!("{}: a stream cannot be scored in parts; name an output file", slice.input))
            })?;
            if !taken.insert((slice.input.clone(), slice.number)) {
                return Err(Error::Config(format!("{} is named twice; name each input once", slice.input)));
            }
            let entry = match old.get(&(slice.input.clone(), slice.number)) {
                Some(entry) if files.contains(&entry.part) && entry.is_done_for(slice, version) => {
                    kept += 1;
                    parts.push((*entry).clone());
                    continue;
                }
                Some(entry) => PartEntry::planned(entry.part.clone(), slice, version),
                None => PartEntry::planned(new_name(slice, &mut names), slice, version),
            };
            todo.push((number, parts.len()));
            parts.push(entry);
        }
        let gone = |entry: &&PartEntry| named.contains(&*entry.input) && !taken.contains(&key(entry));
        let removed = before.parts.iter().filter(gone).map(|entry| entry.part.clone()).collect();
        let others: Vec<PartEntry> =
            before.parts.iter().filter(|entry| !named.contains(&*entry.input)).cloned().collect();
        let (others, parts) = (others.len(), merged(others, parts, before, &mut todo));
        Ok(Self { parts, todo, kept, removed, others })
    }
}

/// Parts of inputs that were not named keep their place before the parts that followed them.
fn merged(
    others: Vec<PartEntry>,
    parts: Vec<PartEntry>,
    before: &Manifest,
    todo: &mut [(usize, usize)],
) -> Vec<PartEntry> {
    if others.is_empty() {
        return parts;
    }
    let place: BTreeMap<&str, usize> =
        before.parts.iter().enumerate().map(|(place, entry)| (entry.part.as_str(), place)).collect();
    let mut waiting = others.into_iter().peekable();
    let (mut all, mut moved) = (Vec::new(), Vec::with_capacity(parts.len()));
    for part in parts {
        if let Some(own) = place.get(part.part.as_str()) {
            while let Some(other) = waiting.next_if(|other| place[other.part.as_str()] < *own) {
                all.push(other);
            }
        }
        moved.push(all.len());
        all.push(part);
    }
    all.extend(waiting);
    todo.iter_mut().for_each(|(_, part)| *part = moved[*part]);
    all
}

/// A name after the input's that no other part has.
fn new_name(slice: &Slice, names: &mut HashSet<String>) -> String {
    let number = slice.number.map_or(String::new(), |number| format!(".{number:05}"));
    let folders: Vec<&str> =
        slice.input.trim_end_matches('/').split(['/', '\\']).filter(|part| !part.is_empty()).collect();
    // `day=1/part-0.parquet` and `day=2/part-0.parquet` get names of their own from their folders.
    let with_folders = (1..=folders.len()).map(|count| stem(&folders[folders.len() - count..].join("-")));
    let numbered = (2..).map(|copy| format!("{}-{copy}", stem(folders.last().unwrap_or(&"part"))));
    let mut candidates = with_folders.chain(numbered).map(|stem| format!("{stem}{number}{PART_EXTENSION}"));
    let name = candidates.find(|name| !names.contains(name)).expect("numbers do not end");
    names.insert(name.clone());
    name
}

/// A name without what says how its file is packed, that no listing hides and every file system takes.
fn stem(name: &str) -> String {
    const MAX_BYTES: usize = 180;
    let lower = name.to_ascii_lowercase();
    let ending = ENDINGS.iter().find(|ending| lower.ends_with(*ending) && lower.len() > ending.len());
    let stem = &name[..name.len() - ending.map_or(0, |ending| ending.len())];
    let safe: String = stem.chars().map(|c| if c.is_alphanumeric() || "-_.=+".contains(c) { c } else { '-' }).collect();
    let safe = safe.trim_start_matches(['.', '_']);
    let start = safe.len().saturating_sub(MAX_BYTES);
    let start = (start..=safe.len()).find(|at| safe.is_char_boundary(*at)).unwrap_or(safe.len());
    if safe.is_empty() { "part".into() } else { safe[start..].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Version;

    fn slice(input: &str, number: Option<usize>, tag: &str) -> Slice {
        let version = Some(Version { size: 1, tag: tag.into() });
        Slice { input: input.into(), version, number, first_row: number.unwrap_or(0) as u64 * 10, rows: Some(10) }
    }

    fn done(plan: Plan) -> Manifest {
        let mut manifest = Manifest::new("m", BTreeMap::new());
        manifest.parts = plan.parts;
        manifest.parts.iter_mut().for_each(|part| part.rows = Some(10));
        manifest
    }

    /// All parts are there, but for those called `gone`.
    fn plan(slices: &[Slice], before: &Manifest) -> Result<Plan> {
        let files = before.parts.iter().map(|part| part.part.clone()).filter(|name| !name.starts_with("gone"));
        Plan::new(slices, before, &files.collect())
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.parts.iter().map(|part| part.part.as_str()).collect()
    }

    #[test]
    fn only_what_is_missing_or_changed_is_done_again() {
        let empty = Manifest::new("m", BTreeMap::new());
        let [a, b, c] = ["/x/a.parquet", "/x/b.tar.gz", "/x/c"].map(|name| slice(name, None, "1"));
        let first = plan(&[a.clone(), c.clone()], &empty).expect("distinct");
        assert_eq!((names(&first), first.todo.as_slice()), (vec!["a.parquet", "c.parquet"], &[(0, 0), (1, 1)][..]));
        let before = done(first);
        let again = plan(&[a.clone(), b.clone(), slice("/x/c", None, "2")], &before).expect("distinct");
        assert_eq!(names(&again), ["a.parquet", "b.parquet", "c.parquet"]);
        assert_eq!((again.kept, again.todo.as_slice()), (1, &[(1, 1), (2, 2)][..]));
        // One that is not named keeps its place, and one that is cut otherwise loses its part.
        let other = plan(&[slice("/x/c", Some(0), "3"), slice("/x/c", Some(1), "3")], &done(again)).expect("distinct");
        assert_eq!(names(&other), ["c.00000.parquet", "c.00001.parquet", "a.parquet", "b.parquet"]);
        assert_eq!((other.removed.as_slice(), other.others), (&["c.parquet".to_owned()][..], 2));
        assert!(plan(&[a.clone(), a], &empty).is_err());
        assert!(plan(&[Slice { version: None, ..b }], &empty).is_err());
    }

    #[test]
    fn names_follow_inputs() {
        let mut taken = HashSet::new();
        let mut name = |input: &str| new_name(&slice(input, None, ""), &mut taken);
        assert_eq!(name("/d/day=1/part-0.parquet"), "part-0.parquet");
        assert_eq!(name("/d/day=2/part-0.parquet"), "day=2-part-0.parquet");
        assert_eq!(name("/day=2/part-0.arrow"), "part-0-2.parquet");
        assert_eq!(name("s3://bucket/photos/"), "photos.parquet");
        assert_eq!(name("/x/_hidden name?.pq"), "hidden-name-.parquet");
        assert_eq!(name("/x/.parquet"), "parquet.parquet");
    }
}
