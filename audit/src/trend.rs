//! Earlier audits beside this one: how many findings of each kind there were.

use std::collections::BTreeMap;

use super::kind::Kind;
use super::text::{count, counted, shown};
use super::view::{Cell, Section, Table, Tone};

/// Most audits that a line goes through: the latest.
const MAX_AUDITS: usize = 60;

/// An audit in a series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PastAudit {
    /// When it was made, as it is shown.
    pub when: String,
    /// Findings of each kind. A kind that is missing was not looked for.
    pub kinds: BTreeMap<Kind, u64>,
}

/// A line for each kind that was ever found, through audits in the order of time; the last is this one. None where it
/// is alone.
pub(super) fn section(audits: &[PastAudit]) -> Option<Section> {
    let audits = &audits[audits.len().saturating_sub(MAX_AUDITS)..];
    let ([.., before, last], Some(first)) = (audits, audits.first()) else { return None };
    let all = |audit: &PastAudit| audit.kinds.values().sum::<u64>();
    let summary = format!(
        "{} in this audit; {} in the one before ({}). {} since {}.",
        counted(all(last), "finding"),
        count(all(before)),
        shown(&before.when),
        counted(audits.len() as u64, "audit"),
        shown(&first.when)
    );
    let mut section = Section::new("history", "Earlier audits", Tone::Plain, summary, "");
    let columns = [("Kind", false), ("Now", true), ("Change", true), ("Each audit", false)];
    let mut table = Table::new("Findings by kind", &columns);
    for kind in Kind::ALL {
        let counts: Vec<Option<u64>> = audits.iter().map(|audit| audit.kinds.get(&kind).copied()).collect();
        if counts.iter().flatten().all(|count| *count == 0) {
            continue;
        }
        let values: Vec<Option<f64>> = counts.iter().map(|count| count.map(|count| count as f64)).collect();
        let words =
            counts.iter().map(|value| value.map_or_else(|| "not looked for".to_owned(), count)).collect::<Vec<_>>();
        let alt = format!("{}: {}", kind.title(), words.join(", "));
        let (before, now) = (before.kinds.get(&kind).copied(), last.kinds.get(&kind).copied());
        let number = |now: u64| Cell::number(count(now), now as f64);
        table.rows.push(vec![
            Cell::text(kind.title()),
            now.map_or_else(|| Cell::text("not looked for"), number),
            before.zip(now).map_or_else(|| Cell::text(""), |(before, now)| change(before, now)),
            Cell::sparkline(&values, alt),
        ]);
    }
    if !table.rows.is_empty() {
        section.tables.push(table);
    }
    Some(section)
}

/// `+12`, `−3`, `0`.
fn change(before: u64, now: u64) -> Cell {
    let text = match now.cmp(&before) {
        std::cmp::Ordering::Greater => format!("+{}", count(now - before)),
        std::cmp::Ordering::Less => format!("\u{2212}{}", count(before - now)),
        std::cmp::Ordering::Equal => "0".to_owned(),
    };
    Cell::number(text, now as f64 - before as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(when: &str, unknown: u64, leaked: Option<u64>) -> PastAudit {
        let kinds = [(Kind::Unknown, Some(unknown)), (Kind::Leaked, leaked), (Kind::Empty, Some(0))];
        PastAudit {
            when: when.into(),
            kinds: kinds.into_iter().filter_map(|(kind, count)| Some((kind, count?))).collect(),
        }
    }

    #[test]
    fn each_kind_that_was_found_has_a_line_and_a_change() {
        let audits =
            [audit("2 November", 1500, None), audit("9 November", 1200, Some(2)), audit("today", 1190, Some(40))];
        let section = section(&audits).expect("there are earlier audits");
        assert_eq!(
            section.summary,
            "1,230 findings in this audit; 1,202 in the one before (9 November). 3 audits since 2 November."
        );
        let rows: Vec<Vec<&str>> =
            section.tables[0].rows.iter().map(|row| row.iter().map(|cell| cell.text.as_str()).collect()).collect();
        let expected = [["Unknown images", "1,190", "\u{2212}10", ""], ["Also in the reference", "40", "+38", ""]];
        assert_eq!(rows, expected);
        let drawing = section.tables[0].rows[1][3].drawing.as_ref().expect("a line");
        assert_eq!(drawing.alt.as_deref(), Some("Also in the reference: not looked for, 2, 40"));
        assert_eq!(section.tables[0].rows[0][2].sort, Some(-10.0));
    }

    #[test]
    fn one_audit_is_no_history() {
        assert!(section(&[]).is_none() && section(&[audit("today", 3, None)]).is_none());
        let two = section(&[audit("yesterday", 3, None), audit("today", 3, Some(1))]).expect("two are");
        let cells: Vec<&str> = two.tables[0].rows[1].iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(cells[1..], ["1", "", ""]);
        let many: Vec<PastAudit> = (0..500).map(|n| audit(&n.to_string(), n, None)).collect();
        assert!(section(&many).expect("many").summary.ends_with("60 audits since 440."));
    }
}
