//! Files as tables in `dismax sql`: their names, and files of other tools.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};

use crate::support::{Folder, cifar10_model, digits, dismax, pngs, read};

fn rows(sql: &str) -> crate::support::Run {
    dismax(&["sql", "--model", &cifar10_model(), "--format", "csv", sql])
}

fn case(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/cases");
    folder.join(name).display().to_string()
}

/// A name that exists is a file, though it could be a pattern or an address.
#[test]
fn any_name_is_a_file_where_there_is_one() {
    let folder = Folder::new();
    for name in ["[1].parquet", "scan:1.parquet", "x [alt]/a b%20.parquet", "what?.parquet"] {
        let path = folder.path(name);
        std::fs::create_dir_all(Path::new(&path).parent().expect("in the folder")).expect("a folder");
        std::fs::copy(digits("mixed"), &path).expect("a copy");
        for table in [format!("'{path}'"), format!("dismax_score('{path}')")] {
            let run = rows(&format!("SELECT count(*) AS rows FROM {table}")).ok();
            assert_eq!(run.text(), "rows\n721\n", "{table}");
        }
    }
    let alone = folder.path("x [alt]");
    let run = rows(&format!("SELECT count(*) AS rows FROM '{alone}'")).ok();
    assert_eq!(run.text(), "rows\n721\n", "a folder is a table too");
}

#[test]
fn two_columns_of_one_name_are_refused_by_name() {
    let path = case("column-twice.parquet");
    for table in [format!("'{path}'"), format!("dismax_score('{path}')")] {
        let refused = rows(&format!("SELECT * FROM {table}")).refused(2);
        assert!(refused.contains("column-twice.parquet has two columns called \"value\""), "{refused}");
    }
    let folder = Folder::new();
    let out = folder.path("scored.parquet");
    dismax(&["score", &path, "--model", &cifar10_model(), "--out", &out]).ok();
    let scored = read(&out);
    let names: Vec<&str> = scored.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names[..4], ["id", "value", "value", "image"], "both are kept");
    let refused = dismax(&["info", &path, "--label", "value"]).ok().text();
    assert!(refused.contains("several columns are called \"value\""), "{refused}");
}

/// DataFusion's reader would take memory for two thousand million row groups, and the process would end.
#[test]
fn footers_that_count_what_is_not_there_are_refused_by_name() {
    let folder = Folder::new();
    let footer = b"\x15\x02\x19\x2c\x48\x06schema\x15\x02\x00\x15\x0c\x25\x02\x18\x05image\x00\x16\x00\x19\xfc\xff\xff\xff\xff\x07\x00";
    let file = [b"PAR1".as_slice(), footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat();
    let path = folder.path("counts.parquet");
    std::fs::write(&path, file).expect("written");
    for table in [path.clone(), folder.path("*.parquet")] {
        let refused = rows(&format!("SELECT * FROM '{table}'")).refused(3);
        assert!(refused.contains("counts.parquet") && refused.contains("counts 2147483647 elements"), "{refused}");
    }
}

#[test]
fn a_table_whose_images_cannot_be_told_says_how_to_score_one() {
    let folder = Folder::new();
    let path = folder.write("two.parquet", vec![("a", Arc::new(pngs(2)) as ArrayRef), ("b", Arc::new(pngs(2)))]);
    let refused = rows(&format!("SELECT * FROM dismax_score('{path}')")).refused(2);
    assert!(refused.contains("several columns fit") && refused.contains("SELECT *, dismax(COLUMN) FROM"), "{refused}");
    let scored = rows(&format!("SELECT dismax_prediction(b) IS NULL AS p FROM '{path}'")).ok().text();
    assert_eq!(scored, "p\nfalse\nfalse\n");
}

#[test]
fn int96_times_are_what_they_were() {
    let path = case("int96-far.parquet");
    let times = rows(&format!("SELECT \"modificationTime\" FROM '{path}'")).ok().text();
    for time in ["9999-12-31T23:59:59", "1600-01-01T00:00:00", "0001-01-01T00:00:00"] {
        assert!(times.contains(time), "{times}");
    }
}

/// A scored plan that another tool saved may have the names that a plan's own columns get.
#[test]
fn columns_with_internal_names_are_columns() {
    let folder = Folder::new();
    let numbers = || Arc::new(Int64Array::from(vec![7, 8, 9])) as ArrayRef;
    let names = ["__dismax_1_prediction", "__dismax_1", "__dismax_2_confidence"];
    let mut columns: Vec<(&str, ArrayRef)> = names.iter().map(|name| (*name, numbers())).collect();
    columns.push(("image", Arc::new(pngs(3))));
    let path = folder.write("saved.parquet", columns);
    let sql = format!(
        "SELECT __dismax_1_prediction + __dismax_2_confidence AS both, dismax_prediction(image) IS NULL AS p FROM '{path}'"
    );
    assert_eq!(rows(&sql).ok().text(), "both,p\n14,false\n16,false\n18,false\n");
}
