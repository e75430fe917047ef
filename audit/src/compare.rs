//! What changed between two audits.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, UInt64Type};
use serde::{Deserialize, Serialize};

use super::findings::{FINDINGS, Table, TableWriter};
use super::format;
use super::kind::Kind;
use super::summary::{self, AuditSummary};
use super::text::{count, counted, percent, shown};
use super::view::{Cell, ModelView, Section, Table as TableView, Tile, Tone, View};
use super::{place, report};
use dismax::cancel::Cancel;
use dismax::dataset::Dataset;
use dismax::error::{Error, Result};

/// Version of the layout.
const VERSION: u32 = 1;
/// Findings read at once.
const BATCH: usize = 4096;
/// Most findings of a table in the page.
const MOST_ROWS: usize = 100;

/// What changed from an older to a newer audit. As JSON it has these fields under these names; they stay.
///
/// A finding stays where the newer audit has one of the same kind about the same image; rows and files may have other places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `dismax audit comparison`.
    pub format: String,
    /// Version of the layout.
    pub format_version: u32,
    /// Version of this crate.
    pub version: String,
    /// The older audit's folder.
    pub old: String,
    /// The newer audit's folder.
    pub new: String,
    /// Rows of the older audit.
    pub old_rows: u64,
    /// Rows of the newer audit.
    pub new_rows: u64,
    /// Changes of each kind; every kind is there.
    pub kinds: Vec<KindChange>,
    /// Figures of both, where both have them.
    pub figures: Vec<FigureChange>,
    /// What a reader should know before comparing.
    pub warnings: Vec<String>,
}

/// Findings of a kind in both audits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindChange {
    /// The kind.
    pub kind: Kind,
    /// Findings of the older audit.
    pub old: u64,
    /// Findings of the newer audit.
    pub new: u64,
    /// Findings that only the newer has.
    pub appeared: u64,
    /// Findings that only the older has.
    pub gone: u64,
}

/// A figure of both audits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureChange {
    /// What it is.
    pub name: String,
    /// In the older audit.
    pub old: f64,
    /// In the newer audit.
    pub new: f64,
    /// Whether both are estimates whose 95 % intervals do not overlap.
    pub clear: bool,
}

/// How often each finding occurs, by kind and image.
type Occurrences = HashMap<(String, String), u64>;

/// Compares two audits into the folder `out`, which appears whole or not at all: `findings.parquet` holds what appeared and what is gone,
/// `summary.json` the [`Comparison`], `report.html` both for people. `command` stands in the report.
///
/// # Errors
/// A folder that is no audit, a table that cannot be read, an output that is in the way, [`Error::Cancelled`].
pub fn compare(old: &Path, new: &Path, out: &Path, force: bool, command: &str, cancel: &Cancel) -> Result<Comparison> {
    let (before, after) = (AuditSummary::read(old)?, AuditSummary::read(new)?);
    let staging = place::create(out, force)?;
    let (of_old, of_new) = (occurrences(old, cancel)?, occurrences(new, cancel)?);
    let mut writer = TableWriter::create(&staging.path(FINDINGS), true)?;
    let mut changes = Changes::default();
    changes.write(new, &of_old, "new", &mut writer, cancel)?;
    changes.write(old, &of_new, "gone", &mut writer, cancel)?;
    writer.finish()?;

    let kinds = Kind::ALL.map(|kind| KindChange {
        kind,
        old: before.of(kind),
        new: after.of(kind),
        appeared: changes.of("new", kind),
        gone: changes.of("gone", kind),
    });
    let mut warnings = Vec::new();
    if before.model.digest != after.model.digest {
        warnings
            .push("The audits were made with different models, so findings may differ where the data do not.".into());
    }
    if before.unknown.fdr != after.unknown.fdr {
        warnings.push(format!(
            "The audits were made at different false discovery rates: {} and {}.",
            before.unknown.fdr, after.unknown.fdr
        ));
    }
    let comparison = Comparison {
        format: format::COMPARISON.into(),
        format_version: VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        old: old.display().to_string(),
        new: new.display().to_string(),
        old_rows: before.rows,
        new_rows: after.rows,
        kinds: kinds.to_vec(),
        figures: figures(&before, &after),
        warnings,
    };
    let view = view(&comparison, &after, &changes, command);
    staging.write(report::FILE, report::render(&view)?.as_bytes())?;
    staging.write(format::FILE, &summary::to_json(&comparison)?)?;
    cancel.check()?;
    staging.publish()?;
    Ok(comparison)
}

