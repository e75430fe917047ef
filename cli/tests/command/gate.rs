//! `dismax audit --fail-on` and `dismax clean`: what a pipeline sees.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray};

use crate::support::{Folder, cifar10_model, dismax, pngs, read};

/// Forty digits: the fifth is missing, the last is the first again.
fn input(folder: &Folder) -> String {
    let mut images: Vec<Option<Vec<u8>>> = pngs(40).iter().map(|png| png.map(<[u8]>::to_vec)).collect();
    images[4] = None;
    images[39] = images[0].clone();
    let images: ArrayRef = Arc::new(images.into_iter().collect::<BinaryArray>());
    folder.write("input.parquet", vec![("image", images)])
}

#[test]
fn broken_rules_have_an_exit_code_of_their_own() {
    let folder = Folder::new();
    let (input, out, model) = (input(&folder), folder.path("audit"), cifar10_model());
    let base = ["audit", &input, "--model", &model, "--out", &out];
    let message = dismax(&[&base[..], &["--fail-on", "empty>0,leakd>0"]].concat()).refused(2);
    assert!(message.contains("\"leakd\"") && message.contains("near_duplicate"), "{message}");
    // A rule that could never be broken.
    let message = dismax(&[&base[..], &["--fail-on", "empty>0,leaked>0"]].concat()).refused(2);
    assert!(message.contains("leaked is not looked for without a reference; audit with --reference"), "{message}");
    assert_eq!(folder.names(), ["input.parquet"]);

    let (junit, markdown) = (folder.path("audit.xml"), folder.path("audit.md"));
    let files = ["--junit", &junit, "--markdown", &markdown, "--accept-template", &folder.path("template.csv")];
    let rules = ["--fail-on", "empty>0,truncated>0", "--fail-on", "exact_duplicate>2%", "--json"];
    let run = dismax(&[&base[..], &files, &rules].concat());
    assert_eq!(run.code, Some(5), "{}", run.stderr);
    assert!(run.stderr.contains("dismax: broken: empty>0: 1 finding in 1 row (2.5 %)"), "{}", run.stderr);
    assert!(run.stderr.contains("passed: truncated>0: 0 findings"), "{}", run.stderr);
    let json: serde_json::Value = serde_json::from_slice(&run.stdout).expect("JSON");
    let broken = ["empty>0", "truncated>0", "exact_duplicate>2%"].map(|rule| {
        let rules = json["gate"]["rules"].as_array().expect("rules");
        rules.iter().find(|result| result["rule"] == rule).expect("the rule")["broken"].as_bool()
    });
    assert_eq!(broken, [Some(true), Some(false), Some(true)]);
    assert_eq!(json["rows"], 40, "the summary is there too");
    assert!(fs::read_to_string(&junit).expect("a file").contains("<failure"));
    assert!(fs::read_to_string(&markdown).expect("a file").contains("failed, 2 rules broken"));
    assert!(folder.names().contains(&"audit".to_owned()), "the audit is written all the same");

    // On an audit that exists, without making another.
    let gate = ["audit", "--gate", &out];
    dismax(&[&gate[..], &["--fail-on", "truncated>0"]].concat()).ok();
    assert_eq!(dismax(&[&gate[..], &["--quiet", "--fail-on", "any>0"]].concat()).code, Some(5));
    let message = dismax(&[&gate[..], &["--fail-on", "label_issue:high>0"]].concat()).refused(2);
    assert!(message.contains("not looked for without a model and labels"), "{message}");
    let accepted = folder.path("accepted.csv");
    let template = fs::read_to_string(folder.path("template.csv")).expect("a template");
    let header = template.lines().next().expect("a header");
    fs::write(&accepted, &template).expect("written");
    let none = folder.path("none.csv");
    fs::write(&none, header).expect("written");
    let files = ["--accept", &none, "--accept", &accepted];
    let run = dismax(&[&gate[..], &["--fail-on", "any>0", "--json"], &files].concat());
    assert_eq!(run.json()["gate"]["rules"][0]["findings"], 0);
    fs::write(&accepted, "image_digest,kind\nabc,empty\n").expect("written");
    let message = dismax(&[&gate[..], &["--accept", &accepted]].concat()).refused(3);
    assert!(message.contains("accepted.csv, line 2"), "{message}");
    assert!(dismax(&[&gate[..], &["--out", &out]].concat()).refused(2).contains("--gate"));
    assert!(dismax(&["audit", "--gate", &folder.path("")]).refused(3).contains("not an audit"));
    let message = dismax(&[&gate[..], &["--fail-on", "any>0", "--junit", &junit]].concat()).refused(2);
    assert!(message.contains("--force"), "{message}");

    // Nothing is new, so nothing counts.
    let newer = folder.path("newer");
    let run = dismax(&[
        "audit",
        &input,
        "--model",
        &model,
        "--out",
        &newer,
        "--baseline",
        &out,
        "--fail-on",
        "any>0",
        "--rows",
        &folder.path("rows.parquet"),
        "--history",
        &folder.path("history"),
    ])
    .ok();
    assert!(run.stderr.contains("new       none"), "{}", run.stderr);
    assert_eq!(read(&folder.path("rows.parquet")).num_rows(), 40);
    assert_eq!(fs::read_to_string(folder.path("history/history.jsonl")).expect("a history").lines().count(), 1);
}

