//! Options of a recipe, each on short trainings on the handwritten digits.

mod digits;

use std::fs;
use std::path::Path;

use arrow::array::{BooleanArray, Int64Array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::DataType;
use digits::{TRAIN, VALIDATION, job, run, weights};
use dismax::calibration::CalibrationOptions;
use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use dismax::evaluate::DatasetLogits;
use dismax::loss::Loss;
use dismax::metrics::LabelledLogits;
use dismax::model::Model;
use dismax::network::Architecture;
use dismax::run::{Progress, Run};
use dismax::stage::{Stage, StageOptions};
use dismax::tta::Tta;
use dismax::{Device, Error};
use dismax_train::{
    ClassWeights, Flip, HeldOut, Keep, Padding, Recipe, RecipeFile, Schedule, TrainJob, metrics_path, train,
};

/// The training digits with only every `one_in`-th of the threes.
fn with_few_threes(path: &Path, one_in: usize) -> String {
    let dataset = Dataset::open(&[TRAIN]).expect("digits");
    let column = dataset.schema().index_of("label").expect("labels");
    let options = WriteOptions::default();
    let path = path.display().to_string();
    let mut writer = DatasetWriter::create(&path, dataset.schema(), &options).expect("a writer");
    let mut threes = 0;
    for chunk in dataset.read(1024, None).expect("chunks") {
        let batch = chunk.expect("a chunk").record_batch;
        let labels = cast(batch.column(column), &DataType::Int64).expect("numbers");
        let labels = labels.as_any().downcast_ref::<Int64Array>().expect("numbers").clone();
        let kept = labels.values().iter().map(|&label| {
            threes += usize::from(label == 3);
            Some(label != 3 || threes.is_multiple_of(one_in))
        });
        let kept: BooleanArray = kept.collect();
        writer.write(&filter_record_batch(&batch, &kept).expect("rows")).expect("written");
    }
    writer.finish().expect("finished");
    path
}

/// Share of the threes among the validation digits that are classified correctly, and that of all digits.
fn recall_and_accuracy(model: &Model) -> (f64, f64) {
    let dataset = Dataset::open(&[VALIDATION]).expect("digits");
    let label = dataset.label_column(None).expect("labels");
    let stage = Stage::try_new(model.clone(), &StageOptions { device: Device::Cpu, ..StageOptions::default() });
    let mut quiet = Run { cancel: Cancel::default(), progress: &mut |_| {} };
    let logits = DatasetLogits::read_held_out(&stage.expect("a stage"), &dataset, &label, None, &mut quiet);
    let logits = logits.expect("logits");
    let rows = logits.labelled().expect("labelled rows");
    let three = model.classes().iter().position(|class| class == "3").expect("a class of threes");
    let is_three: Vec<bool> = rows.iter().map(|(_, label)| label == three).collect();
    let correct = rows.correct();
    let threes = is_three.iter().filter(|is_three| **is_three).count();
    let found = correct.iter().zip(&is_three).filter(|(correct, is_three)| **correct && **is_three).count();
    let all = correct.iter().filter(|correct| **correct).count();
    (found as f64 / threes as f64, all as f64 / correct.len() as f64)
}

#[test]
fn balanced_classes_find_more_of_a_rare_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let input = with_few_threes(&folder.path().join("train.parquet"), 12);
    let trained = |class_weights: ClassWeights| {
        let held_out = HeldOut::Files(vec![VALIDATION.into()]);
        let out = folder.path().join(class_weights.name());
        let mut job = TrainJob { inputs: vec![input.clone()], held_out, ..job(&out, Loss::Softmax, 5) };
        job.recipe.class_weights = class_weights;
        recall_and_accuracy(&run(&job).expect("trained"))
    };
    let (equal, balanced) = (trained(ClassWeights::Equal), trained(ClassWeights::Balanced));
    println!("recall of the rare class, accuracy: equal {equal:?}, balanced {balanced:?}");
    assert!(balanced.0 > equal.0 + 0.1, "equal {equal:?}, balanced {balanced:?}");
}

