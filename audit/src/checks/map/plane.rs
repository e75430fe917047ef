//! From directions to whole numbers on a plane, and points as SVG paths.

use std::fmt::Write as _;

use crate::view::MAP_SIZE;

/// Room on each side.
const MARGIN: f64 = 16.0;
/// Share of the points at each end of a direction that may lie far out without making the rest small.
const FAR: f64 = 0.005;
/// How far beyond those the plane reaches, as a share of what lies between.
const BEYOND: f64 = 0.15;

/// Points on the plane, rightwards and downwards, and how many of them lie at its edge because they are farther out.
pub(super) fn place(points: &[[f64; 2]]) -> (Vec<(u32, u32)>, usize) {
    let ranges = [0, 1].map(|direction| {
        let mut values: Vec<f64> = points.iter().map(|point| point[direction]).collect();
        values.sort_by(f64::total_cmp);
        range(&values)
    });
    let mut outside = 0;
    let places = points.iter().map(|point| {
        let share = |direction: usize| {
            let (low, high) = ranges[direction];
            if high > low { (point[direction] - low) / (high - low) } else { 0.5 }
        };
        let (x, y) = (share(0), share(1));
        outside += usize::from([x, y].iter().any(|share| !(0.0..=1.0).contains(share)));
        let along = |share: f64, length: u32| {
            (MARGIN + share.clamp(0.0, 1.0) * (f64::from(length) - 2.0 * MARGIN)).round() as u32
        };
        (along(x, MAP_SIZE.0), along(1.0 - y, MAP_SIZE.1))
    });
    let places = places.collect();
    (places, outside)
}

/// From where to where the plane reaches; `values` ascend.
fn range(values: &[f64]) -> (f64, f64) {
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return (0.0, 0.0) };
    let far = (FAR * values.len() as f64) as usize;
    let (low, high) = (values[far], values[values.len() - 1 - far]);
    let room = BEYOND * (high - low);
    ((low - room).max(first), (high + room).min(last))
}

/// Symbols of which no two are alike: five shapes, in the seven colours of the page.
pub(super) const SYMBOLS: usize = 35;

/// Points as one path in the shape of a symbol. Without one they are small and round.
pub(super) fn path(symbol: Option<usize>, points: impl IntoIterator<Item = (i64, i64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        let drawn = match symbol.map(|symbol| symbol % 5) {
            // A line of no length with round ends.
            None => write!(path, "M{x} {y}h0"),
            Some(0) => write!(path, "M{} {y}a7 7 0 1 0 14 0a7 7 0 1 0-14 0z", x - 7),
            Some(1) => write!(path, "M{} {}h12v12h-12z", x - 6, y - 6),
            Some(2) => write!(path, "M{x} {}l8 14h-16z", y - 8),
            Some(3) => write!(path, "M{x} {}l9 9l-9 9l-9-9z", y - 9),
            Some(_) => write!(path, "M{x} {}l8-14h-16z", y + 8),
        };
        drawn.expect("writing to a String does no I/O");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_fill_the_plane_and_upwards_is_up() {
        let (places, outside) = place(&[[0.0, 0.0], [1.0, 5.0], [2.0, 10.0]]);
        assert_eq!(places, [(16, 864), (720, 440), (1424, 16)]);
        assert_eq!(outside, 0);
        assert_eq!(place(&[[3.0, 4.0]]).0, [(720, 440)], "one point lies in the middle");
        assert!(place(&[]).0.is_empty());
    }

    #[test]
    fn a_point_far_out_does_not_make_the_rest_small() {
        let mut points: Vec<[f64; 2]> = (0..400).map(|n| [f64::from(n), f64::from(n % 20)]).collect();
        points.push([1e6, 3.0]);
        let (places, outside) = place(&points);
        assert_eq!((outside, places[400].0), (1, 1424), "it lies at the edge");
        assert!(places[399].0 - places[0].0 > 1200, "{:?}", places[399]);
    }

    #[test]
    fn symbols_of_one_colour_have_different_shapes() {
        for colour in 0..7 {
            let mut paths: Vec<String> = (0..5).map(|n| path(Some(colour + 7 * n), [(100, 100)])).collect();
            paths.sort();
            paths.dedup();
            assert_eq!(paths.len(), 5);
        }
        assert_eq!(path(Some(1), [(10, 10), (20, 30)]), "M4 4h12v12h-12zM14 24h12v12h-12z");
    }
}
