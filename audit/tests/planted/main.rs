//! Known problems planted among handwritten digits, and how many of them an audit finds: a floor for each kind, of rows
//! and of the dataset as a whole. `benches/audit` does the same with more images.

mod digits;
mod floors;
mod rows;
mod whole;

/// One network serves both.
#[test]
fn what_is_planted_is_found() {
    let lab = digits::Lab::open();
    rows::check(&lab);
    whole::check(&lab);
}
