//! Slices: groups of rows in which findings pile up.

use serde::{Deserialize, Serialize};

use super::check::{About, Check, Found};
use super::divisions::Division;
use super::inputs::Inputs;
use super::proportions::more_than_elsewhere;
use crate::findings::Related;
use crate::kind::Kind;
use crate::sections::words::{interval, number};
use crate::sections::{MAX_ROWS, Material};
use crate::text::{count, counted, p_value, percent, shown};
use crate::view::{Cell, Section, Table, Tone};
use dismax::calibration::{Estimate, benjamini_hochberg};
use dismax::error::Result;
use dismax::metrics::share_interval;

/// Confidence level of intervals.
const LEVEL: f64 = 0.95;
/// Most slices that are kept: the clearest.
const MOST: usize = 200;

/// A group of rows with more findings of a kind than the other rows have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// What divides the rows: `file`, `row group`, or a column's name.
    pub by: String,
    /// The file, the row group or the column's value.
    pub value: String,
    /// Kind of the findings.
    pub kind: Kind,
    /// Rows of the group.
    pub rows: u64,
    /// Those with such a finding, of duplicates also the first row.
    pub findings: u64,
    /// Their share, with its exact 95 % interval.
    pub rate: Estimate,
    /// Share of the other rows that have such a finding.
    pub rate_elsewhere: f64,
    /// Chance of so many where the group is like the others: one-sided, two proportions or Fisher's exact test.
    pub p_value: f64,
}

/// All slices in which findings pile up at the false discovery rate asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SliceFigures {
    /// Ways in which rows were divided.
    pub by: Vec<String>,
    /// Groups and kinds that were tested.
    pub tests: u64,
    /// Those that Benjamini-Hochberg rejects, clearest first, at most 200.
    pub slices: Vec<Slice>,
    /// All that were rejected.
    pub found: u64,
}

/// The check.
pub(super) struct Slices;

const ABOUT: About = About {
    id: "slices",
    title: "Where findings pile up",
    question: "In which groups of rows are there more findings of a kind than in the others?",
    how: "Each group's share of rows with a finding against that of all other rows: two proportions, or Fisher's exact \
          test where rows are few; all tests together under Benjamini and Hochberg. Intervals are exact (95 %).",
    needs: &[],
    kinds: &[],
};

impl Check for Slices {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    /// Counts the findings of the checks before it.
    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        // Of duplicates the first row counts as well: the later ones pile up towards the end of any dataset.
        let both = found.findings.iter().flat_map(|finding| {
            let related = match finding.related {
                Some(Related::Audited(row)) => Some((row, finding.kind)),
                _ => None,
            };
            [Some((finding.row, finding.kind)), related].into_iter().flatten()
        });
        let mut pairs: Vec<(u32, Kind)> = both.collect();
        pairs.sort_unstable();
        pairs.dedup();
        found.figures.insert(find(&inputs.divisions, &pairs, inputs.fdr)?);
        Ok(())
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let Some(figures) = material.figures().get::<SliceFigures>() else { return Ok(None) };
        let summary = match (figures.by.is_empty(), figures.found) {
            (true, _) => {
                "There is one file with one row group and no column to group by, so there is nothing to compare."
                    .to_owned()
            }
            (_, 0) => format!("Findings pile up in none of the groups, by {}.", shown(&figures.by.join(", "))),
            (_, found) => format!("Findings pile up in {} of a group and a kind.", counted(found, "pair")),
        };
        let mut section = ABOUT.section(if figures.found > 0 { Tone::Warn } else { Tone::Plain }, summary);
        if figures.slices.is_empty() {
            return Ok(Some(section));
        }
        let columns = [
            ("Divided by", false),
            ("Value", false),
            ("Kind", false),
            ("Rows", true),
            ("Findings", true),
            ("Share", true),
            ("95 % interval", false),
            ("Elsewhere", true),
            ("p-value", true),
        ];
        let mut table = Table::new("Groups", &columns);
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
        section.footnote = (figures.found > table.rows.len() as u64)
            .then(|| format!("{} of {} shown, the clearest.", table.rows.len(), count(figures.found)));
        section.tables.push(table);
        Ok(Some(section))
    }
}

