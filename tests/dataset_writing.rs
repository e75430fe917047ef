//! Writing datasets: streams, row groups, outputs that appear whole or not at all.

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BinaryViewArray, DictionaryArray, Float32Array, Int32Array, RecordBatch,
    StringArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Int8Type};
use common::datasets::{chunks, folder, labels, names, open, rows, schema, write};
use dismax::Error;
use dismax::dataset::{Compression, Dataset, DatasetWriter, Format, WriteOptions};

/// A stream that hands out one byte at a time, as a slow pipe may.
struct Dripping(io::Cursor<Vec<u8>>);

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

/// Bytes that stay reachable after the writer is gone.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("one thread").write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn streams_in_and_out() {
    let output = Shared::default();
    let mut writer =
        DatasetWriter::to_stream("stdout", output.clone(), &schema(), &WriteOptions::default()).expect("begins");
    writer.write(&rows(0..20)).expect("writes");
    writer.write(&rows(20..30)).expect("writes");
    writer.finish().expect("finishes");
    let bytes = output.0.lock().expect("one thread").clone();

    let dataset = Dataset::from_stream("stdin", Dripping(io::Cursor::new(bytes))).expect("is a stream");
    assert_eq!((dataset.schema(), dataset.rows()), (&schema(), None));
    let read = chunks(&dataset, 16, Some(&[1]));
    assert_eq!(labels(&read), (0..30).collect::<Vec<_>>());
    assert_eq!(&*read[0].file, "stdin");
    let again = dataset.read(16, None).err().expect("a stream is gone once read").to_string();
    assert!(again.contains("only once"), "{again}");

    for (start, expected) in [(&b""[..], "is empty"), (b"PAR1abcd", "is Parquet"), (b"ARROW1\0\0", "an Arrow IPC file")]
    {
        let error = Dataset::from_stream("stdin", start).expect_err("no stream").to_string();
        assert!(error.starts_with("stdin: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_closed_pipe_can_be_told() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = DatasetWriter::to_stream("stdout", Closed, &schema(), &WriteOptions::default()).expect("buffered");
    let result = (0..100).try_for_each(|_| writer.write(&rows(0..1000))).and_then(|()| writer.finish());
    let error = result.expect_err("nobody reads");
    assert!(matches!(&error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe), "{error:?}");
}

#[test]
fn outputs_appear_when_finished_and_leave_nothing_otherwise() {
    let folder = folder();
    for name in ["a.parquet", "a.arrow"] {
        let path = folder.path().join(name);
        let mut writer =
            DatasetWriter::create(&path.display().to_string(), &schema(), &WriteOptions::default()).expect("begins");
        writer.write(&rows(0..10)).expect("writes");
        assert!(!path.exists());
        assert_eq!(names(folder.path()).len(), 1, "the unfinished file lies beside");
        drop(writer);
        assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
    }
    write(&folder.path().join("a.parquet"), &[rows(0..1)], &WriteOptions::default());
    assert_eq!(names(folder.path()), ["a.parquet"]);
}

#[test]
fn existing_outputs_need_force() {
    let folder = folder();
    let path = folder.path().join("a.parquet");
    let target = path.display().to_string();
    write(&path, &[rows(0..10)], &WriteOptions::default());
    let error = DatasetWriter::create(&target, &schema(), &WriteOptions::default()).err().expect("exists");
    assert!(matches!(error, Error::OutputExists { .. }), "{error}");
    // The old file stays until the new one is whole.
    let force = WriteOptions { overwrite: true, ..WriteOptions::default() };
    let mut writer = DatasetWriter::create(&target, &schema(), &force).expect("may overwrite");
    writer.write(&rows(0..3)).expect("writes");
    assert_eq!(open(&path).expect("old file").rows(), Some(10));
    writer.finish().expect("finishes");
    assert_eq!(open(&path).expect("new file").rows(), Some(3));
    // A file that appears meanwhile is not overwritten unasked.
    let late = folder.path().join("late.parquet");
    let writer =
        DatasetWriter::create(&late.display().to_string(), &schema(), &WriteOptions::default()).expect("is free");
    fs::write(&late, b"somebody else's").expect("writes");
    assert!(matches!(writer.finish(), Err(Error::OutputExists { .. })), "it appeared meanwhile");
    assert_eq!(fs::read(&late).expect("untouched"), b"somebody else's");
    assert_eq!(names(folder.path()), ["a.parquet", "late.parquet"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let folder = folder();
    let root = folder.path().display().to_string();
    for (target, expected) in [
        (format!("{root}/missing/a.parquet"), "missing does not exist; create it first"),
        (root.clone(), "is a folder"),
        (format!("{root}/a.csv"), "the extension stands for no format"),
        ("/dev/null".to_string(), "is not a regular file"),
    ] {
        let error = DatasetWriter::create(&target, &schema(), &WriteOptions::default());
        let error = error.err().expect("cannot be").to_string();
        assert!(error.starts_with(&target) && error.contains(expected), "{error}");
    }
    let parquet = WriteOptions { format: Some(Format::Parquet), ..WriteOptions::default() };
    assert!(DatasetWriter::create("-", &schema(), &parquet).is_err(), "Parquet needs a file");
}

#[cfg(unix)]
#[test]
fn links_and_permissions_are_those_of_any_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let real = folder.path().join("real.parquet");
    let link = folder.path().join("link.parquet");
    fs::write(&real, b"old").expect("writes");
    std::os::unix::fs::symlink(&real, &link).expect("links");
    write(&link, &[rows(0..2)], &WriteOptions { overwrite: true, ..WriteOptions::default() });
    assert!(link.is_symlink() && open(&real).expect("new content").rows() == Some(2));
    let plain = folder.path().join("plain");
    fs::write(&plain, b"").expect("writes");
    let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&real), mode(&plain));
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_refused_before_work_is_done() {
    let folder = folder();
    let link = folder.path().join("link.parquet");
    std::os::unix::fs::symlink(folder.path().join("gone.parquet"), &link).expect("a link");
    for overwrite in [false, true] {
        let options = WriteOptions { overwrite, ..WriteOptions::default() };
        let refused = DatasetWriter::create(&link.display().to_string(), &schema(), &options).err().expect("a refusal");
        assert!(refused.to_string().contains("remove it first"), "{refused}");
    }
}

#[test]
fn row_groups_are_bounded_by_rows_and_by_bytes() {
    let folder = folder();
    let groups = |name: &str, batch: &RecordBatch, options: &WriteOptions| {
        let path = folder.path().join(name);
        write(&path, std::slice::from_ref(batch), options);
        let file = fs::File::open(&path).expect("just written");
        let builder = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("opens");
        builder.metadata().row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>()
    };
    let by_rows = WriteOptions { row_group_rows: 40, ..WriteOptions::default() };
    assert_eq!(groups("rows.parquet", &rows(0..100), &by_rows), [40, 40, 20]);
    // 64 images of 1 MiB of noise, which no compression makes smaller.
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let image: Vec<u8> = (0..1 << 20).map(|_| noise()).collect();
    let images: Vec<&[u8]> = (0..64).map(|_| image.as_slice()).collect();
    let array: ArrayRef = Arc::new(BinaryArray::from(images));
    let batch = RecordBatch::try_from_iter([("img", array)]).expect("one column");
    let by_bytes =
        WriteOptions { row_group_bytes: 16 << 20, compression: Compression::None, ..WriteOptions::default() };
    let found = groups("bytes.parquet", &batch, &by_bytes);
    assert_eq!(found.iter().sum::<i64>(), 64);
    assert!(found.iter().all(|&rows| rows <= 24) && found.len() <= 6, "{found:?}");
}

#[test]
fn dictionaries_that_change_between_batches() {
    let folder = folder();
    let batch = |values: Vec<&str>, keys: Vec<Option<i8>>| {
        let array = DictionaryArray::<Int8Type>::new(keys.into(), Arc::new(StringArray::from(values)));
        RecordBatch::try_from_iter([("class", Arc::new(array) as ArrayRef)]).expect("one column")
    };
    let batches = [batch(vec!["a", "b"], vec![Some(1), None]), batch(vec!["c", "a"], vec![Some(0), Some(1)])];
    for name in ["a.parquet", "a.arrow", "a.arrows"] {
        let path = folder.path().join(name);
        write(&path, &batches, &WriteOptions::default());
        let dataset = open(&path).expect(name);
        let data_type = dataset.schema().field(0).data_type().clone();
        assert_eq!(data_type == DataType::Utf8, name == "a.arrow", "{name}: {data_type}");
        let mut found = Vec::new();
        for chunk in chunks(&dataset, 10, None) {
            let plain = arrow::compute::cast(chunk.record_batch.column(0), &DataType::Utf8).expect("casts");
            found.extend(plain.as_string::<i32>().iter().map(|text| text.map(str::to_owned)));
        }
        let expected = [Some("b"), None, Some("c"), Some("a")].map(|text| text.map(str::to_owned));
        assert_eq!(found, expected, "{name}");
    }
}

/// Files of views, as other programs write them, must not grow with the number of pieces they pass through in.
#[test]
fn views_are_written_once() {
    let folder = folder();
    let images: ArrayRef = Arc::new(BinaryViewArray::from_iter_values((0..400u32).map(|row| {
        // Bytes that do not compress.
        (0..500u32).map(|byte| (row * 7919 + byte * 104_729 + (row ^ byte).pow(2)) as u8).collect::<Vec<_>>()
    })));
    let whole = RecordBatch::try_from_iter([("image", images)]).expect("a batch");
    let sizes = ["a.parquet", "a.arrow", "a.arrows"].map(|name| {
        let path = folder.path().join(name);
        let pieces: Vec<_> = (0..400).step_by(16).map(|start| whole.slice(start, 16)).collect();
        write(&path, &pieces, &WriteOptions { compression: Compression::None, ..WriteOptions::default() });
        let read = chunks(&open(&path).expect("opens"), 400, None);
        let batches: Vec<RecordBatch> = read.into_iter().map(|chunk| chunk.record_batch).collect();
        assert_eq!(concat_batches(&whole.schema(), &batches).expect("one schema"), whole, "{name}");
        fs::metadata(&path).expect("just written").len()
    });
    assert!(sizes.iter().all(|&size| (200_000..260_000).contains(&size)), "{sizes:?} bytes for 200,000");
}

#[test]
fn a_batch_of_other_columns_is_refused() {
    let folder = folder();
    for name in ["a.parquet", "a.arrow", "a.arrows"] {
        let target = folder.path().join(name).display().to_string();
        let mut writer = DatasetWriter::create(&target, &schema(), &WriteOptions::default()).expect("begins");
        let other: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
        let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("img", other), ("label", number)]).expect("two columns");
        assert!(writer.write(&batch).is_err(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_replaced_file_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let path = folder.path().join("private.parquet");
    write(&path, &[rows(0..3)], &WriteOptions::default());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("private");
    write(&path, &[rows(0..4)], &WriteOptions { overwrite: true, ..WriteOptions::default() });
    assert_eq!(path.metadata().expect("written").permissions().mode() & 0o777, 0o600);
}