/// Record batches of an audit's table.
fn batches(folder: &Path) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let path = folder.join(FINDINGS).display().to_string();
    let dataset = Dataset::open(&[path])?;
    Ok(dataset.read(BATCH, None)?.map(|chunk| chunk.map(|chunk| chunk.record_batch)))
}

fn occurrences(folder: &Path, cancel: &Cancel) -> Result<Occurrences> {
    let mut occurrences = Occurrences::new();
    for batch in batches(folder)? {
        cancel.check()?;
        let batch = batch?;
        let (kinds, digests) = (texts(&batch, "kind", folder)?, texts(&batch, "image_digest", folder)?);
        for (kind, digest) in kinds.into_iter().zip(digests) {
            *occurrences.entry((kind.unwrap_or_default(), digest.unwrap_or_default())).or_default() += 1;
        }
    }
    Ok(occurrences)
}

fn damaged(folder: &Path, name: &str) -> Error {
    Error::data(folder.join(FINDINGS).display(), format!("has no column \"{name}\" of the usual type; audit again"))
}

fn texts(batch: &RecordBatch, name: &str, folder: &Path) -> Result<Vec<Option<String>>> {
    let array = batch.column_by_name(name).and_then(|array| array.as_string_opt::<i32>());
    let array = array.ok_or_else(|| damaged(folder, name))?;
    Ok(array.iter().map(|text| text.map(str::to_owned)).collect())
}

fn numbers<T: arrow::datatypes::ArrowPrimitiveType>(
    batch: &RecordBatch,
    name: &str,
    folder: &Path,
) -> Result<Vec<Option<T::Native>>> {
    let array = batch.column_by_name(name).and_then(|array| array.as_primitive_opt::<T>());
    Ok(array.ok_or_else(|| damaged(folder, name))?.iter().collect())
}

