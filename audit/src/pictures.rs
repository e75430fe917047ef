//! Near duplicates among the pictures of a dataset, and between two datasets.

use fast_image_resize::Resizer;

use super::collect::Collected;
use super::duplicates::{HashTable, Neighbour};
use super::likeness::Likeness;
use super::quality;
use super::thumbnails::Thumbnails;
use dismax::cancel::Cancel;
use dismax::error::Result;

/// Pictures between two looks at whether to stop.
const STEP: usize = 256;

/// Rows with pictures that can be told apart: those of one tone all look the same.
pub(super) struct Pictures {
    rows: Vec<u32>,
    table: HashTable,
}

/// A pair that may be near duplicates: the row, the other row, the bits in which they differ.
type NearPair = (u32, u32, u32);

impl Pictures {
    /// Those of `rows`, which ascend.
    pub fn of(collected: &Collected, rows: impl Iterator<Item = u32>) -> Self {
        let look = |row: &u32| collected.row(*row as usize).and_then(|record| record.look);
        let rows: Vec<u32> = rows.filter(|row| look(row).is_some_and(|look| quality::tone(look).is_none())).collect();
        let table = HashTable::new(rows.iter().filter_map(look).map(|look| &look.hash));
        Self { rows, table }
    }

    /// For each row that has a near duplicate among the earlier rows the most similar of these, and the bits in which
    /// they differ.
    pub fn near_each_other(&self, thumbnails: &mut Thumbnails, cancel: &Cancel) -> Result<Vec<NearPair>> {
        let mut candidates = Vec::new();
        for (position, row) in self.rows.iter().enumerate() {
            if position % STEP == 0 {
                cancel.check()?;
            }
            let windows = thumbnails.get(*row as usize)?.windows;
            for Neighbour { bits, position } in self.table.near(&windows, Some(position as u32)) {
                let Some(&other) = self.rows.get(position as usize) else { continue };
                candidates.push(((*row).max(other), bits, (*row).min(other)));
            }
        }
        alike(candidates, thumbnails, None, cancel)
    }

    /// For each row that has a near duplicate in another dataset the most similar of these, and the bits in which they
    /// differ.
    pub fn near_in(
        &self,
        thumbnails: &mut Thumbnails,
        others: &Self,
        other_thumbnails: &mut Thumbnails,
        cancel: &Cancel,
    ) -> Result<Vec<NearPair>> {
        let mut candidates = Vec::new();
        for (position, row) in self.rows.iter().enumerate() {
            if position % STEP == 0 {
                cancel.check()?;
            }
            let windows = thumbnails.get(*row as usize)?.windows;
            let near = others.table.near(&windows, None).into_iter();
            candidates
                .extend(near.filter_map(|near| Some((*row, near.bits, *others.rows.get(near.position as usize)?))));
        }
        // The other dataset's pictures may be the whole ones.
        for (position, other) in others.rows.iter().enumerate() {
            if position % STEP == 0 {
                cancel.check()?;
            }
            let windows = other_thumbnails.get(*other as usize)?.windows;
            let near = self.table.near(&windows, None).into_iter();
            candidates
                .extend(near.filter_map(|near| Some((*self.rows.get(near.position as usize)?, near.bits, *other))));
        }
        alike(candidates, thumbnails, Some(other_thumbnails), cancel)
    }
}

/// The first candidate of each row, fewest bits first, whose thumbnails show the same picture. `candidates` are row,
/// bits, other row.
fn alike(
    mut candidates: Vec<(u32, u32, u32)>,
    thumbnails: &mut Thumbnails,
    mut others: Option<&mut Thumbnails>,
    cancel: &Cancel,
) -> Result<Vec<NearPair>> {
    candidates.sort_unstable();
    candidates.dedup();
    let mut resizer = Resizer::new();
    let mut likeness = |thumbnails: &mut Thumbnails, row: u32| -> Result<Option<Likeness>> {
        let jpeg = thumbnails.get(row as usize)?.jpeg;
        Ok(jpeg.and_then(|jpeg| Likeness::new(&jpeg, &mut resizer)))
    };
    let mut found = Vec::new();
    for (number, of_row) in candidates.chunk_by(|a, b| a.0 == b.0).enumerate() {
        if number % STEP == 0 {
            cancel.check()?;
        }
        let Some(&(row, ..)) = of_row.first() else { continue };
        let Some(own) = likeness(thumbnails, row)? else { continue };
        for &(_, bits, other) in of_row {
            let of_other = match &mut others {
                Some(others) => likeness(others, other)?,
                None => likeness(thumbnails, other)?,
            };
            if of_other.is_some_and(|of_other| own.is_like(&of_other)) {
                found.push((row, other, bits));
                break;
            }
        }
    }
    Ok(found)
}
