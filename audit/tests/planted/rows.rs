//! Problems of single rows.

use dismax_audit::Kind;
use image::imageops::FilterType;
use image::{ImageFormat, Rgb, RgbImage};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::digits::{Found, Lab, Row, SIDE, decoded, encoded, grey, png, read};
use super::floors::{Planted, missed};

/// Rows of each kind that are planted among the 361 test digits. Pairs take two rows.
const COUNTS: [(Kind, usize); 18] = [
    (Kind::Unknown, 45),
    (Kind::LabelIssue, 15),
    (Kind::UnseenLabel, 5),
    (Kind::Undecodable, 4),
    (Kind::Truncated, 4),
    (Kind::Empty, 4),
    (Kind::MislabelledFormat, 5),
    (Kind::ExtremeSize, 4),
    (Kind::ExtremeAspect, 4),
    (Kind::NearBlack, 4),
    (Kind::NearWhite, 4),
    (Kind::NearUniform, 4),
    (Kind::Blurred, 5),
    (Kind::Grey, 5),
    (Kind::ExactDuplicate, 8),
    (Kind::NearDuplicate, 8),
    (Kind::Leaked, 6),
    (Kind::LeakedNear, 6),
];

/// A picture of one tone, up to a little noise that makes it another one each time.
fn tone(value: u8, random: &mut ChaCha8Rng) -> Vec<u8> {
    png(&RgbImage::from_fn(SIDE, SIDE, |_, _| {
        let value = value.saturating_add(random.random_range(0..3));
        Rgb([value, value, value])
    }))
}

/// The same picture, a little brighter and encoded again as JPEG.
fn nearly(row: &Row) -> Vec<u8> {
    let mut picture = decoded(row);
    picture.pixels_mut().flat_map(|pixel| &mut pixel.0).for_each(|value| *value = value.saturating_add(9));
    encoded(&picture, ImageFormat::Jpeg)
}

fn resized(row: &Row, width: u32, height: u32) -> Vec<u8> {
    png(&image::imageops::resize(&decoded(row), width, height, FilterType::Triangle))
}

/// The test digits with problems of all kinds, each row with one at most.
fn planted(random: &mut ChaCha8Rng) -> (Vec<Row>, Planted) {
    let mut rows = read("test");
    let grey: Vec<RgbImage> = grey("test").into_iter().map(|(picture, _)| picture).collect();
    let (unseen, reference) = (read("unseen"), read("train"));
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.shuffle(random);
    let mut next = order.into_iter();
    let mut planted = Planted::new();
    for (kind, count) in COUNTS {
        for number in 0..count {
            let mut at = next.next().expect("enough rows");
            let whole = rows[at].image.clone().expect("a digit");
            match kind {
                Kind::Unknown => rows[at].image.clone_from(&unseen[7 * number].image),
                Kind::LabelIssue => {
                    let label: usize = rows[at].label.parse().expect("a digit");
                    rows[at].label = ((label + 1 + number % 7) % 8).to_string();
                }
                Kind::UnseenLabel => rows[at].label = "ten".into(),
                Kind::Undecodable => rows[at].image = Some((0..whole.len()).map(|_| random.random()).collect()),
                Kind::Truncated => rows[at].image = Some(whole[..whole.len() / 2].to_vec()),
                Kind::Empty => rows[at].image = (number % 2 == 0).then(Vec::new),
                Kind::MislabelledFormat => rows[at].name = format!("{number}.jpg"),
                Kind::ExtremeSize => rows[at].image = Some(resized(&rows[at], 200, 200)),
                Kind::ExtremeAspect => rows[at].image = Some(resized(&rows[at], 12, 60)),
                Kind::NearBlack => rows[at].image = Some(tone(0, random)),
                Kind::NearWhite => rows[at].image = Some(tone(252, random)),
                Kind::NearUniform => rows[at].image = Some(tone(120, random)),
                Kind::Blurred => {
                    let small = image::imageops::resize(&decoded(&rows[at]), 3, 3, FilterType::Triangle);
                    rows[at].image = Some(png(&image::imageops::resize(&small, SIDE, SIDE, FilterType::CatmullRom)));
                }
                Kind::Grey => rows[at].image = Some(png(&grey[at])),
                Kind::ExactDuplicate | Kind::NearDuplicate => {
                    let other = next.next().expect("enough rows");
                    let (first, second) = (at.min(other), at.max(other));
                    let image = if kind == Kind::ExactDuplicate {
                        rows[first].image.clone()
                    } else {
                        Some(nearly(&rows[first]))
                    };
                    let name =
                        if kind == Kind::ExactDuplicate { rows[first].name.clone() } else { format!("{second}.jpg") };
                    rows[second] = Row { image, name, ..rows[first].clone() };
                    at = second;
                }
                Kind::Leaked => rows[at] = reference[11 * number].clone(),
                _ => {
                    let source = &reference[11 * number + 5];
                    rows[at] = Row { image: Some(nearly(source)), name: format!("{number}.jpg"), ..source.clone() };
                }
            }
            planted.entry(kind).or_default().insert(at);
        }
    }
    (rows, planted)
}

/// What is planted is found.
pub fn check(lab: &Lab) {
    let truth: Vec<String> = read("test").into_iter().map(|row| row.label).collect();
    let reference: Vec<String> = read("train").into_iter().map(|row| row.label).collect();
    let (rows, planted) = planted(&mut ChaCha8Rng::seed_from_u64(3));
    let (_, found) = lab.audit(&rows, None);
    let is_planted = |row: usize, kinds: &[Kind]| kinds.iter().any(|kind| planted[kind].contains(&row));
    let digit = |row: usize| {
        if is_planted(row, &[Kind::NearDuplicate, Kind::ExactDuplicate]) { &rows[row].label } else { &truth[row] }
    };
    let is_aside = |found: &Found| match found.kind {
        // What is planted as unknown, and what shows nothing, carries the label of a digit.
        Kind::LabelIssue => {
            is_planted(found.row, &[Kind::Unknown, Kind::NearBlack, Kind::NearWhite, Kind::NearUniform])
        }
        // What is blurred, stretched or without the lamp's colour is unlike the training images as well.
        Kind::Unknown => is_planted(found.row, &[Kind::Blurred, Kind::ExtremeAspect, Kind::Grey]),
        // What is enlarged has no sharp edges.
        Kind::Blurred => is_planted(found.row, &[Kind::ExtremeSize, Kind::ExtremeAspect]),
        // Two of a digit can look alike, and of blurred ones all do.
        Kind::NearDuplicate => found.related.is_some_and(|related| {
            digit(found.row) == digit(related) || is_planted(found.row, &[Kind::Blurred, Kind::Unknown])
        }),
        Kind::LeakedNear => found.related.is_some_and(|related| *digit(found.row) == reference[related]),
        _ => false,
    };
    let missed = missed(&found, &planted, is_aside);
    assert!(missed.is_empty(), "{missed:#?}");
}
