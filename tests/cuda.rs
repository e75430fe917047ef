//! A GPU's scores beside the CPU's. Each test says that it is skipped where there is no GPU.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use dismax::Device;
use dismax::dataset::{Dataset, Image, ImageColumn, Images};
use dismax::model::Model;
use dismax::stage::{Stage, StageOptions};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// What is kept of a row: class, flag, probabilities.
type Row = (usize, bool, Vec<f32>);

fn gpu() -> Option<Device> {
    let device = Device::Cuda(0);
    match device.resolve() {
        Ok(_) => Some(device),
        // A machine that is there to prove the GPU path must not pass by skipping it.
        Err(reason) => {
            assert!(std::env::var_os("DISMAX_REQUIRE_CUDA").is_none(), "{reason}");
            println!("skipped: {reason}");
            None
        }
    }
}

fn model() -> Model {
    let ours = || Path::new(env!("CARGO_MANIFEST_DIR")).join("models/cifar10-resnet20");
    Model::read(std::env::var_os("DISMAX_MODEL").map_or_else(ours, Into::into)).expect("the model of this repository")
}

/// CIFAR-10's test set where `DISMAX_CIFAR10_TEST` names its Parquet file, else drawn images.
fn images(rows: usize) -> Vec<Images> {
    if let Ok(file) = std::env::var("DISMAX_CIFAR10_TEST") {
        let data = Dataset::open(&[file.as_str()]).expect("the file");
        let column = data.image_column(None).expect("its image column");
        let chunks = data.read(rows, None).expect("its rows");
        return chunks.map(|chunk| column.images(&chunk.expect("its rows")).expect("images")).collect();
    }
    let pictures = (0..1000u32).map(|seed| {
        let value =
            |x: u32, y: u32, c: u32| ((x * (seed % 13 + 1) + y * (seed % 7 + c) + seed * 29 + c * 71) % 256) as u8;
        let pixels: Vec<u8> = (0..32 * 32 * 3).map(|index| value(index / 3 % 32, index / 96, index % 3)).collect();
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes).write_image(&pixels, 32, 32, ExtendedColorType::Rgb8).expect("a PNG");
        bytes
    });
    let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(pictures));
    let record_batch = RecordBatch::try_from_iter([("image", array)]).expect("a record batch");
    let column = ImageColumn::find(&record_batch.schema(), None).expect("its image column");
    vec![column.images_in(&record_batch).expect("images")]
}

fn scores(device: Device, batch_rows: usize) -> Vec<Row> {
    let model = model();
    let stage =
        Stage::try_new(model, &StageOptions { device, batch_rows, ..StageOptions::default() }).expect("a stage");
    let calibration = stage.model().calibration().expect("a calibrated model").clone();
    let mut rows = Vec::new();
    for scored in stage.score(images(512).into_iter().map(|images| Ok((images, ())))) {
        let (_, scored) = scored.expect("scores");
        for row in 0..scored.rows().len() {
            let mut probabilities = vec![0.0; stage.model().classes().len()];
            let (scores, verdict) =
                calibration.apply(scored.output(row).expect("logits"), &mut probabilities).expect("a score");
            rows.push((scores.class, verdict.is_ood, probabilities));
        }
    }
    rows
}

