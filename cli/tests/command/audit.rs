//! `dismax audit`: from planted problems to findings, and strings that try to break the page.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, UInt64Type};
use serde_json::Value;

use crate::support::{Folder, cifar10_model, digits, dismax, pngs, read};

/// Rows whose problems are known: the number is the row.
fn planted() -> (Vec<Option<Vec<u8>>>, Vec<Option<String>>) {
    let mut images: Vec<Option<Vec<u8>>> = pngs(60).iter().map(|png| png.map(<[u8]>::to_vec)).collect();
    let mut names: Vec<Option<String>> = (0..60).map(|row| Some(format!("{row}.png"))).collect();
    let image = images[0].clone().expect("a PNG");
    images[3] = None;
    names[3] = None;
    images[4] = Some(Vec::new());
    images[5] = Some(image[..image.len() / 2].to_vec());
    images[6] = Some(b"not an image".to_vec());
    images[7] = images[20].clone();
    images[8] = Some(black());
    names[8] = Some("eight.bmp".into());
    names[9] = Some("nine.jpg".into());
    (images, names)
}

/// An 8x8 BMP of black pixels: a header of 54 bytes and rows of 24.
fn black() -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    for number in [54 + 192u32, 0, 54, 40, 8, 8, 1 | 24 << 16, 0, 192, 2835, 2835, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.resize(54 + 192, 0);
    bytes
}

fn image_column(images: Vec<Option<Vec<u8>>>, names: Vec<Option<String>>) -> ArrayRef {
    let fields =
        Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]);
    let images: ArrayRef = Arc::new(images.into_iter().collect::<BinaryArray>());
    Arc::new(StructArray::new(fields, vec![images, Arc::new(StringArray::from(names))], None))
}

/// Rows of each kind.
fn found(findings: &RecordBatch) -> BTreeMap<String, Vec<u64>> {
    let (kinds, rows) = (findings["kind"].as_string::<i32>(), findings["row"].as_primitive::<UInt64Type>());
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (kind, row) in kinds.iter().zip(rows.values()) {
        found.entry(kind.expect("a kind").to_owned()).or_default().push(*row);
    }
    found
}

#[test]
fn planted_problems_come_back() {
    let folder = Folder::new();
    let (images, names) = planted();
    let input = folder.write("input.parquet", vec![("image", image_column(images, names))]);
    let out = folder.path("audit");
    let arguments = ["audit", &input, "--model", &cifar10_model(), "--out", &out];
    let run = dismax(&[&arguments[..], &["--json", "--reference", &digits("test")]].concat());
    let summary = run.json();
    assert_eq!((summary["rows"].as_u64(), summary["scored"].as_u64()), (Some(60), Some(56)));
    assert!(summary["labels"].is_null() && summary["calibration"].is_null());
    assert_eq!(summary["drift"]["against"], "reference");

    let findings = read(&folder.path("audit/findings.parquet"));
    let found = found(&findings);
    for (kind, rows) in [
        ("empty", vec![3, 4]),
        ("truncated", vec![5]),
        ("undecodable", vec![6]),
        ("exact_duplicate", vec![20]),
        ("near_black", vec![8]),
        ("mislabelled_format", vec![9]),
    ] {
        assert_eq!(found.get(kind), Some(&rows), "{kind} in {found:?}");
        assert_eq!(summary["kinds"][kind].as_u64(), Some(rows.len() as u64), "{kind}");
    }
    // All but the broken rows and the black one are images of the reference.
    let mut leaked = found["leaked"].clone();
    leaked.sort_unstable();
    assert_eq!(leaked, (0..60).filter(|row| !(3..=6).contains(row) && *row != 8).collect::<Vec<u64>>());
    let exact =
        (0..findings.num_rows()).find(|row| findings["kind"].as_string::<i32>().value(*row) == "exact_duplicate");
    let related = findings["related_row"].as_primitive::<UInt64Type>().value(exact.expect("a finding"));
    assert_eq!(related, 7);
    let total: u64 = summary["kinds"].as_object().expect("kinds").values().filter_map(Value::as_u64).sum();
    assert_eq!((total, summary["findings"].as_u64()), (findings.num_rows() as u64, Some(total)));
    let written: Value =
        serde_json::from_slice(&fs::read(folder.path("audit/summary.json")).expect("a file")).expect("JSON");
    assert_eq!(written, summary);
    let page = fs::read_to_string(folder.path("audit/report.html")).expect("a page");
    // The template engine escapes slashes as well.
    assert!(page.contains("jpeg;base64,") && page.contains("<svg"));

    let message = dismax(&arguments).refused(2);
    assert!(message.contains("--force"), "{message}");
    dismax(&[&arguments[..], &["--force"]].concat()).ok();
    assert_eq!(folder.names(), ["audit", "input.parquet"], "nothing else is left");

    // Cleaned of the missing images, two findings are gone; the others stay although their rows have other numbers.
    let (mut images, mut names) = planted();
    images.drain(3..5);
    names.drain(3..5);
    let cleaned = folder.write("cleaned.parquet", vec![("image", image_column(images, names))]);
    let newer = folder.path("newer");
    dismax(&["audit", &cleaned, "--model", &cifar10_model(), "--out", &newer]).ok();
    let changes = folder.path("changes");
    let comparison = dismax(&["audit", "--compare", &out, &newer, "--out", &changes, "--json"]).json();
    assert_eq!((comparison["old_rows"].as_u64(), comparison["new_rows"].as_u64()), (Some(60), Some(58)));
    let of = |kind: &str| {
        let kinds = comparison["kinds"].as_array().expect("kinds");
        let change = kinds.iter().find(|change| change["kind"] == kind).expect("the kind");
        ["old", "new", "appeared", "gone"].map(|name| change[name].as_u64().expect("a count"))
    };
    assert_eq!((of("empty"), of("truncated"), of("exact_duplicate")), ([2, 0, 0, 2], [1, 1, 0, 0], [1, 1, 0, 0]));
    let changed = read(&folder.path("changes/findings.parquet"));
    assert!(changed["change"].as_string::<i32>().iter().flatten().all(|change| change == "gone"), "{comparison}");
    assert!(fs::read_to_string(folder.path("changes/report.html")).expect("a page").contains("What changed"));
    let message = dismax(&["audit", "--compare", &out, &folder.path(""), "--out", &folder.path("no")]).refused(3);
    assert!(message.contains("not an audit"), "{message}");
}

