//! Slices: groups of rows in which findings pile up.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::stats_tests::{Alternative, fishers_exact};

use super::kind::Kind;
use dismax::calibration::{Estimate, benjamini_hochberg};
use dismax::error::{Error, Result};
use dismax::metrics::share_interval;

/// Confidence level of intervals.
const LEVEL: f64 = 0.95;
/// Expected rows in each cell from which the normal approximation is good enough.
const ENOUGH: f64 = 10.0;
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

/// One way to divide rows: the value of each group and the group of each row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Division<'a> {
    pub by: &'a str,
    pub values: &'a [String],
    pub codes: &'a [u32],
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
pub(super) fn find(divisions: &[Division], findings: &[(u32, Kind)], fdr: f64) -> Result<SliceFigures> {
    let mut candidates = Vec::new();
    for (number, division) in divisions.iter().enumerate() {
        let mut rows = vec![0u64; division.values.len()];
        for code in division.codes {
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
            by: division.by.to_owned(),
            value: division.values.get(group).cloned().unwrap_or_default(),
            kind,
            rows,
            findings,
            rate: Estimate { value: findings as f64 / rows as f64, interval: share_interval(findings, rows, LEVEL)? },
            rate_elsewhere: elsewhere.0 as f64 / elsewhere.1 as f64,
            p_value,
        });
    }
    Ok(SliceFigures { by: divisions.iter().map(|division| division.by.to_owned()).collect(), tests, slices, found })
}

/// One-sided p-value of `hits` of `rows` being more than `other_hits` of `other_rows` by chance.
fn more_than_elsewhere(hits: u64, rows: u64, other_hits: u64, other_rows: u64) -> Result<f64> {
    let (n, m) = (rows as f64, other_rows as f64);
    let pooled = (hits + other_hits) as f64 / (n + m);
    if n.min(m) * pooled.min(1.0 - pooled) >= ENOUGH {
        let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
        let z = (hits as f64 / n - other_hits as f64 / m) / error;
        return Ok(Normal::standard().sf(z).clamp(0.0, 1.0));
    }
    // No more than expected: the exact test need not be asked.
    if hits as f64 <= pooled * n {
        return Ok(1.0);
    }
    let table = [hits, rows - hits, other_hits, other_rows - other_hits];
    let p_value = fishers_exact(&table, Alternative::Greater)
        .map_err(|error| Error::Internal(format!("Fisher's exact test of {table:?}: {error}")))?;
    Ok(p_value.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_of_known_tables() {
        // R: fisher.test(matrix(c(3, 1, 2, 20), 2), alternative = "greater"): 0.0146 (1 / 68.6 of the hypergeometric
        // tail).
        let exact = more_than_elsewhere(3, 5, 1, 21).expect("a table");
        // P(X >= 3) with 4 hits among 26 rows, 5 drawn: (C(4,3) C(22,2) + C(4,4) C(22,1)) / C(26,5).
        let expected = (4.0 * 231.0 + 22.0) / 65_780.0;
        assert!((exact - expected).abs() < 1e-9, "{exact} instead of {expected}");
        // z = (0.2 - 0.1) / sqrt(0.15 * 0.85 * 2 / 400) = 3.9606: p = 3.74e-5.
        let normal = more_than_elsewhere(80, 400, 40, 400).expect("a table");
        assert!((normal / 3.74e-5 - 1.0).abs() < 0.01, "{normal}");
        assert_eq!(more_than_elsewhere(0, 5, 4, 21).expect("a table"), 1.0);
    }

    #[test]
    fn a_bad_group_is_found_and_no_other() {
        let values = ["a", "b", "c"].map(String::from);
        let codes: Vec<u32> = (0..3000).map(|row| row / 1000).collect();
        let division = Division { by: "camera", values: &values, codes: &codes };
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
        let one = Division { by: "file", values: &values[..1], codes: &vec![0; 3000] };
        assert_eq!(find(&[one], &findings, 0.05).expect("no slices").tests, 0);
    }
}
