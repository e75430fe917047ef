//! Pictures that differ, and what an audit found of them.

use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use dismax::dataset::Dataset;
use dismax_audit::Kind;
use image::imageops::FilterType;
use image::{ImageFormat, RgbImage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A picture of soft spots that the seed decides, moved by some of its 40 pixels.
pub fn picture(seed: u64, moved: u32) -> RgbImage {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let spots = RgbImage::from_fn(9, 8, |_, _| image::Rgb(rng.random()));
    let whole = image::imageops::resize(&spots, 45, 40, FilterType::CatmullRom);
    image::imageops::crop_imm(&whole, moved, 0, 40, 40).to_image()
}

pub fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

/// Rows of a kind with the rows they are related to, ascending.
pub fn pairs(out: &Path, kind: Kind) -> Vec<(u64, u64)> {
    let dataset = Dataset::open(&[out.join("findings.parquet").display().to_string()]).expect("a table");
    let mut pairs = Vec::new();
    for chunk in dataset.read(1000, None).expect("rows") {
        let batch = chunk.expect("rows").record_batch;
        let kinds = batch["kind"].as_string::<i32>().iter();
        let rows = batch["row"].as_primitive::<UInt64Type>().iter();
        let related = batch["related_row"].as_primitive::<UInt64Type>().iter();
        for ((_, row), related) in kinds.zip(rows).zip(related).filter(|((of, _), _)| *of == Some(kind.name())) {
            pairs.push(row.zip(related).expect("a pair"));
        }
    }
    pairs.sort_unstable();
    pairs
}