#[test]
fn the_best_epoch_is_kept_across_a_stop_and_with_any_number_of_workers() {
    let folder = tempfile::tempdir().expect("a folder");
    let keeping = |name: &str, workers: usize| {
        let mut job = job(&folder.path().join(name), Loss::Dismax, 4);
        // A rate that is too high to the end, so that the best epoch is seldom the last.
        job.recipe.schedule = Some(Schedule::MultiStep);
        job.recipe.learning_rate = Some(0.5);
        (job.recipe.keep, job.recipe.workers, job.recipe.batch_size) = (Keep::Best, Some(workers), Some(128));
        job
    };
    let whole = keeping("whole", 1);
    let model = run(&whole).expect("trained");
    let history = model.history().expect("trained here");
    let kept = history.kept().expect("epochs");
    let accuracies: Vec<f64> = history.epochs.iter().filter_map(|epoch| epoch.selection_accuracy).collect();
    assert_eq!(accuracies.len(), 4);
    assert!(accuracies.iter().all(|accuracy| *accuracy <= kept.selection_accuracy.expect("measured")));
    // The calibration's accuracy is that of the kept epoch on the held-out rows.
    let calibrated = model.calibration().expect("calibrated").fit.accuracy;
    assert!((calibrated - kept.validation_accuracy).abs() < 1e-9, "{calibrated} {kept:?}");
    for workers in [2, 8] {
        let other = keeping(&format!("{workers}"), workers);
        run(&other).expect("trained");
        assert_eq!(weights(&whole.out), weights(&other.out), "{workers} workers");
    }

    let parts = keeping("parts", 2);
    let cancel = Cancel::default();
    let stop = cancel.clone();
    let mut stop_late = |progress: Progress| {
        if progress.task == "training" && progress.of.is_some_and(|of| 8 * progress.rows >= 7 * of) {
            stop.cancel();
        }
    };
    let result = train(&parts, &mut Run { cancel, progress: &mut stop_late }, &mut |_| {});
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    run(&TrainJob { resume: true, ..parts.clone() }).expect("resumed");
    assert_eq!(weights(&whole.out), weights(&parts.out));
}

/// A recipe that takes every option.
fn with_all_options(out: &Path, workers: usize) -> TrainJob {
    let mut job = job(out, Loss::DismaxDagger, 4);
    job.recipe = Recipe {
        batch_size: Some(128),
        workers: Some(workers),
        class_weights: ClassWeights::Balanced,
        keep: Keep::Best,
        ema: Some(0.9),
        mosaic_share: 0.25,
        mosaic_epochs: 0.5,
        whitening: true,
        flip: Flip::Alternating,
        padding: Padding::Reflect,
        ..job.recipe
    };
    job
}

#[test]
fn a_training_with_all_options_resumes_to_the_same_bits_and_repeats_by_its_recipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    let model = run(&with_all_options(&place("whole"), 1)).expect("trained");
    let epochs = model.history().expect("trained here").epochs.len();
    let lines = |path: &Path| {
        let text = fs::read_to_string(path).expect("figures");
        assert!(text.ends_with('\n'));
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["epoch"].as_u64();
        text.lines().map(|line| read(line).expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(epochs, 4);
    assert_eq!(lines(&place("whole/metrics.jsonl")), [1, 2, 3, 4]);
    assert!(!metrics_path(&place("whole")).exists(), "they are in the bundle now");

    let parts = with_all_options(&place("parts"), 4);
    let cancel = Cancel::default();
    let stop = cancel.clone();
    let mut stop_late = |progress: Progress| {
        if progress.task == "training" && progress.of.is_some_and(|of| 5 * progress.rows >= 3 * of) {
            stop.cancel();
        }
    };
    let result = train(&parts, &mut Run { cancel, progress: &mut stop_late }, &mut |_| {});
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert_eq!(lines(&metrics_path(&parts.out)), [1, 2]);
    run(&TrainJob { resume: true, ..parts.clone() }).expect("resumed");
    assert_eq!(weights(&place("whole")), weights(&parts.out));

    let file = RecipeFile::read(&place("whole/recipe.json")).expect("a recipe");
    let recipe = Recipe { workers: Some(2), ..file.recipe().expect("a recipe") };
    let again = TrainJob { recipe, ..with_all_options(&place("again"), 2) };
    run(&again).expect("trained");
    assert_eq!(weights(&place("whole")), weights(&place("again")));
    let recipe =
        |name: &str| Model::read(place(name)).expect("a bundle").history().expect("trained here").recipe.clone();
    assert!(recipe("whole").is_some());
    assert_eq!(recipe("whole"), recipe("again"));
}

#[test]
fn each_option_changes_the_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let trained = |name: &str, change: &dyn Fn(&mut Recipe)| {
        let mut job = job(&folder.path().join(name), Loss::DismaxDagger, 2);
        job.recipe.flip = Flip::Random;
        change(&mut job.recipe);
        run(&job).expect("trained");
        weights(&job.out)
    };
    let all = [
        trained("plain", &|_| {}),
        trained("class-weights", &|recipe| recipe.class_weights = ClassWeights::Balanced),
        trained("ema", &|recipe| recipe.ema = Some(0.9)),
        trained("share", &|recipe| recipe.mosaic_share = 0.25),
        trained("epochs", &|recipe| recipe.mosaic_epochs = 0.5),
        trained("whitening", &|recipe| recipe.whitening = true),
        trained("flip", &|recipe| recipe.flip = Flip::Alternating),
        trained("padding", &|recipe| recipe.padding = Padding::Reflect),
        trained("cutout", &|recipe| recipe.cutout = 3),
        trained("keep", &|recipe| recipe.keep = Keep::Best),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all[index + 1..].iter().all(|other| one != other), "number {index} is another one's");
    }
}

