//! Where rows come from besides single tables: shards that differ, folders of partitions, images and tar files, damaged
//! files among many.

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, LargeBinaryArray, RecordBatch, StringArray};
use arrow::array::{StringViewArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema};
use common::datasets::{chunks, folder, labels, open, rows, write};
use dismax::dataset::{Chunk, Dataset, LoadOptions, OnBadFile, OpenOptions, WriteOptions};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

/// A column of text, over all chunks.
fn texts(chunks: &[Chunk], name: &str) -> Vec<Option<String>> {
    let column = |chunk: &Chunk| chunk.record_batch.column_by_name(name).expect("the column").clone();
    chunks
        .iter()
        .map(column)
        .flat_map(|column| column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>())
        .collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

/// A grey PNG of 2 x 2 pixels.
fn png(grey: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(2, 2, image::Luma([grey]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .expect("encodes");
    bytes.into_inner()
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("joined")).expect("a folder");
    fs::write(path, bytes).expect("a file");
}

/// The first red value of each row's image, or the code of why it has none.
fn greys(dataset: &Dataset) -> Vec<String> {
    let column = dataset.image_column(None).expect("images");
    let mut greys = Vec::new();
    for chunk in chunks(dataset, 3, None) {
        let images = column.images(&chunk).expect("images");
        greys.extend((0..images.len()).map(|row| match LoadOptions::default().load(&images, row) {
            Ok(pixels) => pixels.data[0].to_string(),
            Err(error) => error.to_string(),
        }));
    }
    greys
}

#[test]
fn shards_of_other_orders_and_widths_are_one_dataset() {
    let folder = folder();
    write(&folder.path().join("a.parquet"), &[rows(0..5)], &WriteOptions::default());
    // As Polars writes it: large and view types, columns turned around, narrower numbers.
    let source = rows(5..9);
    let image = source.column(0).as_struct();
    let (bytes, paths) = (image.column(0).as_binary::<i32>(), image.column(1).as_string::<i32>());
    let parts = Fields::from(vec![
        Field::new("bytes", DataType::LargeBinary, true),
        Field::new("path", DataType::Utf8View, true),
    ]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(LargeBinaryArray::from_iter(bytes.iter())), Arc::new(StringViewArray::from_iter(paths.iter()))];
    let image: ArrayRef = Arc::new(StructArray::new(parts, columns, None));
    let label: ArrayRef = Arc::new(Int32Array::from_iter_values(5..9));
    let batch = RecordBatch::try_from_iter([("label", label), ("img", image)]).expect("columns fit");
    write(&folder.path().join("b.parquet"), &[batch], &WriteOptions::default());

    let dataset = open(folder.path()).expect("one dataset");
    let read = chunks(&dataset, 3, None);
    assert_eq!(labels(&read), (0..9).collect::<Vec<_>>());
    let schema = dataset.schema();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["img", "label"]);
    let column = dataset.image_column(None).expect("images");
    let images = column.images(&read[3]).expect("images");
    assert_eq!(images.name(0), Some("8.png"), "the last row of the second file");
    // Only some of the columns, in the dataset's order.
    assert_eq!(labels(&chunks(&dataset, 4, Some(&[1]))), (0..9).collect::<Vec<_>>());
}

#[test]
fn a_value_that_does_not_fit_is_named() {
    let folder = folder();
    let times = |unit: DataType, value: i64| -> RecordBatch {
        let column = arrow::compute::cast(&Int64Array::from(vec![value]), &unit).expect("a time");
        RecordBatch::try_from_iter([("at", column)]).expect("one column")
    };
    use arrow::datatypes::TimeUnit::{Microsecond, Second};
    write(
        &folder.path().join("a.parquet"),
        &[times(DataType::Timestamp(Microsecond, None), 1)],
        &WriteOptions::default(),
    );
    // Arrow IPC keeps seconds, which Parquet does not know.
    write(
        &folder.path().join("b.arrow"),
        &[times(DataType::Timestamp(Second, None), i64::MAX)],
        &WriteOptions::default(),
    );
    let dataset = open(folder.path()).expect("units differ in width only");
    let error = dataset.read(10, None).expect("begins").find_map(Result::err).expect("too large").to_string();
    assert!(error.contains("b.arrow, column \"at\"") && error.contains("does not fit"), "{error}");
}

#[test]
fn names_of_folders_are_columns() {
    let folder = folder();
    for (place, range) in [("label=cat/day=1", 0..2), ("label=cat/day=2", 2..4), ("label=dog/day=1", 4..6)] {
        fs::create_dir_all(folder.path().join(place)).expect("a folder");
        let batch = rows(range).project(&[0]).expect("the images");
        write(&folder.path().join(place).join("part-0.parquet"), &[batch], &WriteOptions::default());
    }
    let dataset = open(folder.path()).expect("one dataset");
    let names: Vec<&str> = dataset.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["img", "label", "day"]);
    let read = chunks(&dataset, 10, Some(&[2, 1]));
    assert_eq!(texts(&read, "label"), some(&["cat", "cat", "cat", "cat", "dog", "dog"]));
    assert_eq!(texts(&read, "day"), some(&["1", "1", "2", "2", "1", "1"]));
    assert_eq!(dataset.label_column(None).expect("text is a label").name(), "label");
    // A pattern says the same; a file beside them lacks the columns.
    let pattern = format!("{}/label=cat/*/*.parquet", folder.path().display());
    assert_eq!(Dataset::open(&[&pattern]).expect("matches").schema(), dataset.schema());
    write(&folder.path().join("z.parquet"), &[rows(6..7).project(&[0]).expect("images")], &WriteOptions::default());
    let error = open(folder.path()).expect_err("no label").to_string();
    assert!(error.contains("z.parquet: has no column \"label\""), "{error}");
}

