//! `dismax score` beyond the plain case.

use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::Float32Type;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::support::{Folder, cifar10_model, command, digits, dismax, dismax_reading, pngs, read};

fn stream(record_batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &record_batch.schema()).expect("a stream");
    writer.write(record_batch).expect("rows");
    writer.finish().expect("an end");
    drop(writer);
    bytes
}

#[test]
fn streams_go_through_a_pipe() {
    let folder = Folder::new();
    let (model, file) = (cifar10_model(), folder.path("scored.parquet"));
    dismax(&["score", &digits("mixed"), "--model", &model, "--out", &file]).ok();

    let input = stream(&read(&digits("mixed")));
    let run = dismax_reading(&["score", "-", "--model", &model, "--out", "-"], &input).ok();
    let batches: Vec<_> = StreamReader::try_new(run.stdout.as_slice(), None)
        .expect("a stream")
        .collect::<Result<_, _>>()
        .expect("record batches");
    let piped = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("one schema");
    let filed = read(&file);
    assert_eq!(&piped["id"], &filed["id"]);
    assert_eq!(&piped["error"], &filed["error"]);
    assert!(difference(&piped, &filed) <= 1e-4);
}

#[test]
fn an_input_that_breaks_off_leaves_nothing() {
    let folder = Folder::new();
    let input = stream(&read(&digits("mixed")));
    let arguments = ["score", "-", "--model", &cifar10_model(), "--out", &folder.path("scored.parquet")];
    let message = dismax_reading(&arguments, &input[..input.len() - 8]).refused(3);
    assert!(message.contains("stdin: ") && message.contains("pipefail"), "{message}");
    assert!(folder.names().is_empty());
}

#[test]
fn a_dataset_without_one_usable_image_is_no_success() {
    let folder = Folder::new();
    let input = folder.write("nulls.parquet", vec![("image", Arc::new(BinaryArray::new_null(3)))]);
    let out = folder.path("scored.parquet");
    let message = dismax(&["score", &input, "--model", &cifar10_model(), "--out", &out, "--quiet"]).refused(1);
    assert!(message.contains("no row could be scored"), "{message}");
    assert_eq!(read(&out)["error"].as_string::<i32>().value(2), "null_image");
}

#[cfg(unix)]
#[test]
fn named_pipes_are_read_as_streams() {
    let folder = Folder::new();
    let (pipe, out) = (folder.path("pipe"), folder.path("scored.parquet"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let input = stream(&read(&digits("mixed")));
    let sender = pipe.clone();
    // Not joined: it would wait for ever where dismax fails before it opens the pipe.
    std::thread::spawn(move || std::fs::write(&sender, &input).expect("dismax reads"));
    dismax(&["score", &pipe, "--model", &cifar10_model(), "--out", &out]).ok();
    assert_eq!(&read(&out)["id"], &read(&digits("mixed"))["id"]);
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let model = cifar10_model();
    let mut child = command(&["score", &digits("mixed"), "--model", &model, "--out", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("dismax starts");
    let mut first = [0; 8];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("the schema");
    let output = child.wait_with_output().expect("dismax ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn batches_and_workers_change_neither_scores_nor_order() {
    let folder = Folder::new();
    let (model, input) = (cifar10_model(), digits("mixed"));
    let mut expected: Option<RecordBatch> = None;
    // 721 rows: one at a time, a last batch of one, more than there are.
    for (batch_size, workers) in [("1", "2"), ("720", "1"), ("48", "3"), ("5000", "2")] {
        let out = folder.path(&format!("{batch_size}-{workers}.arrow"));
        let arguments = ["score", &input, "--model", &model, "--out", &out];
        let more = ["--batch-size", batch_size, "--workers", workers, "--quiet"];
        let run = dismax(&[&arguments[..], &more].concat()).ok();
        assert_eq!(run.stderr, "", "nothing is printed for a batch");
        let scored = read(&out);
        let first = expected.get_or_insert_with(|| scored.clone());
        assert_eq!(&first["id"], &scored["id"]);
        assert_eq!(&first["error"], &scored["error"]);
        assert!(difference(first, &scored) <= 1e-4, "batches of {batch_size} on {workers} workers");
    }
}

fn difference(one: &RecordBatch, other: &RecordBatch) -> f32 {
    ["confidence", "ood_score"]
        .into_iter()
        .flat_map(|name| one[name].as_primitive::<Float32Type>().iter().zip(other[name].as_primitive::<Float32Type>()))
        .map(|(a, b)| a.zip(b).map_or(0.0, |(a, b)| (a - b).abs()))
        .fold(0.0, f32::max)
}

#[test]
fn rotten_input_stops_where_it_was_asked_to() {
    let folder = Folder::new();
    let (model, out) = (cifar10_model(), folder.path("scored.parquet"));
    let mut images: Vec<_> = pngs(20).iter().map(|png| png.map(<[u8]>::to_vec)).collect();
    images[7] = Some(b"no image".to_vec());
    images[11] = None;
    let images: ArrayRef = Arc::new(images.into_iter().collect::<BinaryArray>());
    let input = folder.write("input.parquet", vec![("image", images)]);
    let score = |more: &[&str]| dismax(&[&["score", &input, "--model", &model, "--out", &out], more].concat());

    let message = score(&["--on-error", "fail"]).refused(3);
    assert!(message.contains("row 7") && message.contains("input.parquet"), "{message}");
    let message = score(&["--max-errors", "1"]).refused(4);
    assert!(message.contains("2 of 20"), "{message}");
    score(&["--max-errors", "9%"]).refused(4);
    assert_eq!(folder.names(), ["input.parquet"], "a run that failed leaves nothing");

    score(&["--max-errors", "2"]).ok();
    score(&["--max-errors", "10%", "--force"]).ok();
    score(&["--max-errors", "many", "--force"]).refused(2);
    for same in [out.clone(), out.replace("/scored", "/./scored")] {
        let message = score(&["--errors", &same, "--force"]).refused(2);
        assert!(message.contains("another name"), "{message}");
    }
    // No row is left, which the exit code says too.
    let run = score(&["--max-pixels", "10", "--force", "--json"]);
    let summary: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(summary["errors"]["too_many_pixels"], 18, "{summary}");
}

#[test]
fn names_that_are_taken_are_refused_with_the_way_out() {
    let folder = Folder::new();
    let (model, once, twice) = (cifar10_model(), folder.path("once.parquet"), folder.path("twice.parquet"));
    dismax(&["score", &digits("unseen"), "--model", &model, "--out", &once]).ok();
    let again = ["score", &once, "--model", &model, "--out", &twice];
    let message = dismax(&again).refused(2);
    assert!(message.contains("prediction") && message.contains("--prefix"), "{message}");
    dismax(&[&again[..], &["--prefix", "second_"]].concat()).ok();
    let scored = read(&twice);
    assert_eq!(scored["ood_score"].len(), 354);
    assert!(difference(&read(&once), &scored) == 0.0 && scored.column_by_name("second_is_ood").is_some());

    let message = dismax(&["score", &digits("unseen"), "--model", &model, "--out", &once]).refused(2);
    assert!(message.contains("once.parquet") && message.contains("--force"), "{message}");
    let nowhere = folder.path("no/such/folder/out.parquet");
    let message = dismax(&["score", &digits("unseen"), "--model", &model, "--out", &nowhere]).refused(2);
    assert!(message.contains("no/such/folder"), "{message}");
}
