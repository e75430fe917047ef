//! tmp
use arrow::array::*;
use dismax::train::*;
use dismax::{loss::Loss, network::Architecture};
fn load(path: &str) -> LabelledImages {
    let f = std::fs::File::open(path).unwrap();
    let r = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(f).unwrap().build().unwrap();
    let mut out = LabelledImages { height: 32, width: 32, ..Default::default() };
    for b in r {
        let b = b.unwrap();
        let s = b.column_by_name("img").unwrap().as_struct().clone();
        let bytes = s.column_by_name("bytes").unwrap();
        let bytes = bytes.as_any().downcast_ref::<BinaryArray>().unwrap();
        for i in 0..b.num_rows() {
            out.pixels.extend(image::load_from_memory(bytes.value(i)).unwrap().to_rgb8().into_raw());
        }
        let l = b.column_by_name("label").unwrap().as_primitive::<arrow::datatypes::Int64Type>().clone();
        out.labels.extend(l.values().iter().map(|&v| v as u32));
    }
    out
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let loss: Loss = a[1].parse().unwrap();
    let t = std::time::Instant::now();
    let images = load("/work/shared/data/cifar10/train.parquet");
    println!("loaded {} in {:?}", images.len(), t.elapsed());
    let split = stratified_split(&images.labels, 10, 0.1, 0);
    let mut o = TrainOptions::one_cycle(Architecture::Resnet20, loss, (32, 32));
    o.epochs = a[2].parse().unwrap();
    o.batch_size = a[3].parse().unwrap();
    o.sgd.learning_rate = a[4].parse().unwrap();
    o.sgd.weight_decay = a[5].parse().unwrap();
    o.workers = a[6].parse().unwrap();
    o.mean = [0.491, 0.482, 0.446];
    o.std = [0.247, 0.243, 0.261];
    let state = TrainingState {
        options: o.clone(),
        classes: "airplane automobile bird cat deer dog frog horse ship truck".split(' ').map(String::from).collect(),
        rows: (split.train.len(), split.held_out.len()),
        data_digest: String::new(),
        history: vec![],
    };
    let ex = InMemory::new(&images, &split.train, 0);
    let path = std::path::PathBuf::from(&a[7]);
    let resume = path.exists().then(|| Checkpoint::read(&path).unwrap());
    let t = std::time::Instant::now();
    let mut ctx = TrainContext {
        devices: &[tch::Device::Cpu],
        checkpoint: Some(&path),
        cancel: Default::default(),
        observe: &mut |e| match e {
            TrainEvent::Step { step, objective, .. } => {
                if step % 100 == 0 {
                    println!("{step} {objective:.4} {:?}", t.elapsed())
                }
            }
            TrainEvent::Epoch(r) => println!("{r:?}"),
        },
    };
    let tr = run(&ex, (&images, &split.held_out), state, resume, &mut ctx).unwrap();
    println!("{}", tr.history.len());
}
