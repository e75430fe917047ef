//! Rows divided by file, row group and the columns that were asked for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::collect::Collected;

/// Rows that a group has at least to be compared with the reference or to have its calibration looked at.
pub(crate) const MIN_GROUP_ROWS: u64 = 30;
/// Most groups of a column that are looked at: the largest.
pub(crate) const MAX_GROUPS: usize = 100;

/// Rows divided by file, row group or a column.
pub(crate) struct Division {
    pub by: String,
    pub values: Vec<String>,
    pub codes: Vec<u32>,
}

/// Files where there are several, row groups where there are several, and the columns that were asked for.
pub(crate) fn divisions(collected: &Collected, row_groups: &HashMap<Arc<str>, Vec<u64>>) -> Vec<Division> {
    let rows = collected.len();
    let (mut files, mut groups) = (Vec::new(), Vec::new());
    let (mut file_codes, mut group_codes) = (Vec::new(), Vec::new());
    for (number, (file, first)) in collected.files().iter().enumerate() {
        let end = collected.files().get(number + 1).map_or(rows, |(_, next)| *next);
        files.push(file.to_string());
        file_codes.resize(end, number as u32);
        let mut at = *first;
        for (group, count) in row_groups.get(file).into_iter().flatten().enumerate() {
            at = at.saturating_add(usize::try_from(*count).unwrap_or(usize::MAX)).min(end);
            group_codes.resize(at, groups.len() as u32);
            groups.push(format!("{file}, row group {group}"));
        }
        // What no footer tells of is one group.
        if at < end {
            group_codes.resize(end, groups.len() as u32);
            groups.push(file.to_string());
        }
    }
    let mut divisions = Vec::new();
    if groups.len() > files.len() {
        divisions.push(Division { by: "row group".into(), values: groups, codes: group_codes });
    }
    if files.len() > 1 {
        divisions.insert(0, Division { by: "file".into(), values: files, codes: file_codes });
    }
    divisions.extend(collected.groups.iter().map(|groups| Division {
        by: groups.name.clone(),
        values: groups.values.clone(),
        codes: groups.codes.clone(),
    }));
    divisions
}

impl Division {
    /// The group of a row.
    pub fn code(&self, row: u32) -> usize {
        self.codes[row as usize] as usize
    }

    /// The largest groups of at least [`MIN_GROUP_ROWS`] rows, given the rows that count in each: position and rows,
    /// largest first.
    pub fn largest(&self, counts: impl IntoIterator<Item = u64>) -> Vec<(usize, u64)> {
        let mut large: Vec<(usize, u64)> =
            counts.into_iter().enumerate().filter(|(_, rows)| *rows >= MIN_GROUP_ROWS).collect();
        large.sort_by_key(|(code, rows)| (std::cmp::Reverse(*rows), *code));
        large.truncate(MAX_GROUPS);
        large
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_groups_come_first_and_small_ones_not_at_all() {
        let division = Division { by: "file".into(), values: Vec::new(), codes: vec![2, 0] };
        assert_eq!(division.largest([30, 29, 50, 50, 0]), [(2, 50), (3, 50), (0, 30)]);
        assert_eq!(division.largest(vec![31; 200]).len(), MAX_GROUPS);
        assert_eq!((division.code(0), division.code(1)), (2, 0));
    }
}
