//! Parquet files whose rows differ in size by orders of magnitude: memory goes by the decoded rows, and no row is lost.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, DictionaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Int8Type};
use dismax::Dataset;
use dismax::dataset::{BatchSize, used_bytes};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::{ParquetMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::WriterProperties;

const MIB: usize = 1 << 20;

/// Writes rows of these images, each equal to others of its length, so that a dictionary keeps the file small.
fn write(path: &Path, lengths: &[usize], row_group: usize) {
    let file = File::create(path).expect("a temporary file");
    let properties = WriterProperties::builder()
        .set_dictionary_page_size_limit(1 << 30)
        .set_max_row_group_row_count(Some(row_group))
        .set_write_batch_size(1)
        .build();
    let batch = |lengths: &[usize], first: usize| {
        let images = BinaryArray::from_iter_values(lengths.iter().map(|length| vec![*length as u8; *length]));
        let numbers = Int64Array::from_iter_values((first..first + lengths.len()).map(|row| row as i64));
        RecordBatch::try_from_iter([("image", Arc::new(images) as ArrayRef), ("row", Arc::new(numbers) as ArrayRef)])
            .expect("two columns")
    };
    let mut writer = ArrowWriter::try_new(file, batch(&[], 0).schema(), Some(properties)).expect("a writer");
    for (piece, lengths) in lengths.chunks(8).enumerate() {
        writer.write(&batch(lengths, piece * 8)).expect("written");
    }
    writer.close().expect("closed");
}

/// Reads everything: checks each row, and returns rows and bytes of the record batches.
fn read(path: &Path, size: BatchSize, lengths: &[usize]) -> Vec<(usize, usize)> {
    let dataset = Dataset::open(&[path.display().to_string()]).expect("opens");
    let mut next = 0;
    let mut sizes = Vec::new();
    for chunk in dataset.read(size, None).expect("begins") {
        let batch = chunk.expect("a sound file").record_batch;
        let (images, numbers) = (batch.column(0).as_binary::<i32>(), batch.column(1));
        for row in 0..batch.num_rows() {
            assert_eq!(numbers.as_primitive::<arrow::datatypes::Int64Type>().value(row), next as i64);
            assert_eq!(images.value(row).len(), lengths[next], "row {next}");
            next += 1;
        }
        sizes.push((batch.num_rows(), batch.columns().iter().map(used_bytes).sum()));
    }
    assert_eq!(next, lengths.len());
    sizes
}

/// 64 rows of these would not fit into one column of bytes, which counts them with 32 bits.
#[test]
fn large_images_among_small_ones_are_read() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("mixed.parquet");
    let lengths = [vec![2000; 1000], vec![40 * MIB; 66], vec![3000; 1000]].concat();
    write(&path, &lengths, lengths.len());
    let sizes = read(&path, BatchSize { rows: 64, bytes: 64 * MIB }, &lengths);
    assert!(sizes.iter().all(|(rows, bytes)| *rows == 1 || *bytes <= 64 * MIB), "{sizes:?}");
    assert!(sizes[..15].iter().all(|(rows, _)| *rows == 64), "small rows make full batches: {sizes:?}");
}

/// A dictionary of one picture: the file tells nothing of the bytes of its rows.
#[test]
fn memory_goes_by_decoded_rows() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("one.parquet");
    let lengths = vec![3 * MIB; 100];
    write(&path, &lengths, 45);
    assert!(path.metadata().expect("a file").len() < 4 * 4 * MIB as u64);
    let sizes = read(&path, BatchSize { rows: 64, bytes: 10 * MIB }, &lengths);
    assert!(sizes.iter().all(|(rows, bytes)| *rows <= 3 && *bytes <= 10 * MIB), "{sizes:?}");
}

#[test]
fn record_batches_are_full_across_row_groups() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("groups.parquet");
    let lengths: Vec<usize> = (0..100).map(|row| row % 7).collect();
    write(&path, &lengths, 9);
    let rows = |size: usize| read(&path, size.into(), &lengths).into_iter().map(|(rows, _)| rows).collect::<Vec<_>>();
    assert_eq!(rows(40), [40, 40, 20]);
    assert_eq!(rows(7), [vec![7; 14], vec![2]].concat());
    assert_eq!(rows(1000), [100]);
    let tight = read(&path, BatchSize { rows: 1000, bytes: 1 }, &lengths);
    assert!(tight.iter().all(|(rows, _)| *rows == 1), "a row is never cut: {tight:?}");
}

/// Two dictionaries that are too large together for their keys.
#[test]
fn dictionaries_that_do_not_fit_together_are_read_apart() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("dictionaries.parquet");
    let words = |prefix: &str| (0..100).map(|word| format!("{prefix}{word}")).collect::<Vec<_>>();
    let batch = |words: &[String]| {
        let words: DictionaryArray<Int8Type> = words.iter().map(String::as_str).collect();
        RecordBatch::try_from_iter([("word", Arc::new(words) as ArrayRef)]).expect("one column")
    };
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).build();
    let file = File::create(&path).expect("a temporary file");
    let mut writer = ArrowWriter::try_new(file, batch(&[]).schema(), Some(properties)).expect("a writer");
    for prefix in ["a", "b"] {
        writer.write(&batch(&words(prefix))).expect("written");
    }
    writer.close().expect("closed");
    let dataset = Dataset::open(&[path.display().to_string()]).expect("opens");
    let mut read = Vec::new();
    for chunk in dataset.read(1000, None).expect("begins") {
        let column = arrow::compute::cast(chunk.expect("reads").record_batch.column(0), &DataType::Utf8).expect("text");
        read.extend(column.as_string::<i32>().iter().map(|word| word.expect("a word").to_owned()));
    }
    assert_eq!(read, [words("a"), words("b")].concat());
}

/// Rows that a footer promises and the pages do not hold are lost rows, not an end.
#[test]
fn fewer_rows_than_promised_are_an_error() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("short.parquet");
    write(&path, &[5; 20], 20);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&File::open(&path).expect("a file")).expect("sound");
    let mut group = metadata.row_group(0).clone().into_builder().set_num_rows(i64::MAX / 3);
    group = group.set_column_metadata(metadata.row_group(0).columns().to_vec());
    let group = group.build().expect("a row group");
    let lying = ParquetMetaDataBuilder::new(metadata.file_metadata().clone())
        .add_row_group(group.clone())
        .add_row_group(group.clone())
        .add_row_group(group)
        .build();
    let mut file = File::options().write(true).open(&path).expect("a file");
    file.seek(SeekFrom::End(0)).expect("its end");
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &lying).finish().expect("a footer");
    file.write_all(&footer).expect("written");
    // Three such files promise more rows than 64 bits count.
    let dataset = Dataset::open(&vec![path.display().to_string(); 3]).expect("opens");
    assert_eq!(dataset.rows(), Some(u64::MAX));
    let error = dataset.read(64, None).expect("begins").find_map(Result::err).expect("rows are missing").to_string();
    assert!(error.contains("short.parquet") && error.contains("row group 0 holds 20 rows"), "{error}");
}
