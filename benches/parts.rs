//! What each step of scoring costs, so that a slow-down is found where it happens: decoding, preprocessing, the
//! network, the head, the scores, the columns. On one thread, with images drawn here; `benches/compare` measures them
//! together, on real ones.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench that fails is seen; criterion's macros make public items"
)]

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dismax::calibration::CalibrationOptions;
use dismax::columns::Columns;
use dismax::dataset::ImageColumn;
use dismax::image::{Decoding, Limits, Preprocessing, ReusableResizer, decode};
use dismax::loss::Loss;
use dismax::metrics::LabelledLogits;
use dismax::model::{FORMAT_VERSION, ImageInput, Model, ModelConfig, ModelInput};
use dismax::network::{Architecture, Network, WeightsBuilder};
use dismax::network::{Head, HeadKind};
use dismax::score::{self, Score};
use dismax::stage::{Stage, StageOptions};
use dismax_kernels::{Epilogue, Images, Winograd};
use image::codecs::jpeg::JpegEncoder;
use tch::{Device, Kind, Tensor};

const BATCH: usize = 32;
const CLASSES: usize = 10;

/// A JPEG with something to decode everywhere.
fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let wave =
        |x: u32, y: u32, step: f32| (127.0 + 90.0 * ((x as f32 / step).sin() + (y as f32 / step).cos()) / 2.0) as u8;
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([wave(x, y, 3.0), wave(x, y, 7.0), wave(y, x, 13.0)])
    });
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture).unwrap();
    bytes
}

fn network(architecture: Architecture) -> Network {
    Network::try_new(architecture, HeadKind::Dismax, CLASSES, Device::Cpu, 1).unwrap()
}

fn model(architecture: Architecture, preprocessing: Preprocessing) -> Model {
    let config = ModelConfig {
        format_version: FORMAT_VERSION,
        input: ModelInput::Images(ImageInput { architecture, loss: Loss::Dismax, preprocessing }),
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        origin: "drawn for a bench".into(),
    };
    let weights = network(architecture)
        .weights()
        .iter()
        .map(|weight| (weight.name.clone(), weight.tensor.detach().copy()))
        .collect();
    let mut model = Model::try_new(config, &weights, None).unwrap();
    let labels: Vec<i64> = (0..200).map(|row| row % CLASSES as i64).collect();
    let logits: Vec<f32> = logits(200).into_iter().collect();
    let rows = LabelledLogits::try_new(&logits, CLASSES, &labels).unwrap();
    model.calibrate(&rows, None, &CalibrationOptions::default(), "drawn rows").unwrap();
    model
}

fn logits(rows: usize) -> Vec<f32> {
    (0..rows * CLASSES).map(|index| -((index * 37 % 101) as f32) / 50.0).collect()
}

fn images(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("image");
    group.throughput(Throughput::Elements(1));
    let reduced = Preprocessing { reduced: true, ..Preprocessing::imagenet() }.decoding();
    for (name, width, height, decoding) in [
        ("32x32", 32, 32, reduced),
        ("500x375", 500, 375, reduced),
        ("4000x3000", 4000, 3000, Decoding::default()),
        ("4000x3000 reduced", 4000, 3000, reduced),
    ] {
        let bytes = jpeg(width, height);
        group.bench_function(format!("decode {name}"), |bencher| {
            bencher.iter(|| decode(black_box(&bytes), &Limits::default(), decoding).unwrap())
        });
    }
    let pixels = decode(&jpeg(500, 375), &Limits::default(), Decoding::default()).unwrap();
    let preprocessing = Preprocessing::imagenet();
    let (mut resizer, mut out) = (ReusableResizer::default(), vec![0; preprocessing.image_bytes()]);
    group.bench_function("500x375 to 224x224", |bencher| {
        bencher.iter(|| preprocessing.apply_into(black_box(&pixels), &mut resizer, &mut out).unwrap())
    });
}

fn networks(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let mut group = criterion.benchmark_group("network");
    group.sample_size(20);
    for (architecture, size, batch) in
        [(Architecture::Resnet20, 32, 8), (Architecture::Resnet34, 32, 32), (Architecture::Resnet18, 224, 8)]
    {
        let images = Tensor::rand([batch, size, size, 3], (Kind::Float, Device::Cpu)).permute([0, 3, 1, 2]);
        let scoring = network(architecture).for_scoring(Kind::Float).unwrap();
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(architecture.name(), |bencher| {
            bencher.iter(|| scoring.logits(black_box(&images)).unwrap())
        });
    }
    let mut builder = WeightsBuilder::new(Device::Cpu, 1);
    let head = Head::try_new(builder.root(), HeadKind::Dismax, 512, CLASSES).unwrap();
    let features = Tensor::rand([BATCH as i64, 512], (Kind::Float, Device::Cpu));
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("head, 512 features", |bencher| {
        bencher.iter(|| tch::no_grad(|| head.logits(black_box(&features)).unwrap()))
    });
}

