//! Large Parquet files in slices of whole row groups.

use std::ops::Range;

use super::source::{Source, SourceKind};

/// Rows from which a slice ends with its row group.
const SLICE_ROWS: u64 = 65_536;
/// Stored bytes from which it does.
const SLICE_BYTES: u64 = 512 << 20;

/// The slices of a Parquet file or of a slice of one, which is a slice by itself; nothing for other inputs.
pub(super) fn row_slices(source: &Source) -> Vec<Source> {
    let SourceKind::Parquet { location, row_groups, read } = &source.kind else { return Vec::new() };
    let mut first_row = source.first_row;
    let slice = |slice: Range<usize>| {
        let read = read.start + slice.start..read.start + slice.end;
        let rows = row_groups[read.clone()].iter().map(|(rows, _)| *rows).fold(0, u64::saturating_add);
        let kind = SourceKind::Parquet { location: location.clone(), row_groups: row_groups.clone(), read };
        let slice = source.slice(kind, first_row, rows);
        first_row = first_row.saturating_add(rows);
        slice
    };
    ranges_of(&row_groups[read.clone()]).into_iter().map(slice).collect()
}

/// Row groups that follow each other, until there are enough rows or bytes. A file without row groups is one slice.
fn ranges_of(row_groups: &[(u64, u64)]) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut rows, mut bytes) = (Vec::new(), 0, 0u64, 0u64);
    for (group, (its_rows, its_bytes)) in row_groups.iter().enumerate() {
        (rows, bytes) = (rows.saturating_add(*its_rows), bytes.saturating_add(*its_bytes));
        if rows >= SLICE_ROWS || bytes >= SLICE_BYTES {
            ranges.push(start..group + 1);
            (start, rows, bytes) = (group + 1, 0, 0);
        }
    }
    if start < row_groups.len() || ranges.is_empty() {
        ranges.push(start..row_groups.len());
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use crate::Result;
    use crate::dataset::{Chunk, Dataset};

    /// A file of so many rows, each its number, in row groups of 30,000.
    fn write(path: &Path, rows: i64) {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let batch = RecordBatch::try_from_iter([("n", column)]).expect("one column");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(30_000)).build();
        let file = std::fs::File::create(path).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("rows");
        writer.close().expect("a footer");
    }

    #[test]
    fn a_reading_in_pieces_gives_the_same_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("a.parquet"), 200_000);
        write(&folder.path().join("b.parquet"), 10);
        let dataset = Dataset::open(&[folder.path().display().to_string()]).expect("two files");
        // Where pieces end, record batches end; the rows are the same.
        let rows_of = |chunk: Result<Chunk>| {
            let chunk = chunk.expect("rows");
            let numbers = chunk.record_batch.column(0).as_primitive::<Int64Type>().values().to_vec();
            assert_eq!(numbers[0] as u64, chunk.first_row);
            numbers.into_iter().map(move |number| (chunk.source, number)).collect::<Vec<_>>()
        };
        let whole: Vec<_> = dataset.read(7_000, None).expect("rows").flat_map(rows_of).collect();
        let pieces = dataset.read(7_000, None).expect("rows").apart();
        assert_eq!(pieces.len(), 4, "three slices and a small file");
        assert!(pieces.into_iter().flatten().flat_map(rows_of).eq(whole));
        // A slice is one piece.
        let sliced = dataset.in_slices();
        assert_eq!((sliced.input_count(), sliced.read(1000, None).expect("rows").apart().len()), (4, 4));
        assert_eq!(sliced.only(&[2]).read(30_000, None).expect("rows").apart().len(), 1);
    }
}
