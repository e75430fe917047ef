//! Groups of rows in which findings pile up.

use super::words::{interval, number};
use super::{MAX_ROWS, Material};
use crate::text::{count, counted, p_value, percent, shown};
use crate::view::{Cell, Section, Table, Tone};

impl Material<'_> {
    pub(super) fn slices(&self) -> Section {
        let figures = &self.summary.slices;
        let how = "Each group's share of rows with a finding against that of all other rows: two proportions, or Fisher's exact test where rows are few; all \
                   tests together under Benjamini and Hochberg. Intervals are exact (95 %).";
        let summary = match (figures.by.is_empty(), figures.found) {
            (true, _) => {
                "There is one file with one row group and no column to group by, so there is nothing to compare."
                    .to_owned()
            }
            (_, 0) => format!("Findings pile up in none of the groups, by {}.", shown(&figures.by.join(", "))),
            (_, found) => format!("Findings pile up in {} of a group and a kind.", counted(found, "pair")),
        };
        let tone = if figures.found > 0 { Tone::Warn } else { Tone::Plain };
        let mut section = Section::new("slices", "Where findings pile up", tone, summary, how);
        section.count = None;
        if figures.slices.is_empty() {
            return section;
        }
        let mut table = Table::new(
            "Groups",
            &[
                ("Divided by", false),
                ("Value", false),
                ("Kind", false),
                ("Rows", true),
                ("Findings", true),
                ("Share", true),
                ("95 % interval", false),
                ("Elsewhere", true),
                ("p-value", true),
            ],
        );
        for slice in figures.slices.iter().take(MAX_ROWS) {
            table.rows.push(vec![
                Cell::text(&slice.by),
                Cell::text(&slice.value),
                Cell::text(slice.kind.title()),
                number(slice.rows),
                number(slice.findings),
                Cell::number(percent(slice.rate.value), slice.rate.value),
                Cell::text(&interval(&slice.rate)),
                Cell::number(percent(slice.rate_elsewhere), slice.rate_elsewhere),
                Cell::number(p_value(slice.p_value), slice.p_value),
            ]);
        }
        section.more = (figures.found > table.rows.len() as u64)
            .then(|| format!("{} of {} shown, the clearest.", table.rows.len(), count(figures.found)));
        section.tables.push(table);
        section
    }
}
