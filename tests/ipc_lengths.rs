//! Arrow IPC whose lengths lie: an error that says so, before memory is taken.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, NullArray, RecordBatch};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use dismax::Dataset;

fn error_of(path: &Path) -> String {
    let dataset = Dataset::open(&[path.display().to_string()]);
    dataset
        .and_then(|dataset| dataset.read(64, None)?.collect::<Result<Vec<_>, _>>())
        .expect_err("its lengths lie")
        .to_string()
}

fn numbers() -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..77));
    RecordBatch::try_from_iter([("number", column)]).expect("one column")
}

#[test]
fn compressed_buffers_that_claim_too_much_are_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases/ipc-lying-lengths.arrow");
    let error = error_of(&path);
    for part in ["ipc-lying-lengths.arrow: record batch 2 claims to hold 4", "the limit of 8 GiB"] {
        assert!(error.contains(part), "{error}");
    }
}

/// The length of a record batch's body, in the message itself and in a file's footer.
#[test]
fn bodies_longer_than_what_is_there_are_an_error() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let batch = numbers();
    let stream = {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("begins");
        writer.write(&batch).expect("written");
        writer.into_inner().expect("closed")
    };
    let file = {
        let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).expect("begins");
        writer.write(&batch).expect("written");
        writer.into_inner().expect("closed")
    };
    for (name, bytes) in [("numbers.arrows", stream), ("numbers.arrow", file)] {
        let path = folder.path().join(name);
        fs::write(&path, &bytes).expect("written");
        assert_eq!(
            Dataset::open(&[path.display().to_string()]).expect("sound").read(100, None).expect("begins").count(),
            1
        );
        // 77 numbers of 8 bytes, and nothing else of this length: padded to 64 bytes, without bits for nulls.
        let (body, mut found) = (640i64.to_le_bytes(), 0);
        for at in 0..bytes.len() - 8 {
            if bytes[at..at + 8] == body {
                for lie in [1i64 << 55, -640] {
                    let mut lying = bytes.clone();
                    lying[at..at + 8].copy_from_slice(&lie.to_le_bytes());
                    fs::write(&path, lying).expect("written");
                    let error = error_of(&path);
                    assert!(error.contains(name), "{error}");
                }
                found += 1;
            }
        }
        assert!(found > 0, "{name} holds the length of its body");
    }
}

/// A message without a body is held back by the decoder until more comes.
#[test]
fn record_batches_without_bytes_are_not_lost() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("nothing.arrows");
    let nulls = |rows| {
        let column: ArrayRef = Arc::new(NullArray::new(rows));
        RecordBatch::try_from_iter([("nothing", column)]).expect("one column")
    };
    let mut writer = StreamWriter::try_new(Vec::new(), &nulls(0).schema()).expect("begins");
    for rows in [3, 2, 4] {
        writer.write(&nulls(rows)).expect("written");
    }
    fs::write(&path, writer.into_inner().expect("closed")).expect("written");
    let dataset = Dataset::open(&[path.display().to_string()]).expect("sound");
    let rows: Vec<usize> =
        dataset.read(100, None).expect("begins").map(|chunk| chunk.expect("reads").record_batch.num_rows()).collect();
    assert_eq!(rows, [3, 2, 4]);
}
