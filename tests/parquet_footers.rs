//! Parquet footers whose counts lie: an error that names the file, before memory is taken.

use std::fs;

use dismax::Dataset;

fn error_of(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("written");
    Dataset::open(&[path.display().to_string()]).map(drop).expect_err("a refusal").to_string()
}

/// A footer with its length between the marks of a file.
fn file(footer: &[u8]) -> Vec<u8> {
    [b"PAR1", footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
}

/// In Thrift's compact protocol: version 1, a schema of one column, no rows, and two thousand million row groups.
const MANY_ROW_GROUPS: &[u8] =
    b"\x15\x02\x19\x2c\x48\x06schema\x15\x02\x00\x15\x0c\x25\x02\x18\x05image\x00\x16\x00\x19\xfc\xff\xff\xff\xff\x07\x00";

#[test]
fn row_groups_that_cannot_be_there_are_an_error() {
    let error = error_of("counts.parquet", &file(MANY_ROW_GROUPS));
    for part in ["counts.parquet", "counts 2147483647 elements", "download it again"] {
        assert!(error.contains(part), "{error}");
    }
}

/// One group in the other, which the reader would follow until its stack ends.
#[test]
fn groups_that_are_too_deep_are_an_error() {
    let levels = 100_000u32;
    let count = [0xFC, levels as u8 & 0x7F | 0x80, (levels >> 7) as u8 & 0x7F | 0x80, (levels >> 14) as u8];
    let groups = b"\x35\x02\x18\x01g\x15\x02\x00".repeat(levels as usize);
    let error =
        error_of("deep.parquet", &file(&[b"\x15\x02\x19", count.as_slice(), &groups, b"\x16\x00\x00"].concat()));
    for part in ["deep.parquet", "more than 128 groups inside each other"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn files_without_a_whole_footer_are_an_error() {
    for (bytes, part) in [
        (b"PAR1".to_vec(), "shorter than its end mark"),
        ([b"PAR1".as_slice(), &[0xFF; 4], b"PAR1"].concat(), "shorter than its footer"),
        (file(&MANY_ROW_GROUPS[..20]), "does not add up"),
        ([b"PAR1".as_slice(), &[0; 4], b"PARE"].concat(), "an encrypted footer"),
    ] {
        let error = error_of("short.parquet", &bytes);
        assert!(error.contains("short.parquet") && error.contains(part), "{error}");
    }
}