/// Findings of one audit that the other has not.
#[derive(Debug, Default)]
struct Changes {
    counts: HashMap<(&'static str, String), u64>,
    /// The first of them for the page: change, kind, file, row, evidence.
    first: Vec<(&'static str, String, String, u64, String)>,
}

impl Changes {
    fn of(&self, change: &'static str, kind: Kind) -> u64 {
        self.counts.get(&(change, kind.name().to_owned())).copied().unwrap_or(0)
    }

    /// Writes the findings in `folder` beyond those that `others` has as well.
    fn write(
        &mut self,
        folder: &Path,
        others: &Occurrences,
        change: &'static str,
        writer: &mut TableWriter,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut left = others.clone();
        let mut shown_rows = 0;
        for batch in batches(folder)? {
            cancel.check()?;
            let batch = batch?;
            let text = |name: &str| texts(&batch, name, folder);
            let whole = |name: &str| -> Result<Vec<String>> {
                Ok(text(name)?.into_iter().map(Option::unwrap_or_default).collect())
            };
            let all = Table {
                file: whole("file")?,
                row: numbers::<UInt64Type>(&batch, "row", folder)?.into_iter().map(Option::unwrap_or_default).collect(),
                kind: whole("kind")?,
                severity: whole("severity")?,
                score: numbers::<Float64Type>(&batch, "score", folder)?
                    .into_iter()
                    .map(Option::unwrap_or_default)
                    .collect(),
                evidence: whole("evidence")?,
                related_file: text("related_file")?,
                related_row: numbers::<UInt64Type>(&batch, "related_row", folder)?,
                predicted: text("predicted")?,
                confidence: numbers::<Float32Type>(&batch, "confidence", folder)?,
                p_value: numbers::<Float64Type>(&batch, "p_value", folder)?,
                label: text("label")?,
                image_digest: whole("image_digest")?,
                change: vec![change; batch.num_rows()],
            };
            let mut keep = Vec::with_capacity(batch.num_rows());
            for (kind, digest) in all.kind.iter().zip(&all.image_digest) {
                let known = left.get_mut(&(kind.clone(), digest.clone())).filter(|count| **count > 0);
                keep.push(known.is_none());
                match known {
                    Some(count) => *count -= 1,
                    None => *self.counts.entry((change, kind.clone())).or_default() += 1,
                }
            }
            let kept = all.kept(&keep);
            for row in 0..kept.kind.len().min(MOST_ROWS - shown_rows) {
                let of = |texts: &[String]| texts.get(row).cloned().unwrap_or_default();
                let number = kept.row.get(row).copied().unwrap_or_default();
                self.first.push((change, of(&kept.kind), of(&kept.file), number, of(&kept.evidence)));
                shown_rows += 1;
            }
            if !kept.kind.is_empty() {
                writer.write(kept)?;
            }
        }
        Ok(())
    }
}

/// Figures that both audits have, with whether their intervals lie apart.
fn figures(old: &AuditSummary, new: &AuditSummary) -> Vec<FigureChange> {
    use dismax::calibration::Estimate;
    let mut figures = Vec::new();
    let mut estimates = |name: &str, old: Option<Estimate>, new: Option<Estimate>| {
        if let (Some(old), Some(new)) = (old, new) {
            let clear = old.interval.upper < new.interval.lower || new.interval.upper < old.interval.lower;
            figures.push(FigureChange { name: name.into(), old: old.value, new: new.value, clear });
        }
    };
    estimates("share of unknown images", old.unknown.out_of_distribution, new.unknown.out_of_distribution);
    let accuracy = |summary: &AuditSummary| summary.labels.as_ref().map(|labels| labels.accuracy);
    estimates("agreement with the labels", accuracy(old), accuracy(new));
    let ece = |summary: &AuditSummary| summary.calibration.as_ref().map(|figures| figures.ece);
    estimates("ECE", ece(old), ece(new));
    let wrong = |summary: &AuditSummary| {
        summary.labels.as_ref().map(|labels| labels.estimated_wrong / labels.rows.max(1) as f64)
    };
    if let (Some(old), Some(new)) = (wrong(old), wrong(new)) {
        figures.push(FigureChange { name: "estimated share of wrong labels".into(), old, new, clear: false });
    }
    figures
}

fn view(comparison: &Comparison, after: &AuditSummary, changes: &Changes, command: &str) -> View {
    let sum = |of: fn(&KindChange) -> u64| comparison.kinds.iter().map(of).sum::<u64>();
    let (appeared, gone) = (sum(|kind| kind.appeared), sum(|kind| kind.gone));
    let (old, new) = (sum(|kind| kind.old), sum(|kind| kind.new));
    let most = |of: fn(&KindChange) -> u64| {
        let most = comparison.kinds.iter().max_by_key(|kind| of(kind)).filter(|kind| of(kind) > 0);
        let text = |most: &KindChange| format!(", {} of them under \"{}\"", count(of(most)), most.kind.title());
        most.map(text).unwrap_or_default()
    };
    let clear: Vec<&FigureChange> = comparison.figures.iter().filter(|figure| figure.clear).collect();
    let verdict = [
        format!(
            "{} of {} became {} of {}.",
            counted(old, "finding"),
            counted(comparison.old_rows, "row"),
            counted(new, "finding"),
            counted(comparison.new_rows, "row")
        ),
        format!(
            "{} appeared{}; {} gone{}.",
            count(appeared),
            most(|kind| kind.appeared),
            format_args!("{} {}", count(gone), if gone == 1 { "is" } else { "are" }),
            most(|kind| kind.gone)
        ),
        match clear.as_slice() {
            [] => "No figure changed clearly.".to_owned(),
            clear => format!(
                "Changed clearly: {}.",
                clear
                    .iter()
                    .map(|figure| format!("{} from {} to {}", figure.name, percent(figure.old), percent(figure.new)))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        },
    ];
    let tile =
        |name: &str, value: u64, tone: Tone| Tile { name: name.into(), value: count(value), note: String::new(), tone };
    let tiles = vec![
        tile("New findings", appeared, if appeared > 0 { Tone::Warn } else { Tone::Good }),
        tile("Gone findings", gone, Tone::Plain),
        Tile {
            name: "Rows".into(),
            value: count(comparison.new_rows),
            note: format!("{} before", count(comparison.old_rows)),
            tone: Tone::Plain,
        },
    ];
    let number = |value: u64| Cell::number(count(value), value as f64);
    let mut kinds = TableView::new(
        "Findings by kind",
        &[("Kind", false), ("Before", true), ("After", true), ("New", true), ("Gone", true)],
    );
    for change in &comparison.kinds {
        kinds.rows.push(vec![
            Cell::text(change.kind.title()),
            number(change.old),
            number(change.new),
            number(change.appeared),
            number(change.gone),
        ]);
    }
    let mut figures =
        TableView::new("Figures", &[("Figure", false), ("Before", true), ("After", true), ("Verdict", false)]);
    for figure in &comparison.figures {
        figures.rows.push(vec![
            Cell::text(&figure.name),
            Cell::number(percent(figure.old), figure.old),
            Cell::number(percent(figure.new), figure.new),
            Cell::text(if figure.clear { "intervals lie apart" } else { "" }),
        ]);
    }
    let how =
        "A finding stays where the newer audit has one of the same kind about the same image, wherever its row is.";
    let mut overview = Section::new("kinds", "What changed", Tone::Plain, verdict.join(" "), how);
    overview.tables.push(kinds);
    if !figures.rows.is_empty() {
        overview.tables.push(figures);
    }
    let list = |id, title, change: &str, all: u64, tone| {
        let mut table = TableView::new(title, &[("Kind", false), ("File", false), ("Row", true), ("Why", false)]);
        for (_, kind, file, row, evidence) in changes.first.iter().filter(|(of, ..)| *of == change) {
            table.rows.push(vec![
                Cell::text(kind),
                Cell::text(file),
                number(*row),
                Cell { text: evidence.clone(), sort: None },
            ]);
        }
        let summary = format!("{}.", counted(all, "finding"));
        let mut section = Section::new(id, title, tone, summary, "");
        section.count = Some(all);
        let listed = table.rows.len() as u64;
        section.more = (all > listed)
            .then(|| format!("{} of {} shown; all stand in findings.parquet.", count(listed), count(all)));
        if !table.rows.is_empty() {
            section.tables.push(table);
        }
        section
    };
    View {
        title: format!("Audits {} and {}", shown(&comparison.old), shown(&comparison.new)),
        version: comparison.version.clone(),
        command: shown(command),
        inputs: vec![shown(&comparison.old), shown(&comparison.new)],
        reference: None,
        model: ModelView {
            path: shown(&after.model.path),
            digest: after.model.digest.clone(),
            architecture: after.model.architecture.clone(),
            classes: after.model.classes.len() as u64,
        },
        rows: comparison.new_rows,
        findings: new,
        verdict,
        warnings: comparison.warnings.clone(),
        tiles,
        sections: vec![
            overview,
            list("new", "New findings", "new", appeared, Tone::Plain),
            list("gone", "Gone findings", "gone", gone, Tone::Plain),
        ],
    }
}
