//! Sets of rows that show one image.

use std::collections::{BTreeMap, HashMap};

use petgraph::unionfind::UnionFind;

use crate::revisit::Place;

/// The sets that pairs form: rows are of one set where a chain of pairs leads from one to the other. Each set is in the
/// order of the dataset, the sets in that of their first rows.
pub(super) fn sets(pairs: &[(Place, Place)]) -> Vec<Vec<Place>> {
    let mut numbers: HashMap<Place, u32> = HashMap::new();
    let mut places = Vec::new();
    let mut number = |place: Place| {
        *numbers.entry(place).or_insert_with(|| {
            places.push(place);
            places.len() as u32 - 1
        })
    };
    let pairs: Vec<(u32, u32)> = pairs.iter().map(|(one, other)| (number(*one), number(*other))).collect();
    let mut found = UnionFind::<u32>::new(places.len());
    for (one, other) in pairs {
        found.union(one, other);
    }
    let mut sets: BTreeMap<u32, Vec<Place>> = BTreeMap::new();
    for (representative, place) in found.into_labeling().into_iter().zip(places) {
        sets.entry(representative).or_default().push(place);
    }
    let mut sets: Vec<Vec<Place>> = sets.into_values().collect();
    sets.iter_mut().for_each(|set| set.sort_unstable());
    sets.sort_unstable();
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_one_set() {
        let place = |(file, row)| Place { file, row };
        let pair = |one, other| (place(one), place(other));
        // 0:5 - 0:1 - 1:0, and 1:9 - 1:2.
        let found = sets(&[pair((1, 9), (1, 2)), pair((0, 5), (0, 1)), pair((1, 0), (0, 1)), pair((1, 0), (0, 5))]);
        let expected = [vec![(0, 1), (0, 5), (1, 0)], vec![(1, 2), (1, 9)]];
        assert_eq!(found, expected.map(|set| set.into_iter().map(place).collect::<Vec<_>>()));
        assert!(sets(&[]).is_empty());
    }
}
