//! Datasets into files of embeddings.

mod common;

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Float32Type};
use common::models;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use dismax::embed_file::{EmbedOptions, EmbedSummary, embed_to};
use dismax::error::{Error, Result};
use dismax::run::Run;
use dismax::stage::{Stage, StageOptions, WithFeatures};
use image::{ImageFormat, RgbImage};

/// Rows of a label, an image and a number; some images are broken, one is missing.
fn dataset(folder: &std::path::Path) -> String {
    let image = |row: i64| -> Option<Vec<u8>> {
        match row {
            3 => None,
            7 => Some(b"no image".to_vec()),
            _ => {
                let data = (0..8 * 8 * 3).map(|at| (at * 7 + row * 31) as u8).collect();
                let mut png = Cursor::new(Vec::new());
                let pixels = RgbImage::from_raw(8, 8, data).expect("8x8 pixels");
                pixels.write_to(&mut png, ImageFormat::Png).expect("a PNG");
                Some(png.into_inner())
            }
        }
    };
    let images: BinaryArray = (0..100).map(image).collect();
    let numbers = |by: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..100).map(|row| row * by))) };
    let columns = [("label", numbers(1)), ("image", Arc::new(images) as ArrayRef), ("weight", numbers(3))];
    let rows = RecordBatch::try_from_iter(columns).expect("columns");
    let path = folder.join("rows.parquet").display().to_string();
    let mut writer = DatasetWriter::create(&path, &rows.schema(), &WriteOptions::default()).expect("a file");
    writer.write(&rows).expect("rows");
    writer.finish().expect("a file");
    path
}

fn embed(stage: &Stage, input: &str, output: &str, options: &EmbedOptions) -> Result<EmbedSummary> {
    let dataset = Dataset::open(&[input])?;
    embed_to(stage, &dataset, output, options, &mut Run { cancel: Cancel::default(), progress: &mut |_| {} })
}

fn read(path: &str) -> RecordBatch {
    let chunks = Dataset::open(&[path]).expect("a file").read(1000, None).expect("rows");
    let batches: Vec<RecordBatch> = chunks.map(|chunk| chunk.expect("rows").record_batch).collect();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("one schema")
}

#[test]
fn images_give_way_to_what_the_network_makes_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = dataset(folder.path());
    // A network without calibration is enough.
    let stage = Stage::try_new(models::uncalibrated(), &StageOptions::default()).expect("a stage");
    let output = folder.path().join("embeddings.parquet").display().to_string();
    let summary = embed(&stage, &input, &output, &EmbedOptions::default()).expect("embedded");
    assert_eq!((summary.rows, summary.embedded, summary.failed, summary.dimensions), (100, 98, 2, 64));
    assert_eq!(summary.errors.keys().collect::<Vec<_>>(), ["null_image", "unknown_format"]);

    let rows = read(&output);
    let schema = rows.schema();
    assert_eq!(
        schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["label", "weight", "embedding", "error"]
    );
    assert!(schema.metadata().contains_key("dismax.model_digest"));
    assert_eq!(schema.field(3).data_type(), &DataType::Utf8);
    let weights = rows.column(1).as_primitive::<arrow::datatypes::Int64Type>();
    assert!((0..100).all(|row| weights.value(row) == 3 * row as i64), "rows keep their order");

    // Row by row what the stage gives.
    let embeddings = rows.column(2).as_fixed_size_list();
    let (values, errors) = (embeddings.values().as_primitive::<Float32Type>().values(), rows.column(3));
    let dataset = Dataset::open(&[&input]).expect("rows");
    let scan = stage.scan_observed(&dataset, None, Cancel::default(), Arc::new(WithFeatures));
    let mut row = 0;
    for scored in scan.expect("a scan") {
        let (_, scored) = scored.expect("scored");
        for at in 0..scored.rows().len() {
            let features = scored.output(at).ok().and_then(|output| output.features);
            assert_eq!(
                (embeddings.is_valid(row), errors.is_null(row)),
                (features.is_some(), features.is_some()),
                "{row}"
            );
            if let Some(features) = features {
                assert_eq!(values[row * 64..(row + 1) * 64], features[features.len() - 64..], "{row}");
            }
            row += 1;
        }
    }
    assert_eq!(row, 100);
}

#[test]
fn images_stay_on_request_and_nothing_is_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = dataset(folder.path());
    let stage = Stage::try_new(models::uncalibrated(), &StageOptions::default()).expect("a stage");
    let output = folder.path().join("embeddings.parquet").display().to_string();
    let prefixed = EmbedOptions { prefix: "net_".into(), keep_images: true, ..EmbedOptions::default() };
    embed(&stage, &input, &output, &prefixed).expect("embedded");
    let (rows, before) = (read(&output), read(&input));
    assert_eq!(rows.column_by_name("image"), before.column_by_name("image"));
    assert!(rows.column_by_name("net_embedding").is_some() && rows.column_by_name("net_error").is_some());

    let over = EmbedOptions { write: WriteOptions { overwrite: true, ..WriteOptions::default() }, ..prefixed.clone() };
    let again = embed(&stage, &output, &folder.path().join("again.parquet").display().to_string(), &prefixed);
    assert!(matches!(again, Err(Error::ColumnTaken { ref name }) if name == "net_embedding"), "{again:?}");
    let exists = embed(&stage, &input, &output, &prefixed);
    assert!(matches!(exists, Err(Error::OutputExists { .. })), "{exists:?}");
    let itself = embed(&stage, &input, &input, &over);
    assert!(matches!(itself, Err(Error::OutputIsInput { .. })), "{itself:?}");
    assert_eq!(read(&input), before);
    embed(&stage, &input, &output, &over).expect("written over on request");
}
