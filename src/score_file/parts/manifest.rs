//! What a folder of parts says about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dataset::Slice;
use crate::error::{Error, Result};
use crate::location::Version;

/// Name of the file in the folder. Readers of datasets leave names with `_` out.
pub(in crate::score_file) const MANIFEST: &str = "_dismax.json";
/// Ending of the parts' names.
pub(super) const PART_EXTENSION: &str = ".parquet";
const FORMAT: &str = "dismax parts";
const FORMAT_VERSION: u32 = 1;

/// The contents of [`MANIFEST`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::score_file) struct Manifest {
    format: String,
    format_version: u32,
    /// Digest of the model that all parts come from.
    pub model_digest: String,
    /// What changes the rows of a part besides its input and the model, by name.
    pub settings: BTreeMap<String, String>,
    /// The parts, in the order of their inputs.
    pub parts: Vec<PartEntry>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::score_file) struct PartEntry {
    /// Name of the file in the folder.
    pub part: String,
    /// The one name of its input.
    pub input: String,
    /// Which slice of the input it is, where that is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<usize>,
    /// Position in the input of its first row.
    #[serde(default)]
    pub first_row: u64,
    /// Bytes of the input.
    pub size: u64,
    /// ETag of the input, or the time of its last change.
    pub tag: String,
    /// Its rows; none while it is not written.
    pub rows: Option<u64>,
    /// How many of them have an `error`.
    #[serde(default)]
    pub failed: u64,
}

impl Manifest {
    /// Of a new folder.
    pub fn new(model_digest: &str, settings: BTreeMap<String, String>) -> Self {
        Self {
            format: FORMAT.into(),
            format_version: FORMAT_VERSION,
            model_digest: model_digest.into(),
            settings,
            parts: Vec::new(),
        }
    }

    /// The same folder with these parts.
    pub fn with_parts(self, parts: Vec<PartEntry>) -> Self {
        Self { parts, ..self }
    }

    /// Reads the bytes of the file `origin`.
    ///
    /// # Errors
    /// [`Error::Data`] for what is no manifest, or one of a later release.
    pub fn parse(origin: &str, bytes: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::data(origin, format!("is not the manifest of a folder of parts ({error})")))?;
        match (manifest.format.as_str(), manifest.format_version) {
            (FORMAT, FORMAT_VERSION) => match manifest.parts.iter().find(|entry| !is_part_name(&entry.part)) {
                None => Ok(manifest),
                // Parts are replaced and removed by these names.
                Some(entry) => {
                    Err(Error::data(origin, format!("{:?} is no name of a part; it was altered", entry.part)))
                }
            },
            (FORMAT, version) => Err(Error::data(
                origin,
                format!(
                    "has format version {version}, this release reads {FORMAT_VERSION}; use the release that wrote it"
                ),
            )),
            _ => Err(Error::data(origin, "is not the manifest of a folder of parts")),
        }
    }

    /// As a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("names and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// What differs from a run with this model and these settings, in words.
    pub fn differences(&self, model_digest: &str, settings: &BTreeMap<String, String>) -> Vec<String> {
        let mut found = Vec::new();
        if self.model_digest != model_digest {
            found.push(format!("its model is {}, not {model_digest}", self.model_digest));
        }
        for name in self.settings.keys().chain(settings.keys().filter(|name| !self.settings.contains_key(*name))) {
            let text =
                |settings: &BTreeMap<String, String>| settings.get(name).map_or("unset".into(), |v| format!("{v:?}"));
            let (theirs, ours) = (text(&self.settings), text(settings));
            if theirs != ours {
                found.push(format!("its {name} is {theirs}, not {ours}"));
            }
        }
        found
    }
}

/// Whether a name is that of a file in the folder itself, as parts are called.
fn is_part_name(name: &str) -> bool {
    name.ends_with(PART_EXTENSION) && !name.starts_with(['.', '_']) && !name.contains(['/', '\\', '\0'])
}

impl PartEntry {
    /// A part that is not written yet.
    pub fn planned(part: String, slice: &Slice, version: &Version) -> Self {
        Self {
            part,
            input: slice.input.clone(),
            slice: slice.number,
            first_row: slice.first_row,
            size: version.size,
            tag: version.tag.clone(),
            rows: None,
            failed: 0,
        }
    }

    /// Whether it is written and its input is what it was.
    pub fn is_done_for(&self, slice: &Slice, version: &Version) -> bool {
        let same = self.first_row == slice.first_row && self.size == version.size && self.tag == version.tag;
        same && self.rows.is_some_and(|rows| slice.rows.is_none_or(|known| known == rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        let manifest = |part: &str| {
            let mut manifest = Manifest::new("m", BTreeMap::new());
            let slice = Slice { input: "/x".into(), version: None, number: None, first_row: 0, rows: None };
            manifest.parts.push(PartEntry::planned(part.into(), &slice, &Version { size: 1, tag: "1".into() }));
            Manifest::parse("_dismax.json", &manifest.to_bytes())
        };
        assert!(manifest("a.parquet").is_ok());
        for name in ["../a.parquet", "/etc/a.parquet", "a/b.parquet", ".a.parquet", "_a.parquet", "notes.txt", ""] {
            let error = manifest(name).expect_err("no part").to_string();
            assert!(error.contains("no name of a part"), "{error}");
        }
    }
}