#[test]
fn labels_groups_and_days() {
    let folder = Folder::new();
    let images: ArrayRef = Arc::new(pngs(120));
    let labels: ArrayRef = Arc::new(Int64Array::from_iter((0..120).map(|row| (row % 7 != 0).then_some(row % 12))));
    let camera: ArrayRef = Arc::new(StringArray::from_iter_values((0..120).map(|row| ["a", "b"][row % 2])));
    let day: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..120).map(|row| format!("2024-05-{:02}", 1 + row / 60))));
    let input =
        folder.write("input.parquet", vec![("image", images), ("label", labels), ("camera", camera), ("taken", day)]);
    let out = folder.path("audit");
    let arguments = ["audit", &input, "--model", &cifar10_model(), "--out", &out];
    let groups = ["--group-by", "camera", "--time", "taken", "--json"];
    let run = dismax(&[&arguments[..], &groups].concat()).ok();
    // Labels 10 and 11 are no classes of the model.
    assert!(run.stderr.contains("a label that is no class of the model"), "{}", run.stderr);
    let summary = run.json();
    let by = summary["calibration"]["groups"].as_array().expect("groups");
    let has = |name: &str, value: &str| by.iter().any(|group| group["by"] == name && group["value"] == value);
    assert!(has("camera", "a") && has("camera", "b") && has("taken", "2024-05-02"), "{summary}");
    assert_eq!(summary["slices"]["by"], serde_json::json!(["camera", "taken"]));
    let confusion = summary["class_accuracy"]["confusion"].as_array().expect("cells");
    let counted: f64 = confusion.iter().filter_map(|cell| cell["rows"].as_f64()).sum();
    assert_eq!(Some(counted), summary["class_accuracy"]["rows"].as_f64());

    let refused = |more: &[&str], code: i32, expected: &str| {
        let message = dismax(&[&arguments[..], more].concat()).refused(code);
        assert!(message.contains(expected), "{message}");
    };
    let other = ["--out", "elsewhere"];
    refused(&["--force", "--group-by", "lens"], 3, "\"camera\" (Utf8)");
    refused(&["--force", "--time", "label"], 3, "\"label\" is Int64");
    refused(&["--force", "--label", "camera2"], 3, "camera2");
    refused(&["--force", "--fdr", "1"], 2, "0.05");
    let message = dismax(&["audit", &input, "--unknown", &input, other[0], &folder.path("no")]).refused(2);
    assert!(message.contains("--model"), "{message}");
    assert_eq!(folder.names(), ["audit", "input.parquet"]);
    let message =
        dismax(&["audit", &input, "--model", &cifar10_model(), "--out", &folder.path(""), "--force"]).refused(2);
    assert!(message.contains("not an audit"), "{message}");
}

