//! `dismax filter`.

use crate::support::{Folder, cifar10_model, digits, dismax, read};

#[test]
fn kept_and_rejected_rows_are_the_input() {
    let folder = Folder::new();
    let (kept, rejected) = (folder.path("kept.parquet"), folder.path("rejected.parquet"));
    let model = cifar10_model();
    let input = digits("mixed");
    let base = ["filter", &input, "--model", &model, "--keep", "ood", "--out", &kept, "--rejected", &rejected];
    let summary = dismax(&[&base[..], &["--json"]].concat()).json();
    let (kept_rows, rejected_rows, all) = (read(&kept), read(&rejected), read(&input));
    assert_eq!(kept_rows.schema(), all.schema());
    assert_eq!(kept_rows.num_rows() + rejected_rows.num_rows(), all.num_rows());
    assert_eq!(summary["kept"], kept_rows.num_rows());
    assert!(dismax(&base).refused(2).contains("--force"));

    let more = ["--force", "--columns", "--fdr", "0.2", "--where", "digit >= 8 AND confidence < 2"];
    let run = dismax(&[&base[..], &more[..]].concat()).ok();
    assert!(run.stderr.contains("false discovery rate 20.0 %"), "{}", run.stderr);
    assert!(read(&kept).column_by_name("is_ood").is_some());
}

#[test]
fn a_predicate_that_is_none_is_refused() {
    let folder = Folder::new();
    let (out, model, input) = (folder.path("kept.parquet"), cifar10_model(), digits("mixed"));
    let base = ["filter", &input, "--model", &model, "--keep", "in-dist", "--out", &out, "--where"];
    assert!(dismax(&[&base[..], &["colour = 1"]].concat()).refused(2).contains("colour"));
    assert!(dismax(&[&base[..], &["digit + 1"]].concat()).refused(2).contains("not true or false"));
    assert!(folder.names().is_empty());
}
