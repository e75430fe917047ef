//! The same images as a Parquet file, a folder of images and tar files: every command gives the same results.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, UInt64Type};
use serde_json::Value;

use crate::support::{Folder, digits, dismax, read};

/// Images with their paths and labels, as a folder of them is read: sorted by path.
fn labelled() -> Vec<(String, String, Vec<u8>)> {
    let rows = read(&digits("test"));
    let bytes = rows["image"].as_struct().column_by_name("bytes").expect("bytes").as_binary::<i32>();
    let labels = rows["label"].as_primitive::<Int64Type>();
    let image = |row: usize| {
        let label = format!("digit-{}", labels.value(row));
        (format!("{label}/{row:03}.png"), label, bytes.value(row).to_vec())
    };
    let mut images: Vec<_> = (0..rows.num_rows()).map(image).collect();
    images.sort();
    images
}

fn as_parquet(folder: &Folder, images: &[(String, String, Vec<u8>)]) -> String {
    let fields =
        Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]);
    let text = |column: fn(&(String, String, Vec<u8>)) -> &str| -> ArrayRef {
        Arc::new(images.iter().map(|image| Some(column(image))).collect::<StringArray>())
    };
    let paths = text(|(path, _, _)| path);
    let bytes: ArrayRef = Arc::new(images.iter().map(|(_, _, bytes)| Some(bytes)).collect::<BinaryArray>());
    let image: ArrayRef = Arc::new(StructArray::new(fields, vec![bytes, Arc::clone(&paths)], None));
    folder.write("one.parquet", vec![("image", image), ("path", paths), ("label", text(|(_, label, _)| label))])
}

fn as_folder(folder: &Folder, images: &[(String, String, Vec<u8>)]) -> String {
    for (path, label, bytes) in images {
        fs::create_dir_all(folder.path(&format!("photos/{label}"))).expect("a folder");
        fs::write(folder.path(&format!("photos/{path}")), bytes).expect("an image");
    }
    folder.path("photos")
}

fn as_tar(folder: &Folder, images: &[(String, String, Vec<u8>)]) -> String {
    let path = folder.path("photos.tar");
    let mut archive = tar::Builder::new(fs::File::create(&path).expect("a file"));
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).expect("a member");
    };
    for (path, label, bytes) in images {
        append(path, bytes);
        append(&path.replace(".png", ".cls"), label.as_bytes());
    }
    archive.finish().expect("an archive");
    path
}

/// What the commands say about `data`, but for names and times; files are compared by the caller.
fn results(folder: &Folder, data: &str, name: &str) -> (RecordBatch, Vec<(&'static str, Value)>) {
    let path = |what: &str| folder.path(&format!("{name}-{what}"));
    let (model, scored, audit) = (path("model"), path("scored.parquet"), path("audit"));
    let recipe = ["--epochs", "3", "--schedule", "one-cycle", "--no-flip", "--workers", "2", "--validation", "0.3"];
    dismax(&[&["train", data, "--out", &model][..], &recipe].concat()).ok();
    dismax(&["score", data, "--model", &model, "--out", &scored]).ok();
    let query = "SELECT label, count(*) AS rows, round(avg(dismax_ood_score(image)), 5) AS score, \
                 count(DISTINCT dismax_prediction(image)) AS predictions";
    let query = format!("{query} FROM '{data}' GROUP BY label ORDER BY label");
    let mut said = vec![
        ("audit", dismax(&["audit", data, "--model", &model, "--out", &audit, "--label", "label", "--json"]).json()),
        ("evaluate", dismax(&["evaluate", "--model", &model, "--id", data, "--json"]).json()),
        ("info", dismax(&["info", data, "--json"]).json()),
        ("sql", dismax(&["sql", "--model", &model, "--format", "csv", &query]).ok().text().into()),
    ];
    for (_, said) in &mut said {
        let Some(said) = said.as_object_mut() else { continue };
        said.retain(|key, _| {
            !["command", "files", "inputs", "model", "model_digest", "out", "seconds"].contains(&key.as_str())
        });
    }
    let findings = read(&format!("{audit}/findings.parquet"));
    let kinds = findings["kind"].as_string::<i32>().iter().zip(findings["row"].as_primitive::<UInt64Type>());
    said.push(("findings", format!("{:?}", kinds.collect::<Vec<_>>()).into()));
    (read(&scored), said)
}

#[test]
fn packings_of_the_same_images_give_the_same_results() {
    let folder = Folder::new();
    let images = labelled();
    let data = [
        ("parquet", as_parquet(&folder, &images)),
        ("folder", as_folder(&folder, &images)),
        ("tar", as_tar(&folder, &images)),
    ];
    let results = data.map(|(name, data)| (name, results(&folder, &data, name)));
    let (_, (rows, said)) = &results[0];
    assert_eq!(rows.num_rows(), images.len());
    for (name, (its_rows, its_said)) in &results[1..] {
        for file in ["config.json", "model.safetensors", "calibration.json"] {
            let bytes = |name: &str| fs::read(folder.path(&format!("{name}-model/{file}"))).expect(file);
            assert!(bytes("parquet") == bytes(name), "{file} of a training on {name} differs");
        }
        for column in ["label", "path", "prediction", "probabilities", "confidence", "ood_score", "is_ood"] {
            assert_eq!(&rows[column], &its_rows[column], "{column} of {name}");
        }
        for ((what, one), (_, other)) in said.iter().zip(its_said) {
            assert_eq!(one, other, "{what} of {name}");
        }
    }
}
