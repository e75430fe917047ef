//! Reading and writing datasets: formats, order, sizes of pieces, damaged files, outputs that appear whole or not at all.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, DictionaryArray, Float32Array, Int32Array, Int64Array, RecordBatch,
    StringArray, StructArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int8Type, Int64Type, Schema, SchemaRef};
use dismax::Error;
use dismax::dataset::{Chunk, Compression, Dataset, DatasetWriter, Format, WriteOptions};
use tempfile::TempDir;

const METADATA: &str = r#"{"info": {"features": {"img": {"_type": "Image"}}}}"#;

fn schema() -> SchemaRef {
    let parts =
        Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]);
    let fields = vec![Field::new("img", DataType::Struct(parts), true), Field::new("label", DataType::Int64, true)];
    let metadata = [("huggingface", METADATA), ("dismax.temperature", "1.5")];
    let metadata = metadata.map(|(key, value)| (key.to_string(), value.to_string()));
    Arc::new(Schema::new_with_metadata(fields, metadata.into()))
}

/// Rows whose label is their number, whose image bytes repeat it, and every seventh of which is null.
fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let bytes = BinaryArray::from_iter(range.clone().map(|row| (row % 7 != 6).then(|| row.to_le_bytes().repeat(3))));
    let paths = StringArray::from_iter(range.clone().map(|row| Some(format!("{row}.png"))));
    let DataType::Struct(parts) = schema().field(0).data_type().clone() else { unreachable!("it is a struct") };
    let images = StructArray::new(parts, vec![Arc::new(bytes), Arc::new(paths)], None);
    let labels = Int64Array::from_iter_values(range);
    RecordBatch::try_new(schema(), vec![Arc::new(images), Arc::new(labels)]).expect("columns fit")
}

fn write(path: &Path, batches: &[RecordBatch], options: &WriteOptions) {
    let schema = batches.first().map_or_else(schema, RecordBatch::schema);
    let mut writer = DatasetWriter::create(&path.display().to_string(), &schema, options).expect("target is free");
    for batch in batches {
        writer.write(batch).expect("writes");
    }
    writer.finish().expect("finishes");
}

fn open(path: &Path) -> dismax::Result<Dataset> {
    Dataset::open(&[path.display().to_string()])
}

fn chunks(dataset: &Dataset, batch_rows: usize, projection: Option<&[usize]>) -> Vec<Chunk> {
    dataset.read(batch_rows, projection).expect("begins").collect::<Result<_, _>>().expect("reads")
}

fn labels(chunks: &[Chunk]) -> Vec<i64> {
    let column = |chunk: &Chunk| chunk.record_batch.column_by_name("label").expect("label").clone();
    chunks.iter().flat_map(|chunk| column(chunk).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("temporary folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn every_format_gives_rows_and_metadata_back() {
    let folder = folder();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        for name in ["a.parquet", "a.arrow", "a.feather", "a.arrows"] {
            let path = folder.path().join(name);
            let options = WriteOptions { compression, overwrite: true, ..WriteOptions::default() };
            write(&path, &[rows(0..10), rows(10..10), rows(10..33)], &options);
            let dataset = open(&path).expect(name);
            assert_eq!(dataset.schema(), &schema(), "{name}");
            assert_eq!(dataset.rows(), name.ends_with("parquet").then_some(33));
            let read = chunks(&dataset, 8, None);
            let batches: Vec<&RecordBatch> = read.iter().map(|chunk| &chunk.record_batch).collect();
            let joined = arrow::compute::concat_batches(&schema(), batches).expect("one schema");
            assert_eq!(joined, rows(0..33), "{name} {compression:?}");
            let mut next_row = 0;
            for chunk in &read {
                assert!((1..=8).contains(&chunk.record_batch.num_rows()), "{name}");
                assert_eq!((&*chunk.file, chunk.first_row), (&*path.display().to_string(), next_row));
                next_row += chunk.record_batch.num_rows() as u64;
            }
        }
    }
}

#[test]
fn an_empty_dataset_is_a_dataset() {
    let folder = folder();
    for name in ["a.parquet", "a.arrow", "a.arrows"] {
        let path = folder.path().join(name);
        write(&path, &[], &WriteOptions::default());
        let dataset = open(&path).expect(name);
        assert!(chunks(&dataset, 8, None).is_empty());
        assert_eq!(dataset.schema(), &schema());
    }
}

#[test]
fn files_of_several_formats_are_one_dataset_in_the_order_given() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    write(path("b.parquet").as_ref(), &[rows(0..5)], &WriteOptions::default());
    write(path("a.arrow").as_ref(), &[rows(5..9)], &WriteOptions::default());
    write(path("c.parquet").as_ref(), &[rows(9..12)], &WriteOptions::default());
    let dataset = Dataset::open(&[path("b.parquet"), path("a.arrow"), path("c.parquet")]).expect("one schema");
    assert_eq!(dataset.rows(), None, "the Arrow file does not tell");
    let read = chunks(&dataset, 4, Some(&[1]));
    assert_eq!(labels(&read), (0..12).collect::<Vec<_>>());
    let first_rows: Vec<u64> = read.iter().map(|chunk| chunk.first_row).collect();
    assert_eq!(first_rows, [0, 4, 0, 0]);
    assert!(read.iter().all(|chunk| chunk.record_batch.num_columns() == 1));
    assert_eq!(labels(&chunks(&dataset, 100, None)).len(), 12, "files can be read again");
    let sorted = open(folder.path()).expect("folder");
    assert_eq!(labels(&chunks(&sorted, 100, None))[..4], [5, 6, 7, 8], "a folder's files are sorted");
    assert_eq!(open(&folder.path().join("*.parquet")).expect("pattern").rows(), Some(8));
}