#[test]
fn hostile_strings_neither_break_nor_run() {
    let folder = Folder::new();
    let hostile = [
        "<script>window.hostile = 1</script>",
        "\"><img src=x onerror=window.hostile=1>",
        "' onmouseover='window.hostile=1",
        "</style></svg></table><h1>hostile</h1>",
        "{{ 7 * 191 }}{% raw %}",
        "a\u{0}b\u{1b}[31m\r\n\u{7}",
        "\u{202e}gnp.exe\u{2066}",
        "שלום עולם",
        "javascript:window.hostile=1",
        "&lt;b&gt;&#x3c;",
    ];
    let megabyte = format!("<script>{}</script>", "x".repeat(1 << 20));
    let text = |row: usize| match row % (hostile.len() + 1) {
        last if last == hostile.len() => megabyte.clone(),
        row => hostile[row].to_owned(),
    };
    // Every image is broken, black or a copy, so that each row is shown.
    let mut images: Vec<Option<Vec<u8>>> = pngs(44).iter().map(|png| png.map(<[u8]>::to_vec)).collect();
    for (row, image) in images.iter_mut().enumerate() {
        match row % 4 {
            0 => *image = Some(b"<script>window.hostile = 1</script>".to_vec()),
            1 => *image = Some(black()),
            _ => {}
        }
    }
    let names = (0..44).map(|row| Some(text(row))).collect();
    let labels: ArrayRef = Arc::new(StringArray::from_iter((0..44).map(|row| (row % 2 == 0).then(|| text(row / 2)))));
    let group: ArrayRef = Arc::new(StringArray::from_iter_values((0..44).map(text)));
    let column = "<script>window.hostile = 1</script>";
    let columns = vec![("image", image_column(images, names)), ("label", labels), (column, group)];
    let input = folder.write("<b>&'hostile'.parquet", columns);
    let out = folder.path("audit");
    let run =
        dismax(&["audit", &input, "--model", &cifar10_model(), "--out", &out, "--group-by", column, "--json"]).ok();
    let summary: Value = serde_json::from_slice(&run.stdout).expect("JSON");
    assert_eq!(summary["kinds"]["undecodable"], 11);

    let page = fs::read_to_string(folder.path("audit/report.html")).expect("a page");
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    for raw in ["<script>window", "<img src=x", "<h1>hostile", "' onmouseover='", "1337", "\u{202e}", "\u{1b}", "\u{0}"]
    {
        assert!(!page.contains(raw), "{raw:?} stands in the page");
    }
    assert!(page.contains("&lt;script&gt;window.hostile") && page.contains("שלום עולם"));
    assert!(!page.contains(&"x".repeat(300)), "long names are cut");
    let findings = read(&folder.path("audit/findings.parquet"));
    assert!(findings["file"].as_string::<i32>().iter().flatten().all(|file| file == input));
    assert!(findings["evidence"].as_string::<i32>().iter().flatten().all(|text| text.len() < 2000));
}

#[test]
fn a_dataset_without_one_usable_image_has_a_report_and_is_no_success() {
    let folder = Folder::new();
    let nulls: ArrayRef = Arc::new(BinaryArray::new_null(3));
    let input = folder.write("nulls.parquet", vec![("image", nulls)]);
    let out = folder.path("audit");
    let message = dismax(&["audit", &input, "--model", &cifar10_model(), "--out", &out]).refused(1);
    assert!(message.contains("no row could be scored"), "{message}");
    assert_eq!(found(&read(&folder.path("audit/findings.parquet")))["empty"], [0, 1, 2]);
    let schema = read(&digits("test")).schema();
    let empty = folder.write_batch("empty.parquet", &RecordBatch::new_empty(schema));
    let out = folder.path("empty");
    let summary = dismax(&["audit", &empty, "--model", &cifar10_model(), "--out", &out, "--json"]).json();
    assert_eq!((summary["rows"].as_u64(), summary["findings"].as_u64()), (Some(0), Some(0)));
}
