//! The file of accepted findings: CSV, so that people edit it and review its changes line by line.
//!
//! ```text
//! image_digest,kind,who,why,until
//! 6a0f0a5b8b6f1d7c2f1f6f0c8d1a2b3c,blurred,Ann,taken through a window,2027-03-31
//! ```
//!
//! The marks that a report exports are such a file as well: of its lines those count whose `mark` says that the finding
//! is a false alarm.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::kind::Kind;
use crate::observer::ShortDigest;
use crate::text::shown;
use dismax::error::{Error, Result};

/// Columns that a file may have; the first two it must have.
const COLUMNS: [&str; 9] = ["image_digest", "kind", "mark", "file", "row", "who", "why", "until", "evidence"];
/// Marks of false alarms.
const ACCEPTED_MARKS: [&str; 3] = ["accepted", "wrong", "known"];
/// Marks of findings that stay.
const OTHER_MARKS: [&str; 3] = ["", "right", "unknown"];

/// A finding that somebody accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Digest of the image, as in `findings.parquet`.
    pub image_digest: String,
    /// Kind of the finding.
    pub kind: Kind,
    /// Who accepted it.
    pub who: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// The last day on which it is accepted, `YYYY-MM-DD` (UTC); none for good.
    pub until: Option<String>,
}

impl fmt::Display for Acceptance {
    /// `Ann: taken through a window (until 2027-03-31)`, or what of this there is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.who, &self.why) {
            (Some(who), Some(why)) => write!(f, "{}: {}", shown(who), shown(why))?,
            (Some(text), None) | (None, Some(text)) => f.write_str(&shown(text))?,
            (None, None) => f.write_str("accepted")?,
        }
        self.until.as_ref().map_or(Ok(()), |until| write!(f, " (until {until})"))
    }
}

/// Findings that were accepted, by image and kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acceptances {
    in_force: HashMap<(Kind, ShortDigest), Acceptance>,
    expired: Vec<Acceptance>,
}

impl Acceptances {
    /// Reads files, as one; none where none is named. An acceptance whose last day is over today (UTC) is
    /// [expired](Self::expired).
    ///
    /// # Errors
    /// A file that cannot be read, and entries that cannot be used, with file and line: columns that are missing or
    /// unknown, no digest, no kind, no date, a mark that no report makes.
    pub fn read(files: &[impl AsRef<Path>]) -> Result<Option<Self>> {
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let mut accepted = None;
        for file in files {
            let path = file.as_ref();
            let text = fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
            accepted.get_or_insert_with(Self::default).add_file(&text, today, &path.display().to_string())?;
        }
        Ok(accepted)
    }

    fn add_file(&mut self, text: &str, today: Date, name: &str) -> Result<()> {
        // Some editors put a byte order mark in front.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(false).from_reader(text.as_bytes());
        let columns = Columns::of(reader.headers().map_err(|error| csv_error(name, &error))?, name)?;
        for record in reader.records() {
            let record = record.map_err(|error| csv_error(name, &error))?;
            let line = record.position().map_or(0, csv::Position::line);
            let entry = columns.entry(&record).map_err(|why| Error::data(format!("{name}, line {line}"), why))?;
            if let Some((digest, acceptance, until)) = entry {
                self.add(digest, acceptance, until.is_some_and(|until| until < today));
            }
        }
        // A finding that another line accepts for longer is accepted.
        let in_force: HashSet<_> = self.in_force.values().map(|found| (found.kind, &found.image_digest)).collect();
        self.expired.retain(|expired| !in_force.contains(&(expired.kind, &expired.image_digest)));
        Ok(())
    }

    fn add(&mut self, digest: ShortDigest, acceptance: Acceptance, is_over: bool) {
        match is_over {
            true => self.expired.push(acceptance),
            false => {
                self.in_force.insert((acceptance.kind, digest), acceptance);
            }
        }
    }

    /// Entries whose time is over.
    pub fn expired(&self) -> &[Acceptance] {
        &self.expired
    }

    /// The entry about findings of a kind about an image, where one is in force.
    pub(crate) fn find(&self, kind: Kind, digest: &ShortDigest) -> Option<&Acceptance> {
        self.in_force.get(&(kind, *digest))
    }
}

/// Where the columns of a file are.
struct Columns([Option<usize>; COLUMNS.len()]);

impl Columns {
    fn of(headers: &csv::StringRecord, name: &str) -> Result<Self> {
        let refuse = |why: String| {
            let columns = COLUMNS.join(", ");
            Error::data(name, format!("{why}; the columns are {columns}, of which the first two must be there"))
        };
        if let Some(foreign) = headers.iter().find(|header| !COLUMNS.contains(header)) {
            return Err(refuse(format!("unknown column \"{}\"", shown(foreign))));
        }
        let columns = COLUMNS.map(|column| headers.iter().position(|header| header == column));
        match COLUMNS.iter().zip(&columns).take(2).find(|(_, found)| found.is_none()) {
            Some((missing, _)) => Err(refuse(format!("there is no column \"{missing}\""))),
            None => Ok(Self(columns)),
        }
    }

