//! Tables that are no single file: folders of images, tar files, partitions, shards whose columns differ in width.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use datafusion::prelude::SessionContext;
use dismax::cancel::Cancel;
use dismax::columns::Columns;
use dismax::dataset::WriteOptions;
use dismax::filter::{FilterOptions, Keep, filter_to};
use dismax::stage::{Stage, StageOptions};
use dismax_udfs::{Models, SqlPredicate, with_file_tables};

use crate::common::{datasets, models};

fn session() -> (SessionContext, Arc<Stage>) {
    let options = StageOptions { device: dismax::Device::Cpu, workers: 2, ..StageOptions::default() };
    let stage = Arc::new(Stage::try_new(models::calibrated(), &options).unwrap());
    let session = with_file_tables(SessionContext::new());
    dismax_udfs::register(&session, Models::new().with_stage("a", Arc::clone(&stage))).unwrap();
    (session, stage)
}

async fn rows(session: &SessionContext, sql: &str) -> Vec<String> {
    let batches = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}")).collect().await.unwrap();
    let text = datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    text.lines().skip(3).filter(|line| line.starts_with('|')).map(|line| line.replace(' ', "")).collect()
}

fn picture(grey: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = image::GrayImage::from_pixel(8, 8, image::Luma([grey]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Twelve pictures of two classes.
fn images(folder: &Path) {
    for number in 0..12u8 {
        let place = folder.join(if number % 2 == 0 { "cat" } else { "dog" });
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join(format!("{number:02}.png")), picture(number * 20)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_tar_files_score_as_rows_do() {
    let folder = datasets::folder();
    let place = folder.path().join("photos");
    images(&place);
    let (session, stage) = session();
    let name = place.display();
    assert_eq!(
        rows(&session, &format!("SELECT label, count(*) FROM '{name}' GROUP BY 1 ORDER BY 1")).await,
        ["|cat|6|", "|dog|6|"]
    );
    assert_eq!(stage.stats().decoded, 0, "labels alone need no image");
    let scores = "split_part(path, '/', -1) AS file, dismax_prediction(image), round(dismax_ood_score(image), 4)";
    let of_folder = rows(&session, &format!("SELECT {scores} FROM '{name}' ORDER BY file")).await;
    assert_eq!((of_folder.len(), stage.stats().decoded), (12, 12));
    // Columns in another order than the table's, and the table function.
    let turned =
        rows(&session, &format!("SELECT label, path FROM '{name}' WHERE label = 'dog' ORDER BY path LIMIT 1")).await;
    assert_eq!(turned, ["|dog|dog/01.png|"]);
    let all = rows(&session, &format!("SELECT count(*) FROM dismax_score('{name}') WHERE error IS NULL")).await;
    assert_eq!(all, ["|12|"]);

    let mut archive = tar::Builder::new(Vec::new());
    for number in 0..12u8 {
        let bytes = picture(number * 20);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, format!("{number:02}.png"), bytes.as_slice()).unwrap();
    }
    let shard = folder.path().join("shard.tar");
    fs::write(&shard, archive.into_inner().unwrap()).unwrap();
    let of_tar = rows(&session, &format!("SELECT {scores} FROM '{}' ORDER BY file", shard.display())).await;
    assert_eq!(of_tar, of_folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_of_several_widths_are_one_table() {
    let folder = datasets::folder();
    for (name, column) in [
        ("a.parquet", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
        ("b.parquet", Arc::new(Int64Array::from(vec![1 << 40]))),
    ] {
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        datasets::write(&folder.path().join(name), &[batch], &WriteOptions::default());
    }
    let (session, _) = session();
    for name in [folder.path().display().to_string(), format!("{}/*.parquet", folder.path().display())] {
        assert_eq!(rows(&session, &format!("SELECT sum(n) FROM '{name}'")).await, ["|1099511627779|"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_beside_tables_is_no_table() {
    let folder = datasets::folder();
    fs::write(folder.path().join("_dismax.json"), "{}").unwrap();
    for name in ["z.parquet", "_hidden.parquet"] {
        datasets::write(&folder.path().join(name), &[datasets::rows(0..5)], &WriteOptions::default());
    }
    let (session, _) = session();
    for name in [folder.path().display().to_string(), format!("{}/", folder.path().display())] {
        assert_eq!(rows(&session, &format!("SELECT count(*), sum(label) FROM '{name}'")).await, ["|5|10|"], "{name}");
    }
    // None of the tables is left out without a word.
    datasets::write(&folder.path().join("a.arrow"), &[datasets::rows(0..5)], &WriteOptions::default());
    let error = session.sql(&format!("SELECT * FROM '{}'", folder.path().display())).await.expect_err("two kinds");
    assert!(error.to_string().contains(".arrow, .parquet"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_folders_leave_files_out() {
    let folder = datasets::folder();
    for (label, range) in [("cat", 0..5), ("dog", 5..9)] {
        let place = folder.path().join(format!("label={label}"));
        fs::create_dir(&place).unwrap();
        let batch = datasets::rows(range).project(&[0]).unwrap();
        datasets::write(&place.join("part-0.parquet"), &[batch], &WriteOptions::default());
    }
    fs::write(folder.path().join("_SUCCESS"), "").unwrap();
    let (session, stage) = session();
    let name = folder.path().display();
    assert_eq!(
        rows(&session, &format!("SELECT label, count(*) FROM '{name}' GROUP BY 1 ORDER BY 1")).await,
        ["|cat|5|", "|dog|4|"]
    );
    let plan =
        rows(&session, &format!("EXPLAIN FORMAT INDENT SELECT * FROM '{name}' WHERE label = 'dog'")).await.concat();
    assert!(plan.contains("label=dog/part-0.parquet") && !plan.contains("label=cat/part-0.parquet"), "{plan}");

    let dataset = datasets::open(folder.path()).unwrap();
    let extended = Columns::try_new(&stage, "").unwrap().schema(dataset.schema()).unwrap();
    let filter = |sql: &str, rejected: bool| {
        let predicate = SqlPredicate::try_new(sql, dataset.schema(), &extended).unwrap();
        let places = tempfile::tempdir().unwrap();
        let path = |name: &str| places.path().join(name).display().to_string();
        let options = FilterOptions {
            predicate: Some(Arc::new(predicate)),
            rejected: rejected.then(|| path("rejected.parquet")),
            ..FilterOptions::new(Keep::Errors)
        };
        let mut run = dismax::run::Run { cancel: Cancel::default(), progress: &mut |_| () };
        let summary = filter_to(&*stage, &dataset, &path("kept.parquet"), &options, &mut run).unwrap();
        (summary.files_left_out, summary.rows, summary.kept)
    };
    // The images of these rows are no images, so all that are looked at fail.
    assert_eq!(filter("label = 'dog'", false), (1, 4, 4));
    assert_eq!(filter("label = 'dog' AND error LIKE '%'", false), (1, 4, 4), "also beside conditions on scores");
    assert_eq!(filter("label = 'dog' OR error LIKE '%'", false), (0, 9, 9), "either may be true");
    assert_eq!(filter("label = 'dog'", true), (0, 9, 4), "rejected rows are written");
}

#[cfg(feature = "delta")]
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_version_of_a_delta_table_counts() {
    let folder = datasets::folder();
    // A name that looks like a file's.
    let table = folder.path().join("events.parquet");
    crate::common::delta::table(&table);
    let (session, _) = session();
    let name = table.display();
    let days = rows(&session, &format!("SELECT day, count(*) FROM '{name}' GROUP BY 1 ORDER BY 1")).await;
    assert_eq!(days, ["|ab|3|", "||2|"]);
    let scored = rows(&session, &format!("SELECT count(*) FROM dismax_score('{name}')")).await;
    assert_eq!(scored, ["|5|"]);

    crate::common::delta::commit(&table, 2, &["{".into()]);
    let error = session.sql(&format!("SELECT * FROM '{name}'")).await.expect_err("a damaged log").to_string();
    assert!(error.contains("is a Delta table"), "{error}");
}