#[test]
fn a_folder_of_class_folders_is_a_dataset() {
    let folder = folder();
    for (name, grey) in
        [("cat/b.png", 2), ("cat/a.png", 1), ("dog/x/c.png", 3), ("dog/.hidden.png", 9), ("_x/d.png", 9)]
    {
        put(folder.path(), name, &png(grey));
    }
    put(folder.path(), "cat/notes.txt", b"not an image");
    put(folder.path(), "dog/z.jpg", b"broken");
    let dataset = open(folder.path()).expect("images");
    assert_eq!(dataset.rows(), Some(4));
    let read = chunks(&dataset, 3, None);
    assert_eq!(texts(&read, "path"), some(&["cat/a.png", "cat/b.png", "dog/x/c.png", "dog/z.jpg"]));
    assert_eq!(texts(&read, "label"), some(&["cat", "cat", "dog", "dog"]));
    let found = greys(&dataset);
    assert_eq!(found[..3], ["1", "2", "3"]);
    assert!(found[3].starts_with("unknown_format"), "{}", found[3]);
    // The labels alone need no image.
    assert_eq!(texts(&chunks(&dataset, 2, Some(&[2])), "label").len(), 4);
    let one = Dataset::open(&[folder.path().join("cat/a.png").display().to_string()]).expect("one image");
    assert_eq!((one.rows(), greys(&one)), (Some(1), vec!["1".to_owned()]));
    assert!(one.label_column(None).is_err(), "a single file has no class");
}