#[test]
fn scores_agree_with_the_cpus() {
    let Some(device) = gpu() else { return };
    let (cpu, gpu) = (scores(Device::Cpu, 0), scores(device, 0));
    assert_eq!(cpu.len(), gpu.len());
    let share = |agree: &dyn Fn(&Row, &Row) -> bool| {
        cpu.iter().zip(&gpu).filter(|(a, b)| agree(a, b)).count() as f64 / cpu.len() as f64
    };
    let predictions = share(&|a, b| a.0 == b.0);
    let flags = share(&|a, b| a.1 == b.1);
    let worst =
        cpu.iter().zip(&gpu).flat_map(|(a, b)| a.2.iter().zip(&b.2)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{} rows: predictions {predictions:.4}, flags {flags:.4}, largest difference {worst:.4}", cpu.len());
    assert!(predictions >= 0.999 && flags >= 0.995 && worst <= 1e-2);
}

#[test]
fn the_size_of_batches_does_not_change_predictions() {
    let Some(device) = gpu() else { return };
    let (small, large) = (scores(device, 32), scores(device, 512));
    let agree = small.iter().zip(&large).filter(|(a, b)| a.0 == b.0).count();
    assert!(agree as f64 >= 0.995 * small.len() as f64, "{agree} of {}", small.len());
}

#[test]
fn all_gpus_together_give_what_one_gives() {
    let Some(device) = gpu() else { return };
    let (one, all) = (scores(device, 256), scores(Device::AllCuda, 256));
    assert_eq!(one.len(), all.len());
    let agree = one.iter().zip(&all).filter(|(a, b)| a.0 == b.0).count();
    assert!(agree as f64 >= 0.999 * one.len() as f64, "{agree} of {}", one.len());
}

#[test]
fn broken_rows_and_tails_cost_their_neighbours_nothing() {
    let Some(device) = gpu() else { return };
    let stage = Stage::try_new(model(), &StageOptions { device, batch_rows: 64, ..StageOptions::default() });
    let stage = stage.expect("a stage");
    let whole = images(512);
    let all: Vec<Row> = scores(device, 64);
    // The same images with every third one broken, in an item that is no multiple of a batch.
    let encoded: Vec<Option<Vec<u8>>> = (0..101)
        .map(|row| match (row % 3, whole[0].get(row)) {
            (1, _) => Some(b"not an image".to_vec()),
            (_, Ok(Image::Encoded(bytes))) => Some(bytes.to_vec()),
            (_, other) => panic!("an encoded image, not {other:?}"),
        })
        .collect();
    let array: ArrayRef = Arc::new(BinaryArray::from_iter(encoded));
    let record_batch = RecordBatch::try_from_iter([("image", array)]).expect("a record batch");
    let column = ImageColumn::find(&record_batch.schema(), None).expect("its image column");
    let calibration = stage.model().calibration().expect("a calibrated model").clone();
    let item = Ok((column.images_in(&record_batch).expect("images"), ()));
    let ((), scored) = stage.score([item]).next().expect("an item").expect("scores");
    for (row, expected) in all.iter().enumerate().take(101) {
        let Ok(output) = scored.output(row) else {
            assert_eq!(row % 3, 1, "row {row}");
            continue;
        };
        let mut probabilities = vec![0.0; stage.model().classes().len()];
        calibration.apply(output, &mut probabilities).expect("a score");
        let worst = probabilities.iter().zip(&expected.2).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-2, "row {row} differs by {worst}");
    }
}

#[test]
fn two_streams_share_the_device() {
    let Some(device) = gpu() else { return };
    let expected: Vec<usize> = scores(device, 0).into_iter().map(|row| row.0).collect();
    let stage = Stage::try_new(model(), &StageOptions { device, ..StageOptions::default() }).expect("a stage");
    let classes = || -> Vec<usize> {
        let calibration = stage.model().calibration().expect("a calibrated model");
        let mut probabilities = vec![0.0; stage.model().classes().len()];
        let items = images(512).into_iter().map(|images| Ok((images, ())));
        let items: Vec<_> = stage.score(items).map(|item| item.expect("scores").1).collect();
        let rows = items.iter().flat_map(|item| (0..item.rows().len()).map(move |row| item.output(row)));
        rows.map(|output| calibration.apply(output.expect("logits"), &mut probabilities).expect("a score").0.class)
            .collect()
    };
    std::thread::scope(|scope| {
        let streams = [(); 2].map(|()| scope.spawn(classes));
        for stream in streams {
            let got = stream.join().expect("a stream");
            let same = got.iter().zip(&expected).filter(|(a, b)| a == b).count();
            assert!(same as f64 >= 0.999 * expected.len() as f64, "{same} of {}", expected.len());
        }
    });
}
