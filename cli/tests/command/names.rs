//! Names from datasets and models cannot control the terminal.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use crate::support::{Folder, dismax, pngs};

const HOSTILE: &str = "cat\u{1b}[2J\nrows 9\u{202e}";

fn assert_harmless(text: &str) {
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    assert!(text.contains("cat\u{FFFD}[2J"), "the rest of the name is shown: {text:?}");
}

#[test]
fn class_and_column_names_are_harmless_in_info() {
    let folder = Folder::new();
    let labels: ArrayRef = Arc::new(StringArray::from_iter_values([HOSTILE, "dog", "dog"]));
    let images: ArrayRef = Arc::new(pngs(3));
    let path = folder.write("names.parquet", vec![("image", images), ("label", labels), (HOSTILE, Arc::new(pngs(3)))]);
    let info = dismax(&["info", &path, "--image", "image"]).ok();
    assert_harmless(&info.text());
    assert_eq!(info.text().matches("\nrows ").count(), 1, "a name cannot add a line: {}", info.text());
}

#[test]
fn names_are_harmless_in_refusals() {
    let folder = Folder::new();
    let path = folder.write("names.parquet", vec![(HOSTILE, Arc::new(pngs(3)) as ArrayRef)]);
    assert_harmless(&dismax(&["train", &path, "--out", &folder.path("out")]).refused(3));
}