    /// The acceptance on a line, with its digest and last day; none where its mark is another.
    fn entry(&self, record: &csv::StringRecord) -> Result<Option<(ShortDigest, Acceptance, Option<Date>)>, String> {
        let [digest, kind, mark, _, _, who, why, until, _] = self.0.map(|column| column.and_then(|at| record.get(at)));
        let text = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
        let digest = digest.unwrap_or_default();
        let parsed = digest::parse(digest)
            .ok_or_else(|| format!("\"{}\" is no digest of an image (32 hexadecimal digits)", shown(digest)))?;
        let kind = kind.unwrap_or_default();
        let kind = Kind::named(kind).ok_or_else(|| {
            let kinds = Kind::ALL.map(Kind::name).join(", ");
            format!("there is no kind \"{}\"; the kinds are {kinds}", shown(kind))
        })?;
        match mark {
            Some(mark) if OTHER_MARKS.contains(&mark) => return Ok(None),
            Some(mark) if !ACCEPTED_MARKS.contains(&mark) => {
                return Err(format!(
                    "\"{}\" is no mark; \"wrong\" and \"known\" mark false alarms, \"right\" and \"unknown\" do not",
                    shown(mark)
                ));
            }
            _ => {}
        }
        let until = text(until);
        let date = until.as_ref().map(|until| {
            until.parse::<Date>().map_err(|_| format!("\"{}\" is no date such as 2027-03-31", shown(until)))
        });
        let acceptance = Acceptance { image_digest: digest::hex(&parsed), kind, who: text(who), why: text(why), until };
        Ok(Some((parsed, acceptance, date.transpose()?)))
    }
}

fn csv_error(name: &str, error: &csv::Error) -> Error {
    let origin = match error.position() {
        Some(position) => format!("{name}, line {}", position.line()),
        None => name.to_owned(),
    };
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Error::data(origin, format!("has {len} fields, but the first line names {expected_len} columns"))
        }
        _ => Error::data(origin, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "6a0f0a5b8b6f1d7c2f1f6f0c8d1a2b3c";

    fn parse(text: &str) -> Result<Acceptances> {
        let mut accepted = Acceptances::default();
        accepted.add_file(text, Date::constant(2026, 6, 1), "accepted.csv").map(|()| accepted)
    }

    #[test]
    fn entries_hold_until_their_last_day() {
        let text = format!(
            "image_digest,kind,who,why,until\n{DIGEST},blurred,Ann,\"fog, and rain\",2026-06-01\n\
             {DIGEST},near_black,Ann,night,2026-05-31\n{DIGEST},unknown,,,\n"
        );
        let accepted = parse(&text).expect("a file");
        let digest = digest::parse(DIGEST).expect("a digest");
        let found = |kind| accepted.find(kind, &digest).map(Acceptance::to_string);
        assert_eq!(found(Kind::Blurred).as_deref(), Some("Ann: fog, and rain (until 2026-06-01)"));
        assert_eq!(found(Kind::Unknown).as_deref(), Some("accepted"));
        assert_eq!(found(Kind::NearBlack), None);
        assert_eq!(accepted.expired().iter().map(|entry| entry.kind).collect::<Vec<_>>(), [Kind::NearBlack]);
        let longer = format!("{text}{DIGEST},near_black,Bob,a night,2027-01-01\n");
        assert!(parse(&longer).expect("a file").expired().is_empty(), "another line accepts it for longer");
    }

    #[test]
    fn files_are_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, line: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("image_digest,kind,until\n{DIGEST},{line}\n")).expect("written");
            path
        };
        let over = [write("a.csv", "near_black,2020-01-01"), write("b.csv", "blurred,")];
        let accepted = Acceptances::read(&over).expect("files").expect("two of them");
        assert_eq!((accepted.in_force.len(), accepted.expired().len()), (1, 1));
        let renewed = [&over[..], &[write("c.csv", "near_black,")]].concat();
        let accepted = Acceptances::read(&renewed).expect("files").expect("three of them");
        assert_eq!((accepted.in_force.len(), accepted.expired().len()), (2, 0), "another file accepts it for longer");
        assert_eq!(Acceptances::read(&[] as &[&Path]).expect("nothing to read"), None);
    }

    #[test]
    fn marks_of_false_alarms_are_acceptances() {
        let marks = ["wrong", "right", "unknown", "known", ""];
        let kinds = ["blurred", "near_white", "near_black", "unknown", "leaked"];
        let lines: String =
            marks.iter().zip(kinds).map(|(mark, kind)| format!("{DIGEST},{kind},{mark},a.parquet,7\r\n")).collect();
        let accepted = parse(&format!("\u{feff}image_digest,kind,mark,file,row\r\n{lines}")).expect("marks");
        let mut kinds: Vec<Kind> = accepted.in_force.keys().map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [Kind::Unknown, Kind::Blurred]);
    }

    #[test]
    fn errors_name_file_and_line() {
        let refused = |text: &str, expected: &str| {
            let message = parse(text).expect_err("refused").to_string();
            assert!(message.contains(expected) && message.starts_with("accepted.csv"), "{message}");
        };
        refused("image_digest,why\n", "no column \"kind\"");
        refused("image_digest,kind,untill\n", "unknown column \"untill\"");
        refused(
            &format!("image_digest,kind\n{DIGEST},blurred\n{DIGEST},blury\n"),
            "line 3: there is no kind \"blury\"",
        );
        refused("image_digest,kind\n6a0f,blurred\n", "line 2: \"6a0f\" is no digest");
        refused(&format!("image_digest,kind,until\n{DIGEST},blurred,June\n"), "line 2: \"June\" is no date");
        refused(&format!("image_digest,kind,mark\n{DIGEST},blurred,maybe\n"), "line 2: \"maybe\" is no mark");
        refused(&format!("image_digest,kind,until\n{DIGEST},blurred\n"), "line 2: has 2 fields");
    }
}