/// A group and a kind before the tests are judged together.
struct Candidate {
    division: usize,
    group: usize,
    kind: Kind,
    rows: u64,
    findings: u64,
    elsewhere: (u64, u64),
    p_value: f64,
}

/// Tests each group against the other rows. `findings` are rows with their kinds, each pair once.
fn find(divisions: &[Division], findings: &[(u32, Kind)], fdr: f64) -> Result<SliceFigures> {
    let mut candidates = Vec::new();
    for (number, division) in divisions.iter().enumerate() {
        let mut rows = vec![0u64; division.values.len()];
        for code in &division.codes {
            if let Some(rows) = rows.get_mut(*code as usize) {
                *rows += 1;
            }
        }
        let mut counts = vec![[0u64; Kind::ALL.len()]; division.values.len()];
        for (row, kind) in findings {
            let group = division.codes.get(*row as usize).and_then(|code| counts.get_mut(*code as usize));
            if let Some(count) = group.and_then(|counts| counts.get_mut(*kind as usize)) {
                *count += 1;
            }
        }
        let all = division.codes.len() as u64;
        for kind in Kind::ALL {
            let total: u64 = counts.iter().filter_map(|counts| counts.get(kind as usize)).sum();
            // A kind that does not occur cannot pile up.
            if total == 0 {
                continue;
            }
            for (group, (&rows, counts)) in rows.iter().zip(&counts).enumerate() {
                let findings = counts.get(kind as usize).copied().unwrap_or(0);
                if rows == 0 || rows == all {
                    continue;
                }
                let elsewhere = (total - findings, all - rows);
                let p_value = more_than_elsewhere(findings, rows, elsewhere.0, elsewhere.1)?;
                candidates.push(Candidate { division: number, group, kind, rows, findings, elsewhere, p_value });
            }
        }
    }
    let tests = candidates.len() as u64;
    let most = benjamini_hochberg(candidates.iter().map(|candidate| candidate.p_value), fdr)?;
    candidates.retain(|candidate| most.is_some_and(|most| candidate.p_value <= most));
    candidates.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then(b.findings.cmp(&a.findings)));
    let found = candidates.len() as u64;
    candidates.truncate(MOST);
    let mut slices = Vec::with_capacity(candidates.len());
    for Candidate { division, group, kind, rows, findings, elsewhere, p_value } in candidates {
        let Some(division) = divisions.get(division) else { continue };
        slices.push(Slice {
            by: division.by.clone(),
            value: division.values.get(group).cloned().unwrap_or_default(),
            kind,
            rows,
            findings,
            rate: Estimate { value: findings as f64 / rows as f64, interval: share_interval(findings, rows, LEVEL)? },
            rate_elsewhere: elsewhere.0 as f64 / elsewhere.1 as f64,
            p_value,
        });
    }
    Ok(SliceFigures { by: divisions.iter().map(|division| division.by.clone()).collect(), tests, slices, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_group_is_found_and_no_other() {
        let values = ["a", "b", "c"].map(String::from).to_vec();
        let codes: Vec<u32> = (0..3000).map(|row| row / 1000).collect();
        let division = Division { by: "camera".into(), values, codes };
        // 10 of 1,000 in a and c, 100 in b.
        let blurred = (0..3000).filter(|row| if row / 1000 == 1 { row % 10 == 0 } else { row % 100 == 0 });
        let mut findings: Vec<(u32, Kind)> = blurred.map(|row| (row, Kind::Blurred)).collect();
        findings.extend((0..3000).step_by(50).map(|row| (row, Kind::Unknown)));
        let figures = find(&[division], &findings, 0.05).expect("slices");
        assert_eq!((figures.tests, figures.found), (6, 1));
        let slice = &figures.slices[0];
        assert_eq!((slice.by.as_str(), slice.value.as_str(), slice.kind), ("camera", "b", Kind::Blurred));
        assert_eq!((slice.rows, slice.findings, slice.rate.value, slice.rate_elsewhere), (1000, 100, 0.1, 0.01));
        // All rows in one group: nothing to compare with.
        let one = Division { by: "file".into(), values: vec!["a".into()], codes: vec![0; 3000] };
        assert_eq!(find(&[one], &findings, 0.05).expect("no slices").tests, 0);
    }
}
