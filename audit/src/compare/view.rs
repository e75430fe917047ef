//! The page of a comparison.

use super::changes::{Change, Changes};
use super::comparison::{Comparison, FigureChange, KindChange};
use crate::sections::words::{number, rest};
use crate::summary::AuditSummary;
use crate::text::{count, counted, percent, shown};
use crate::view::{Cell, ModelView, Section, Table, Tile, Tone, View};

/// Everything that the page shows.
pub(super) fn view(comparison: &Comparison, after: &AuditSummary, changes: &Changes, command: &str) -> View {
    let verdict = verdict(comparison);
    let overview = overview(comparison, verdict.join(" "));
    let (appeared, gone) = (sum(comparison, |kind| kind.appeared), sum(comparison, |kind| kind.gone));
    View {
        title: format!("Audits {} and {}", shown(&comparison.old), shown(&comparison.new)),
        version: comparison.version.clone(),
        command: shown(command),
        inputs: vec![shown(&comparison.old), shown(&comparison.new)],
        reference: None,
        model: after.model.as_ref().map(ModelView::of),
        rows: comparison.new_rows,
        findings: sum(comparison, |kind| kind.new.unwrap_or(0)),
        verdict,
        warnings: comparison.warnings.clone(),
        tiles: tiles(comparison),
        sections: vec![
            overview,
            list("new", "New findings", changes, Change::New, appeared),
            list("gone", "Gone findings", changes, Change::Gone, gone),
        ],
    }
}

fn sum(comparison: &Comparison, of: fn(&KindChange) -> u64) -> u64 {
    comparison.kinds.iter().map(of).sum()
}

/// What changed, in sentences.
fn verdict(comparison: &Comparison) -> [String; 3] {
    let most = |of: fn(&KindChange) -> u64| {
        let most = comparison.kinds.iter().max_by_key(|kind| of(kind)).filter(|kind| of(kind) > 0);
        let text = |most: &KindChange| format!(", {} of them under \"{}\"", count(of(most)), most.kind.title());
        most.map(text).unwrap_or_default()
    };
    let (appeared, gone) = (sum(comparison, |kind| kind.appeared), sum(comparison, |kind| kind.gone));
    let clear: Vec<String> = comparison.figures.iter().filter(|figure| figure.clear).map(change_in_words).collect();
    [
        format!(
            "{} of {} became {} of {}.",
            counted(sum(comparison, |kind| kind.old.unwrap_or(0)), "finding"),
            counted(comparison.old_rows, "row"),
            counted(sum(comparison, |kind| kind.new.unwrap_or(0)), "finding"),
            counted(comparison.new_rows, "row")
        ),
        format!(
            "{} appeared{}; {} {} gone{}.",
            count(appeared),
            most(|kind| kind.appeared),
            count(gone),
            if gone == 1 { "is" } else { "are" },
            most(|kind| kind.gone)
        ),
        match clear.as_slice() {
            [] => "No figure changed clearly.".to_owned(),
            clear => format!("Changed clearly: {}.", clear.join(", ")),
        },
    ]
}

fn change_in_words(figure: &FigureChange) -> String {
    format!("{} from {} to {}", figure.name, percent(figure.old), percent(figure.new))
}

fn tiles(comparison: &Comparison) -> Vec<Tile> {
    let (appeared, gone) = (sum(comparison, |kind| kind.appeared), sum(comparison, |kind| kind.gone));
    let tile =
        |name: &str, value: u64, note: String, tone: Tone| Tile { name: name.into(), value: count(value), note, tone };
    vec![
        tile("New findings", appeared, String::new(), if appeared > 0 { Tone::Warn } else { Tone::Good }),
        tile("Gone findings", gone, String::new(), Tone::Plain),
        tile("Rows", comparison.new_rows, format!("{} before", count(comparison.old_rows)), Tone::Plain),
    ]
}

fn overview(comparison: &Comparison, verdict: String) -> Section {
    let how = "A finding is unchanged if the newer audit has the same kind for the same image, in any row.";
    let mut section = Section::new("kinds", "What changed", Tone::Plain, verdict, how);
    let mut kinds = Table::new(
        "Findings by kind",
        &[("Kind", false), ("Before", true), ("After", true), ("New", true), ("Gone", true)],
    );
    kinds.rows.extend(comparison.kinds.iter().map(|change| {
        let found = [change.old, change.new].map(|found| found.map_or_else(|| Cell::text("not looked for"), number));
        let changes = [change.appeared, change.gone].map(number);
        [Cell::text(change.kind.title())].into_iter().chain(found).chain(changes).collect()
    }));
    section.tables.push(kinds);
    if !comparison.figures.is_empty() {
        let columns = [("Figure", false), ("Before", true), ("After", true), ("Verdict", false)];
        let mut figures = Table::new("Figures", &columns);
        figures.rows.extend(comparison.figures.iter().map(|figure| {
            vec![
                Cell::text(&figure.name),
                Cell::number(percent(figure.old), figure.old),
                Cell::number(percent(figure.new), figure.new),
                Cell::text(if figure.clear { "intervals lie apart" } else { "" }),
            ]
        }));
        section.tables.push(figures);
    }
    section
}

/// The findings with one change, of which there are `all`.
fn list(id: &'static str, title: &'static str, changes: &Changes, change: Change, all: u64) -> Section {
    let mut table = Table::new(title, &[("Kind", false), ("File", false), ("Row", true), ("Why", false)]);
    table.rows.extend(changes.first.iter().filter(|changed| changed.change == change).map(|changed| {
        vec![
            Cell::text(changed.kind.name()),
            Cell::text(&changed.file),
            number(changed.row),
            Cell { text: changed.evidence.clone(), sort: None, drawing: None },
        ]
    }));
    let mut section = Section::new(id, title, Tone::Plain, format!("{}.", counted(all, "finding")), "");
    section.count = Some(all);
    section.footnote = rest(table.rows.len(), all);
    if !table.rows.is_empty() {
        section.tables.push(table);
    }
    section
}