#[test]
fn options_that_do_not_fit_a_loss_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusal = |loss: Loss, change: &dyn Fn(&mut Recipe)| {
        let mut job = job(&folder.path().join("model"), loss, 1);
        change(&mut job.recipe);
        run(&job).expect_err("a refusal").to_string()
    };
    let message = refusal(Loss::Dismax, &|recipe| recipe.label_smoothing = 0.1);
    assert!(message.contains("entropic scale of dismax"), "{message}");
    let message = refusal(Loss::Softmax, &|recipe| recipe.mosaic_epochs = 0.7);
    assert!(message.contains("softmax has no mosaics"), "{message}");
    let message = refusal(Loss::Softmax, &|recipe| recipe.ema = Some(1.0));
    assert!(message.contains("between 0 and 1"), "{message}");
    let message = refusal(Loss::Softmax, &|recipe| recipe.label_smoothing = 1.0);
    assert!(message.contains("label smoothing"), "{message}");
    let message = refusal(Loss::DismaxDagger, &|recipe| recipe.fractional_probability_weight = -1.0);
    assert!(message.contains("0 or above, not -1"), "{message}");
    let message = refusal(Loss::Dismax, &|recipe| recipe.cutout = 8);
    assert!(message.contains("a cutout of 8 pixels can black out a whole image"), "{message}");
    // An eighth of 64 is all of 8: there is nothing to reflect so far beyond the edge.
    let message = refusal(Loss::Dismax, &|recipe| (recipe.padding, recipe.size) = (Padding::Reflect, Some((8, 64))));
    assert!(message.contains("8x64 pixels are too narrow"), "{message}");
    let message =
        refusal(Loss::Dismax, &|recipe| (recipe.whitening, recipe.architecture) = (true, Architecture::Resnet18));
    assert!(message.contains("first convolution of 3x3"), "{message}");
    let message = refusal(Loss::Dismax, &|recipe| (recipe.padding, recipe.crop) = (Padding::Reflect, false));
    assert!(message.contains("only random crops"), "{message}");
}

#[test]
fn mirror_averages_belong_to_the_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("model");
    let mut job = job(&out, Loss::Softmax, 3);
    (job.recipe.flip, job.recipe.label_smoothing, job.calibration.tta) = (Flip::Random, 0.1, Tta::Flip);
    run(&job).expect("trained");
    let mut model = Model::read(&out).expect("a bundle");
    assert_eq!((model.tta(), model.calibration().map(|calibration| calibration.tta)), (Tta::Flip, Some(Tta::Flip)));
    let columns = dismax::Columns::of_model(&std::sync::Arc::new(model.clone()), "").expect("columns");
    let schema = columns.schema(&arrow::datatypes::Schema::empty()).expect("a schema");
    assert_eq!(schema.metadata().get("dismax.tta").map(String::as_str), Some("flip"));

    // Every way to a score averages: the stage's logits are those of both images.
    let dataset = Dataset::open(&[VALIDATION]).expect("digits");
    let stage = Stage::try_new(model.clone(), &StageOptions { device: Device::Cpu, ..StageOptions::default() });
    let stage = stage.expect("a stage");
    let scored = stage.scan(&dataset, Some(&[]), Cancel::default()).expect("a scan");
    let (_, scored) = scored.into_iter().next().expect("rows").expect("scores");
    let logits = scored.logits(0).expect("logits").to_vec();
    let mut single = model.clone();
    single.set_tta(Tta::None).expect("images");
    assert!(single.calibration().is_none() && single.feature_statistics().is_none());
    let stage = Stage::try_new(single.clone(), &StageOptions { device: Device::Cpu, ..StageOptions::default() });
    let stage = stage.expect("a stage");
    let plain = stage.scan(&dataset, Some(&[]), Cancel::default()).expect("a scan");
    let (_, plain) = plain.into_iter().next().expect("rows").expect("scores");
    assert_ne!(plain.logits(0).expect("logits"), logits);

    // A calibration for other averages is refused.
    let rows = LabelledLogits::try_new(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 8, &[0]).expect("rows");
    let options = CalibrationOptions { tta: Tta::None, ..CalibrationOptions::default() };
    let message = model.calibrate(&rows, None, &options, "made up").expect_err("a refusal").to_string();
    assert!(message.contains("`none`") && message.contains("`flip`"), "{message}");
}
