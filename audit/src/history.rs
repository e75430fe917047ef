//! What audits of a dataset found over time: `history.jsonl`, a line of JSON for each.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::summary::AuditSummary;
use dismax::error::{Error, Result};

/// Name of the file in its folder.
const FILE: &str = "history.jsonl";
/// Most input files that an entry names.
const MAX_INPUTS: usize = 20;

/// An audit in one line. As JSON it has these fields under these names; they stay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When the audit ended, as RFC 3339 in UTC.
    pub time: String,
    /// Version of this crate.
    pub version: String,
    /// The command, or what the caller wrote instead.
    pub command: String,
    /// The first 20 files that were audited.
    pub inputs: Vec<String>,
    /// Number of all of them.
    pub files: u64,
    /// Digest of the model; none without a model.
    pub model: Option<String>,
    /// Rows read.
    pub rows: u64,
    /// Rows with at least one finding.
    pub rows_with_findings: u64,
    /// Findings.
    pub findings: u64,
    /// Findings by the name of their kind; a kind that was not looked for is missing. Another version may have other
    /// kinds.
    pub kinds: BTreeMap<String, u64>,
    /// Findings by the name of their severity.
    pub severities: BTreeMap<String, u64>,
}

impl HistoryEntry {
    pub(super) fn of(summary: &AuditSummary) -> Self {
        let kinds = summary.kinds.iter().map(|(kind, count)| (kind.name().to_owned(), *count));
        let severities = summary.severities.iter().map(|(severity, count)| (severity.name().to_owned(), *count));
        Self {
            time: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            version: summary.version.clone(),
            command: summary.command.clone(),
            inputs: summary.inputs.iter().take(MAX_INPUTS).cloned().collect(),
            files: summary.inputs.len() as u64,
            model: summary.model.as_ref().map(|model| model.digest.clone()),
            rows: summary.rows,
            rows_with_findings: summary.rows_with_findings,
            findings: summary.findings,
            kinds: kinds.collect(),
            severities: severities.collect(),
        }
    }

    /// Findings of a kind; none where it was not looked for.
    pub fn of_kind(&self, kind: Kind) -> Option<u64> {
        self.kinds.get(kind.name()).copied()
    }
}

/// The audits of a folder, the oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    folder: PathBuf,
    /// The audits, the oldest first.
    pub entries: Vec<HistoryEntry>,
}

impl History {
    /// Reads the history in `folder`; there is none yet where there is no file. A last line that a killed run did not
    /// finish does not count.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is no entry.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io(&path, error)),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let entries = whole.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                let origin = format!("{}, line {}", path.display(), number + 1);
                Error::data(origin, format!("is no entry of a history: {error}; remove the line"))
            })
        });
        Ok(Self { folder: folder.to_path_buf(), entries: entries.collect::<Result<_>>()? })
    }

    /// Findings of a kind in each audit, the oldest first; none where it was not looked for.
    pub fn counts(&self, kind: Kind) -> Vec<Option<u64>> {
        self.entries.iter().map(|entry| entry.of_kind(kind)).collect()
    }

    /// Appends an audit to the folder's file, which is created where it is missing. Runs that do so at the same time
    /// wait for each other.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(super) fn append(&self, entry: &HistoryEntry) -> Result<()> {
        let path = self.folder.join(FILE);
        let mut line = serde_json::to_vec(entry).map_err(|error| Error::Internal(format!("{FILE}: {error}")))?;
        line.push(b'\n');
        append(&path, &line).map_err(|error| Error::io(&path, error))
    }

    /// Finds out before the work whether the folder can be written, and creates it where it is missing.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(super) fn require_writable(&self) -> Result<()> {
        let path = self.folder.join(FILE);
        fs::create_dir_all(&self.folder).map_err(|error| Error::io(&self.folder, error))?;
        append(&path, b"").map_err(|error| Error::io(&path, error))
    }
}

/// Appends a line behind the last whole one.
fn append(path: &Path, line: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    // File systems without locks still write.
    let _ = file.lock();
    let end = end_of_lines(&mut file)?;
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    file.write_all(line)?;
    file.sync_all()
}

/// Where the last whole line ends.
fn end_of_lines(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut byte = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut byte)?;
        if byte == [b'\n'] {
            break;
        }
        end -= 1;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(blurred: u64) -> HistoryEntry {
        HistoryEntry {
            time: "2026-11-28T00:00:00Z".into(),
            version: "0.1.0".into(),
            command: "dismax audit".into(),
            inputs: vec!["a.parquet".into()],
            files: 1,
            model: None,
            rows: 10,
            rows_with_findings: blurred,
            findings: blurred,
            kinds: BTreeMap::from([("blurred".to_owned(), blurred), ("of_another_version".to_owned(), 1)]),
            severities: BTreeMap::new(),
        }
    }

    #[test]
    fn lines_are_added_behind_the_last_whole_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("history");
        let history = History::read(&place).expect("none yet");
        history.require_writable().expect("created");
        history.append(&entry(3)).expect("written");
        history.append(&entry(5)).expect("written");
        // A killed run leaves a part of a line.
        let file = place.join(FILE);
        let mut text = fs::read_to_string(&file).expect("a file");
        text.push_str("{\"time\": \"2026");
        fs::write(&file, &text).expect("written");
        let read = History::read(&place).expect("two lines");
        assert_eq!(read.counts(Kind::Blurred), [Some(3), Some(5)]);
        read.append(&entry(0)).expect("written");
        let read = History::read(&place).expect("three lines");
        assert_eq!(read.entries, [entry(3), entry(5), entry(0)]);
        assert_eq!(read.counts(Kind::Leaked), [None; 3]);
        fs::write(&file, "{}\n").expect("written");
        let message = History::read(&place).expect_err("no entry").to_string();
        assert!(message.contains("line 1") && message.contains(FILE), "{message}");
    }
}