/// The 3x3 convolutions of the networks, by Winograd's algorithm and by libtorch's choice, oneDNN's direct one.
fn convolutions(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let mut group = criterion.benchmark_group("convolution");
    group.sample_size(20);
    for (channels, size, count) in [(16, 32, 8), (32, 16, 8), (64, 8, 8), (64, 56, 8), (128, 16, 32), (512, 4, 32)] {
        let images = Images { count, height: size, width: size };
        let [n, c, s] = [count, channels, size].map(|value| value as i64);
        let weight = Tensor::rand([c, c, 3, 3], (Kind::Float, Device::Cpu));
        let bias = Tensor::rand([c], (Kind::Float, Device::Cpu));
        let input = Tensor::rand([n, s, s, c], (Kind::Float, Device::Cpu));
        let [weights, biases, values] =
            [&weight, &bias, &input].map(|tensor| Vec::<f32>::try_from(&tensor.reshape([-1])).unwrap());
        let winograd = Winograd::try_new(&weights, &biases, channels, channels).unwrap();
        let mut output = vec![0.0; values.len()];
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{channels} channels, {size}x{size}, Winograd"), |bencher| {
            bencher.iter(|| winograd.convolve(black_box(&values), images, Epilogue::None, &mut output).unwrap())
        });
        let input = input.permute([0, 3, 1, 2]);
        group.bench_function(format!("{channels} channels, {size}x{size}, direct"), |bencher| {
            bencher.iter(|| black_box(&input).conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1))
        });
    }
}

/// A step of training on a worker's part of a batch, as it is done (written out, with Winograd's convolutions), and by
/// libtorch's autograd.
fn training(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let mut group = criterion.benchmark_group("training step");
    group.sample_size(20).throughput(Throughput::Elements(BATCH as u64));
    for architecture in [Architecture::Resnet20, Architecture::Resnet34] {
        let network = network(architecture);
        network.weights().require_gradients().unwrap();
        let trainable = network.weights().trainable();
        let images = Tensor::rand([BATCH as i64, 32, 32, 3], (Kind::Float, Device::Cpu)).permute([0, 3, 1, 2]);
        let labels = Tensor::arange(BATCH as i64, (Kind::Int64, Device::Cpu)).remainder(CLASSES as i64);
        let loss = |logits: &Tensor| {
            let log_p = logits.f_log_softmax(1, None)?;
            Ok::<_, dismax::Error>(log_p.f_nll_loss(&labels, None::<Tensor>, tch::Reduction::Mean, -100)?)
        };
        group.bench_function(format!("{architecture}, as trained"), |bencher| {
            bencher.iter(|| {
                let step = network.gradients(black_box(&images), |head, features| {
                    let logits = head.logits(features)?;
                    let objective = loss(&logits)?;
                    Ok((logits, objective))
                });
                step.unwrap()
            })
        });
        group.bench_function(format!("{architecture}, autograd"), |bencher| {
            bencher.iter(|| {
                let loss = loss(&network.logits(black_box(&images), true).unwrap());
                Tensor::f_run_backward(&[loss.unwrap()], &trainable, false, false).unwrap()
            })
        });
    }
}

fn rows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("row");
    let logits = logits(1);
    let mut probabilities = vec![0.0; CLASSES];
    group.throughput(Throughput::Elements(1));
    group.bench_function("scores", |bencher| {
        bencher.iter(|| score::row(black_box(&logits), 0.3, Score::Mmles, &mut probabilities))
    });

    let model = model(Architecture::Resnet20, Preprocessing::new(8, 8));
    let bytes = jpeg(8, 8);
    let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(&bytes, 1024)));
    let record_batch = RecordBatch::try_from_iter([("image", array)]).unwrap();
    let column = ImageColumn::find(&record_batch.schema(), None).unwrap();
    let stage =
        Stage::try_new(model, &StageOptions { device: dismax::Device::Cpu, workers: 1, ..StageOptions::default() })
            .unwrap();
    let ((), scored) = stage.score([Ok((column.images_in(&record_batch).unwrap(), ()))]).next().unwrap().unwrap();
    let columns = Columns::try_new(&stage, "").unwrap();
    group.throughput(Throughput::Elements(1024));
    group.bench_function("columns of 1024", |bencher| bencher.iter(|| columns.build(black_box(&scored)).unwrap()));
}

criterion_group!(benches, images, convolutions, networks, training, rows);
criterion_main!(benches);
