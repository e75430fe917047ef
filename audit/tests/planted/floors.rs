//! The least that an audit must find of each kind, and how much of what it finds must be right.

use std::collections::{BTreeMap, BTreeSet};

use dismax_audit::Kind;

use super::digits::Found;

/// Rows that were planted, by kind; of pairs the later row.
pub type Planted = BTreeMap<Kind, BTreeSet<usize>>;

/// Least precision and recall of each kind. The network decides on unknown images and on labels: of these five
/// trainings found 58 to 84 % and 93 to 100 %, and on another machine a training goes another way. The others are exact
/// up to what the digits look like by nature.
pub const FLOORS: [(Kind, f64, f64); 18] = [
    (Kind::Unknown, 0.7, 0.4),
    (Kind::LabelIssue, 0.7, 0.8),
    (Kind::UnseenLabel, 1.0, 1.0),
    (Kind::Undecodable, 1.0, 1.0),
    (Kind::Truncated, 1.0, 1.0),
    (Kind::Empty, 1.0, 1.0),
    (Kind::MislabelledFormat, 1.0, 1.0),
    (Kind::ExtremeSize, 1.0, 1.0),
    (Kind::ExtremeAspect, 1.0, 1.0),
    (Kind::NearBlack, 1.0, 1.0),
    (Kind::NearWhite, 1.0, 1.0),
    (Kind::NearUniform, 1.0, 1.0),
    (Kind::Blurred, 0.9, 0.9),
    (Kind::Grey, 1.0, 1.0),
    (Kind::ExactDuplicate, 1.0, 1.0),
    (Kind::NearDuplicate, 0.9, 0.9),
    (Kind::Leaked, 1.0, 1.0),
    (Kind::LeakedNear, 0.9, 0.9),
];

/// The floors that findings miss, each with what was reached. `is_aside` says which findings that nobody planted are
/// right all the same, or of no matter: none of these counts.
pub fn missed(found: &[Found], planted: &Planted, is_aside: impl Fn(&Found) -> bool) -> Vec<String> {
    let mut missed = Vec::new();
    for (kind, precision, recall) in FLOORS {
        let planted = &planted[&kind];
        let of_kind = found.iter().filter(|found| found.kind == kind);
        let rows: BTreeSet<usize> =
            of_kind.filter(|found| planted.contains(&found.row) || !is_aside(found)).map(|found| found.row).collect();
        let right = rows.intersection(planted).count() as f64;
        let (of_found, of_planted) = (right / rows.len() as f64, right / planted.len() as f64);
        // Of nothing there is no precision.
        if of_found.is_nan() || of_found < precision {
            missed.push(format!("{kind}: precision {of_found:.2} of {}, not {precision}", rows.len()));
        }
        if of_planted < recall {
            missed.push(format!("{kind}: recall {of_planted:.2} of {}, not {recall}", planted.len()));
        }
    }
    missed
}

#[test]
fn every_kind_has_floors_and_each_can_be_missed() {
    assert_eq!(FLOORS.map(|(kind, ..)| kind), Kind::ALL);
    let planted: Planted = Kind::ALL.into_iter().map(|kind| (kind, BTreeSet::from([1, 2, 3]))).collect();
    let missed = |rows: &[usize]| {
        let of_row = |row: usize| Kind::ALL.map(|kind| Found { kind, row, related: None });
        missed(&rows.iter().copied().flat_map(of_row).collect::<Vec<Found>>(), &planted, |_| false)
    };
    assert!(missed(&[1, 2, 3]).is_empty());
    assert_eq!(missed(&[]).len(), 2 * FLOORS.len(), "nothing found: neither precision nor recall");
    let few = missed(&[1]);
    assert!(few.len() == FLOORS.len() && few.iter().all(|floor| floor.contains("recall 0.33")), "{few:?}");
    let many = missed(&[1, 2, 3, 4, 5, 6]);
    assert!(many.len() == FLOORS.len() && many.iter().all(|floor| floor.contains("precision 0.50")), "{many:?}");
}