#[test]
fn projection_and_batch_rows_are_checked() {
    let folder = folder();
    let path = folder.path().join("a.parquet");
    write(&path, &[rows(0..5)], &WriteOptions::default());
    let dataset = open(&path).expect("opens");
    assert!(dataset.read(0, None).is_err());
    assert!(dataset.read(1, Some(&[7])).is_err());
    let both = dataset.read(2, Some(&[1, 0, 1])).expect("begins");
    assert_eq!(both.schema(), &schema(), "columns keep the dataset's order");
}

#[test]
fn columns_that_differ_are_named_with_their_file() {
    let folder = folder();
    let first = folder.path().join("a.parquet");
    write(&first, &[rows(0..5)], &WriteOptions::default());
    let other = |fields: Vec<Field>| {
        let schema = Arc::new(Schema::new(fields));
        let path = folder.path().join("b.parquet");
        write(&path, &[RecordBatch::new_empty(schema)], &WriteOptions { overwrite: true, ..WriteOptions::default() });
        open(folder.path()).expect_err("columns differ").to_string()
    };
    let image = || schema().field(0).clone();
    let label = |data_type| Field::new("label", data_type, true);
    let error = other(vec![image(), label(DataType::Int32)]);
    assert!(error.contains("b.parquet: column \"label\" is Int32, in ") && error.contains("it is Int64"), "{error}");
    let error = other(vec![image()]);
    assert!(error.contains("b.parquet: has no column \"label\""), "{error}");
    let error = other(vec![image(), label(DataType::Int64), Field::new("x", DataType::Int8, true)]);
    assert!(error.contains("b.parquet: has a column \"x\""), "{error}");
    let error = other(vec![label(DataType::Int64), image()]);
    assert!(error.contains("column \"label\" stands where"), "{error}");
}

#[test]
fn nullability_and_nested_metadata_may_differ() {
    let folder = folder();
    let list = |name: &str, nullable: bool, metadata: &str| {
        let item = Field::new("item", DataType::Float32, nullable)
            .with_metadata([("key".to_string(), metadata.to_string())].into());
        let fields = vec![Field::new("label", DataType::Int64, nullable), Field::new_list("x", item, nullable)];
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::new_empty(schema.clone());
        let columns: Vec<ArrayRef> = batch
            .columns()
            .iter()
            .map(|array| if nullable { arrow::array::new_null_array(array.data_type(), 2) } else { array.clone() })
            .collect();
        let batch = RecordBatch::try_new(schema, columns).expect("columns fit");
        write(&folder.path().join(name), &[batch], &WriteOptions::default());
    };
    list("a.parquet", false, "one");
    list("b.parquet", true, "two");
    let dataset = open(folder.path()).expect("the same columns");
    assert!(dataset.schema().field(0).is_nullable());
    let read = chunks(&dataset, 10, None);
    assert_eq!(read.iter().map(|chunk| chunk.record_batch.num_rows()).sum::<usize>(), 2);
    assert!(read.iter().all(|chunk| chunk.record_batch.schema_ref() == dataset.schema()));
}

#[test]
fn damaged_files_are_named_and_never_a_panic() {
    let folder = folder();
    for name in ["a.parquet", "a.arrow", "a.arrows"] {
        let path = folder.path().join(name);
        write(&path, &[rows(0..50), rows(50..100)], &WriteOptions::default());
        let whole = fs::read(&path).expect("just written");
        for length in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..length]).expect("writes");
            let result = open(&path).and_then(|dataset| dataset.read(32, None)?.collect::<Result<Vec<_>, _>>());
            match result {
                Err(error) => assert!(error.to_string().contains(name), "{name} cut at {length}: {error}"),
                // The end of a stream may go unmarked, so a cut between two messages cannot be seen.
                Ok(read) => assert!(name == "a.arrows" && labels(&read).len() < 100 || length + 8 >= whole.len()),
            }
        }
        fs::write(&path, &whole[..whole.len() - 4]).expect("writes");
        if name == "a.parquet" {
            let error = open(&path).expect_err("without its end").to_string();
            assert!(error.contains("incomplete or damaged") && error.contains("download it again"), "{error}");
        }
    }
}

