//! Images that cannot be read or are odd.

use std::collections::BTreeSet;

use super::Material;
use super::words::{are, more, number};
use crate::kind::Kind;
use crate::text::percent;
use crate::view::{Cell, Section, Table, Tone};
use dismax::error::Result;

/// Kinds that the section on files shows.
const FILE_KINDS: [Kind; 10] = [
    Kind::Undecodable,
    Kind::Truncated,
    Kind::Empty,
    Kind::MislabelledFormat,
    Kind::NearBlack,
    Kind::NearWhite,
    Kind::NearUniform,
    Kind::Blurred,
    Kind::ExtremeSize,
    Kind::ExtremeAspect,
];

impl Material<'_> {
    /// Rows whose image can be read and is odd.
    pub(super) fn odd_rows(&self) -> u64 {
        let is_odd = |kind: &Kind| FILE_KINDS.contains(kind) && !Kind::BROKEN.contains(kind);
        let rows: BTreeSet<u32> =
            self.analysis.findings.iter().filter(|finding| is_odd(&finding.kind)).map(|finding| finding.row).collect();
        rows.len() as u64
    }

    pub(super) fn files(&mut self) -> Result<Section> {
        let summary = self.summary;
        let broken: u64 = Kind::BROKEN.iter().map(|kind| summary.of(*kind)).sum();
        let odd = self.odd_rows();
        let text = format!("{} missing or cannot be decoded; {} odd.", are(broken, "image"), are(odd, "other image"));
        let tone = match (broken, odd) {
            (0, 0) => Tone::Good,
            (0, _) => Tone::Warn,
            _ => Tone::Bad,
        };
        let how = "What decoding says; format by the first bytes against the name's extension; size and sharpness (variance of the Laplacian) by robust \
                   deviations of their logarithms (median, median absolute deviation); light by the mean luma and its standard deviation.";
        let mut section = Section::new("files", "Broken and odd files", tone, text, how);
        section.count = Some(FILE_KINDS.iter().map(|kind| summary.of(*kind)).sum());
        let mut table = Table::new("Kinds", &[("Kind", false), ("Findings", true), ("Share of rows", true)]);
        for kind in FILE_KINDS {
            let found = summary.of(kind);
            let share = found as f64 / summary.rows.max(1) as f64;
            table.rows.push(vec![Cell::text(kind.title()), number(found), Cell::number(percent(share), share)]);
        }
        section.tables.push(table);
        let (gallery, all) = self.gallery(&FILE_KINDS)?;
        section.more = more(gallery.len(), all);
        section.gallery = gallery;
        Ok(section)
    }
}