#[test]
fn metadata_beside_images_are_columns_and_lose_no_row() {
    let tables: [(&str, &[u8]); 2] = [
        ("metadata.csv", b"file_name,caption,size\n1.png,one,10\nsub/2.png,two,20\ngone.png,,30\n"),
        ("metadata.jsonl", b"{\"file_name\": \"1.png\", \"caption\": \"one\", \"size\": 10}\n\
            {\"file_name\": \"sub/2.png\", \"caption\": \"two\", \"size\": 20}\n{\"file_name\": \"gone.png\", \"size\": 30}\n"),
    ];
    for (table, text) in tables {
        let folder = folder();
        put(folder.path(), "1.png", &png(1));
        put(folder.path(), "sub/2.png", &png(2));
        put(folder.path(), "unnamed.png", &png(3));
        put(folder.path(), table, text);
        let dataset = open(folder.path()).expect(table);
        let read = chunks(&dataset, 10, None);
        assert_eq!(texts(&read, "path"), some(&["1.png", "gone.png", "sub/2.png", "unnamed.png"]), "{table}");
        let captions = [Some("one"), None, Some("two"), None].map(|text| text.map(str::to_owned));
        assert_eq!(texts(&read, "caption"), captions, "{table}");
        let sizes = read[0].record_batch.column_by_name("size").expect("a column").as_primitive::<Int64Type>().clone();
        assert_eq!(sizes.iter().collect::<Vec<_>>(), [Some(10), Some(30), Some(20), None], "{table}");
        let found = greys(&dataset);
        assert!(found[1].starts_with("file_not_readable") && found[1].contains("gone.png"), "{}", found[1]);
        assert_eq!([&found[0], &found[2], &found[3]], ["1", "2", "3"], "{table}");
    }
    let folder = folder();
    put(folder.path(), "1.png", &png(1));
    for (text, expected) in [("name\n1.png\n", "no column \"file_name\""), ("file_name\n../x.png\n", "does not lie in")]
    {
        put(folder.path(), "metadata.csv", text.as_bytes());
        let error = open(folder.path()).expect_err("unusable").to_string();
        assert!(error.contains("metadata.csv") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_row_with_its_reason() {
    let folder = folder();
    put(folder.path(), "a.png", &png(1));
    put(folder.path(), "b.png", &png(2));
    let dataset = open(folder.path()).expect("images");
    fs::remove_file(folder.path().join("b.png")).expect("removed");
    let found = greys(&dataset);
    assert_eq!(found[0], "1");
    assert!(found[1].starts_with("file_not_readable") && found[1].contains("No such file"), "{}", found[1]);
    // A table that names a file is another matter: its paths may lead anywhere.
    let row = RecordBatch::try_from_iter([("image", {
        let parts =
            Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]);
        let bytes = arrow::array::new_null_array(&DataType::Binary, 1);
        let path: ArrayRef = Arc::new(StringArray::from(vec!["a.png"]));
        Arc::new(StructArray::new(parts, vec![bytes, path], None)) as ArrayRef
    })]);
    write(&folder.path().join("rows.parquet"), &[row.expect("one column")], &WriteOptions::default());
    let found = greys(&open(&folder.path().join("rows.parquet")).expect("a table"));
    assert!(found[0].contains("is not allowed"), "{}", found[0]);
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).expect("fits");
    }
    archive.into_inner().expect("ends")
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("packs");
    encoder.finish().expect("ends")
}

#[test]
fn samples_of_tar_files_are_rows() {
    let (one, two) = (png(1), png(2));
    let members: [(&str, &[u8]); 8] = [
        ("a/000.png", &one),
        ("a/000.cls", b"7\n"),
        ("a/000.json", b"{}"),
        ("a/._000.png", b"left by macOS"),
        ("a/001.cls", b"3"),
        ("a/001.PNG", &two),
        ("a/001.left.png", &one),
        ("b/001.cls", b"5"),
    ];
    let (folder, bytes) = (folder(), tar(&members));
    put(folder.path(), "shards/0.tar", &bytes);
    put(folder.path(), "shards/1.tar.gz", &packed(&bytes));
    let dataset = open(&folder.path().join("shards")).expect("shards");
    let names: Vec<&str> = dataset.schema().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["image", "path", "label", "json", "left.png"]);
    let read = chunks(&dataset, 2, None);
    assert_eq!(labels(&read), [7, 3, 5, 7, 3, 5]);
    assert_eq!(texts(&read, "path")[..3], some(&["a/000.png", "a/001.PNG", "b/001"]));
    assert_eq!(texts(&read, "json")[..3], [Some("{}".to_owned()), None, None]);
    assert_eq!(greys(&dataset), ["1", "2", "null_image", "1", "2", "null_image"]);
    // From a stream, packed or not.
    for bytes in [bytes.clone(), packed(&bytes)] {
        let dataset = Dataset::from_stream("stream", std::io::Cursor::new(bytes)).expect("samples");
        assert_eq!(labels(&chunks(&dataset, 2, Some(&[2]))), [7, 3, 5]);
    }
}

