//! Near duplicates among the pictures of a dataset, and between two datasets.

use fast_image_resize::Resizer;

use super::collect::{Collected, Look};
use super::hash_table::{HashTable, Neighbour};
use super::likeness::Likeness;
use super::parallel::in_steps;
use super::quality;
use super::thumbnails::Thumbnails;
use dismax::cancel::Cancel;
use dismax::error::Result;

/// Pictures that ask at a time: their windows take 8 MiB.
const ASKED: usize = 16_384;

/// Pixels that the shorter side of a picture has at least: fewer than are compared. Of less, hashes and thumbnails tell
/// mostly what lies between the pixels, and digits of 8 x 8 pixels that one hand wrote are like copies.
const MIN_SIDE: u32 = 16;

/// Rows with pictures that can be told apart: those of one tone all look the same, and so do many of very few pixels.
pub(super) struct Pictures {
    rows: Vec<u32>,
    table: HashTable,
}

/// A row, another, and the bits in which they differ: the other row last for pairs that may be near duplicates, the
/// bits last for those that are.
type NearPair = (u32, u32, u32);

impl Pictures {
    /// Those of `rows`, which ascend.
    pub fn of(collected: &Collected, rows: impl Iterator<Item = u32>) -> Self {
        let look = |row: &u32| collected.row(*row as usize).and_then(|record| record.look);
        let can_be_told = |look: &Look| look.width.min(look.height) >= MIN_SIDE && quality::tone(look).is_none();
        let rows: Vec<u32> = rows.filter(|row| look(row).is_some_and(can_be_told)).collect();
        let table = HashTable::new(rows.iter().filter_map(look).map(|look| &look.hash));
        Self { rows, table }
    }

    /// For each row that has a near duplicate among the earlier rows the most similar of these, and the bits in which
    /// they differ.
    pub fn near_each_other(&self, thumbnails: &Thumbnails, cancel: &Cancel) -> Result<Vec<NearPair>> {
        let near = |(row, Neighbour { bits, position }): (u32, Neighbour)| {
            let other = *self.rows.get(position as usize)?;
            Some((row.max(other), bits, row.min(other)))
        };
        let found = self.look_for_own(&self.table, true, thumbnails, cancel)?;
        alike(found.into_iter().filter_map(near).collect(), thumbnails, thumbnails, cancel)
    }

    /// For each row that has a near duplicate in another dataset the most similar of these, and the bits in which they
    /// differ.
    pub fn near_in(
        &self,
        thumbnails: &Thumbnails,
        others: &Self,
        other_thumbnails: &Thumbnails,
        cancel: &Cancel,
    ) -> Result<Vec<NearPair>> {
        let found = self.look_for_own(&others.table, false, thumbnails, cancel)?;
        let near = |(row, near): (u32, Neighbour)| Some((row, near.bits, *others.rows.get(near.position as usize)?));
        let mut candidates: Vec<_> = found.into_iter().filter_map(near).collect();
        // The other dataset's pictures may be the whole ones.
        let found = others.look_for_own(&self.table, false, other_thumbnails, cancel)?;
        let near = |(other, near): (u32, Neighbour)| Some((*self.rows.get(near.position as usize)?, near.bits, other));
        candidates.extend(found.into_iter().filter_map(near));
        alike(candidates, thumbnails, other_thumbnails, cancel)
    }

    /// The rows of these pictures with what is near to their windows in `table`; without themselves where it `is_own`.
    fn look_for_own(
        &self,
        table: &HashTable,
        is_own: bool,
        thumbnails: &Thumbnails,
        cancel: &Cancel,
    ) -> Result<Vec<(u32, Neighbour)>> {
        let mut found = Vec::new();
        for (batch, rows) in self.rows.chunks(ASKED).enumerate() {
            let asked = in_steps(rows.len(), cancel, |positions, asked| {
                for position in positions {
                    let windows = thumbnails.windows(rows[position] as usize)?;
                    asked.extend(windows.into_iter().map(|window| ((batch * ASKED + position) as u32, window)));
                }
                Ok(())
            })?;
            let near = table.near(&asked, is_own, cancel)?;
            found.extend(near.into_iter().map(|(position, near)| (self.rows[position as usize], near)));
        }
        Ok(found)
    }
}

/// The first candidate of each row, fewest bits first, whose thumbnails show the same picture. `candidates` are row,
/// bits, other row.
fn alike(
    mut candidates: Vec<NearPair>,
    thumbnails: &Thumbnails,
    others: &Thumbnails,
    cancel: &Cancel,
) -> Result<Vec<NearPair>> {
    candidates.sort_unstable();
    candidates.dedup();
    let by_row: Vec<&[NearPair]> = candidates.chunk_by(|a, b| a.0 == b.0).collect();
    in_steps(by_row.len(), cancel, |groups, found| {
        let mut resizer = Resizer::new();
        let likeness = |thumbnails: &Thumbnails, row: u32| -> Result<Option<Likeness>> {
            let (jpeg, windows) = (thumbnails.jpeg(row as usize)?, thumbnails.windows(row as usize)?);
            Ok(jpeg.and_then(|jpeg| Likeness::new(&jpeg, windows)))
        };
        for of_row in by_row.get(groups).unwrap_or_default() {
            let Some(&(row, ..)) = of_row.first() else { continue };
            let Some(own) = likeness(thumbnails, row)? else { continue };
            for &(_, bits, other) in *of_row {
                if likeness(others, other)?.is_some_and(|of_other| own.is_like(&of_other, &mut resizer)) {
                    found.push((row, other, bits));
                    break;
                }
            }
        }
        Ok(())
    })
}