#[test]
fn what_is_no_dataset_is_refused() {
    let folder = folder();
    let path = folder.path().join("a.parquet");
    for (content, expected) in [(&b""[..], "is empty"), (b"id,label\n1,2\n", "neither Parquet nor Arrow")] {
        fs::write(&path, content).expect("writes");
        let error = open(&path).expect_err("no dataset").to_string();
        assert!(error.contains("a.parquet") && error.contains(expected), "{error}");
    }
}

#[test]
fn the_iterator_ends_after_an_error() {
    let folder = folder();
    let path = folder.path().join("a.arrows");
    write(&path, &[rows(0..50), rows(50..100)], &WriteOptions::default());
    let whole = fs::read(&path).expect("just written");
    fs::write(&path, &whole[..whole.len() - 200]).expect("writes");
    let mut read = open(&path).expect("the schema is there").read(100, None).expect("begins");
    assert_eq!(read.next().expect("first batch").expect("is whole").record_batch.num_rows(), 50);
    assert!(read.next().expect("second batch").is_err());
    assert!(read.next().is_none());
}

#[test]
fn reading_can_move_to_another_thread() {
    let folder = folder();
    let path = folder.path().join("a.parquet");
    write(&path, &[rows(0..100)], &WriteOptions::default());
    let dataset = open(&path).expect("opens");
    let read = dataset.read(7, None).expect("begins");
    let count =
        std::thread::spawn(move || read.map(|chunk| chunk.expect("reads").record_batch.num_rows()).sum::<usize>());
    assert_eq!(count.join().expect("does not panic"), 100);
}

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
    let error = DatasetWriter::create(&target, &schema(), &WriteOptions::default()).err().expect("exists").to_string();
    assert!(error.contains("exists already") && error.contains("--force"), "{error}");
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
    assert!(writer.finish().expect_err("appeared meanwhile").to_string().contains("--force"));
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

#[test]
fn a_dataset_of_photographs_and_one_of_cifar() {
    let data = std::env::var_os("DISMAX_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), Into::into);
    let test = data.join("cifar10/test.parquet");
    if !test.exists() {
        println!("skipped: no {}", test.display());
        return;
    }
    use dismax::dataset::{ImageColumn, LabelColumn, LoadOptions, load};
    for (file, rows, sides) in [(test, 10_000, 32..=32), (data.join("large/textures.parquet"), 300, 100..=1_000)] {
        let dataset = open(&file).expect("opens");
        assert_eq!(dataset.rows(), Some(rows));
        let column = ImageColumn::find(dataset.schema(), None).expect("one column fits");
        let label = LabelColumn::find(dataset.schema(), None);
        if let Ok(label) = &label {
            assert_eq!(label.class_names().map(<[String]>::len), Some(10));
        }
        let chunk = dataset.read(64, None).expect("begins").next().expect("has rows").expect("reads");
        let images = column.values(&chunk.record_batch).expect("has the column");
        for row in 0..chunk.record_batch.num_rows() {
            let image = images.get(row).expect("not null");
            let pixels = load(&image, &chunk.file, &LoadOptions::default()).expect("decodes");
            assert!(sides.contains(&pixels.width) && sides.contains(&pixels.height));
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

    /// However rows lie in files, batches and row groups, and in whatever pieces they are read: the same rows come in
    /// the same order, numbered from the start of their file.
    #[test]
    fn pieces_do_not_change_rows(
        files in proptest::collection::vec(proptest::collection::vec(0i64..40, 0..4), 1..4),
        formats in proptest::collection::vec(0usize..3, 4),
        row_group_rows in 1usize..50,
        batch_rows in 1usize..50,
    ) {
        let folder = folder();
        let mut next = 0;
        for (index, (batches, format)) in files.iter().zip(formats).enumerate() {
            let path = folder.path().join(format!("{index}.{}", ["parquet", "arrow", "arrows"][format]));
            let batches: Vec<RecordBatch> = batches
                .iter()
                .map(|length| {
                    next += length;
                    rows(next - length..next)
                })
                .collect();
            write(&path, &batches, &WriteOptions { row_group_rows, ..WriteOptions::default() });
        }
        let read = chunks(&open(folder.path()).expect("one schema"), batch_rows, None);
        assert_eq!(labels(&read), (0..next).collect::<Vec<_>>());
        let mut expected = (None, 0);
        for chunk in &read {
            let length = chunk.record_batch.num_rows();
            assert!((1..=batch_rows).contains(&length));
            if expected.0.as_ref() != Some(&chunk.file) {
                expected = (Some(chunk.file.clone()), 0);
            }
            assert_eq!(chunk.first_row, expected.1);
            expected.1 += length as u64;
        }
    }
}