#[test]
fn damaged_tar_files_are_named() {
    let (folder, image) = (folder(), png(1));
    let bytes = tar(&[("000.png", &image), ("001.png", &image), ("001.cls", b"dog")]);
    let path = folder.path().join("a.tar");
    for length in [600, 700, 1200, 2000] {
        fs::write(&path, &bytes[..length]).expect("written");
        let read = open(&path).and_then(|dataset| dataset.read(1, None)?.collect::<Result<Vec<_>, _>>());
        let error = read.expect_err("cut off").to_string();
        assert!(error.contains("a.tar") && error.contains("incomplete or damaged"), "{length}: {error}");
    }
    let numbers = tar(&[("0.png", &image), ("0.cls", b"1"), ("1.png", &image), ("1.cls", &[0xFF])]);
    fs::write(&path, numbers).expect("written");
    let error = open(&path).expect("its columns are known").read(9, None).expect("begins").find_map(Result::err);
    let error = error.expect("no text").to_string();
    assert!(error.contains("a.tar, 1.cls: is not text"), "{error}");
}

#[test]
fn damaged_files_are_left_out_on_request_and_listed() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    write(&path("a.parquet"), &[rows(0..5)], &WriteOptions::default());
    write(&path("c.arrows"), &[rows(5..7), rows(7..50)], &WriteOptions::default());
    write(&path("d.parquet"), &[rows(50..55)], &WriteOptions::default());
    fs::write(path("b.parquet"), b"PAR1 and nothing else").expect("written");
    let whole = fs::read(path("c.arrows")).expect("just written");
    fs::write(path("c.arrows"), &whole[..whole.len() - 100]).expect("written");

    let name = [folder.path().display().to_string()];
    assert!(Dataset::open(&name).expect_err("damaged").to_string().contains("b.parquet"));
    let options = OpenOptions { on_bad_file: OnBadFile::Skip, ..OpenOptions::default() };
    let dataset = Dataset::open_with(&name, options.clone()).expect("the others");
    let read = chunks(&dataset, 10, None);
    assert_eq!(labels(&read), [0, 1, 2, 3, 4, 5, 6, 50, 51, 52, 53, 54]);
    let bad: Vec<(String, u64)> = dataset.bad_files().iter().map(|bad| (bad.reason.clone(), bad.rows)).collect();
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert!(bad[0].0.contains("b.parquet") && bad[0].1 == 0, "{bad:?}");
    assert!(bad[1].0.contains("c.arrows") && bad[1].1 == 2, "{bad:?}");

    // Rows of the row groups before the damage come, though they fill no record batch.
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(5)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows(0..15).schema(), Some(groups)).expect("a writer");
    writer.write(&rows(0..15)).expect("rows");
    let mut file = writer.into_inner().expect("a file");
    let footer = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file.clone())).expect("a footer");
    let last = usize::try_from(footer.metadata().row_group(2).column(0).data_page_offset()).expect("in the file");
    file[last..last + 20].fill(0xFF);
    fs::write(path("f.parquet"), file).expect("a file");
    let dataset = Dataset::open_with(&[path("f.parquet").display().to_string()], options.clone()).expect("a footer");
    assert_eq!(labels(&chunks(&dataset, 100, None)), (0..10).collect::<Vec<_>>());
    assert_eq!(dataset.bad_files()[0].rows, 10);

    // Columns that do not fit are no damage.
    let other = RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("x", DataType::Int8, true)])));
    write(&path("e.parquet"), &[other], &WriteOptions::default());
    assert!(Dataset::open_with(&name, options).is_err());
}