#[test]
fn a_folder_of_images_becomes_a_clean_dataset() {
    let folder = Folder::new();
    let photos = folder.path("photos");
    fs::create_dir(&photos).expect("a folder");
    let images = pngs(8);
    for (row, image) in images.iter().enumerate() {
        let image = if row == 5 { images.value(1) } else { image.expect("a PNG") };
        let image = if row == 2 { &image[..image.len() / 2] } else { image };
        fs::write(format!("{photos}/{row}.png"), image).expect("written");
    }
    let (audit, kept, removed) = (folder.path("audit"), folder.path("kept.parquet"), folder.path("removed.parquet"));
    dismax(&["audit", &photos, "--model", &cifar10_model(), "--out", &audit]).ok();
    let base = ["clean", &audit, "--keep-one", "exact_duplicate"];
    let run = dismax(&[&base[..], &["--dry-run", "--json"]].concat());
    let numbers = run.json();
    assert_eq!((&numbers["kept"], &numbers["removed"]), (&6.into(), &2.into()));
    assert_eq!(folder.names(), ["audit", "photos"]);
    assert!(dismax(&base).refused(2).contains("--out"));

    let outputs = ["--out", &kept, "--removed", &removed];
    let run = dismax(&[&base[..], &outputs].concat()).ok();
    assert!(run.stderr.contains("1 truncated, 1 exact_duplicate"), "{}", run.stderr);
    let paths = |path: &str| {
        let rows = read(path);
        let paths = rows["path"].as_string::<i32>();
        paths.iter().flatten().map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(paths(&removed), ["2.png", "5.png"]);
    assert_eq!(paths(&kept), ["0.png", "1.png", "3.png", "4.png", "6.png", "7.png"]);
    let rows = read(&kept);
    let bytes = rows["image"].as_struct().column_by_name("bytes").expect("images").clone();
    assert_eq!(bytes.as_binary::<i32>().value(1), images.value(1), "the images are in the rows");
    assert!(dismax(&[&base[..], &outputs].concat()).refused(2).contains("--force"));
    let moved = folder.path("moved");
    fs::rename(&photos, &moved).expect("renamed");
    dismax(&[&base[..], &outputs, &["--force"]].concat()).refused(3);
    dismax(&[
        "clean",
        &audit,
        &moved,
        "--keep-one",
        "exact_duplicate",
        outputs[0],
        &kept,
        outputs[2],
        &removed,
        "--force",
    ])
    .ok();
    assert_eq!((read(&kept).num_rows(), paths(&removed).len()), (6, 2));
    fs::rename(&moved, &photos).expect("renamed");
    let message = dismax(&["clean", &audit, "--drop", "blury", "--dry-run"]).refused(2);
    assert!(message.contains("the kinds are"), "{message}");
    let message = dismax(&[&base[..], &["--out", "-", "--removed", &removed]].concat()).refused(2);
    assert!(message.contains("name two"), "{message}");
    let same = ["--out", &kept, "--removed", &kept, "--force"];
    assert!(dismax(&[&base[..], &same].concat()).refused(2).contains("the removed rows"));
    fs::write(format!("{photos}/2.png"), images.value(2)).expect("written");
    let message = dismax(&[&base[..], &outputs, &["--force"]].concat()).refused(3);
    assert!(message.contains("another image"), "{message}");
}

#[test]
fn the_example_of_a_pipeline_ends_with_a_clean_dataset() {
    let folder = Folder::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/audit_gate.sh");
    let mut example = Command::new("bash");
    example.arg(script).arg(folder.path("out")).env("DISMAX", env!("CARGO_BIN_EXE_dismax")).stdin(Stdio::null());
    let output = example.output().expect("bash starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("broken: broken>0") && stderr.contains("passed: broken>0"), "{stderr}");
    let rows = |name: &str| read(&folder.path(&format!("out/{name}.parquet"))).num_rows();
    assert_eq!(rows("kept") + rows("removed"), 721);
}
