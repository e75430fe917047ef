//! `dismax sql`: formats, files, several statements, failures.

use crate::support::{Folder, cifar10_model, digits, dismax, dismax_reading, read};

fn query(sql: &str, more: &[&str]) -> crate::support::Run {
    let model = cifar10_model();
    let mut arguments = vec!["sql", "--model", &model];
    arguments.extend(more);
    arguments.push(sql);
    dismax(&arguments)
}

fn from_mixed(sql: &str) -> String {
    sql.replace("MIXED", &format!("'{}'", digits("mixed")))
}

#[test]
fn rows_are_printed_for_people_and_programs() {
    let sql = from_mixed(
        "SELECT id, image, dismax_probabilities(image) p, dismax_error(image) e FROM MIXED ORDER BY id LIMIT 2",
    );
    let table = query(&sql, &[]).ok().text();
    assert!(table.starts_with('+') && table.contains("bytes>") && table.contains("NULL"), "{table}");
    let csv = query(&sql, &["--format", "csv"]).ok().text();
    assert!(csv.starts_with("id,image,p,e\n") && csv.lines().count() == 3, "{csv}");
    let json =
        query(&from_mixed("SELECT id, dismax_is_ood(image) o FROM MIXED ORDER BY id LIMIT 2"), &["--format", "json"]);
    let json = json.ok().text();
    let rows: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(rows.len() == 2 && rows.iter().all(|row| row["o"].is_boolean()), "{json}");
}

#[test]
fn rows_go_into_a_file_that_score_agrees_with() {
    let folder = Folder::new();
    let (out, scored) = (folder.path("sql.parquet"), folder.path("scored.parquet"));
    let sql = from_mixed("SELECT * FROM dismax_score(MIXED) ORDER BY id");
    query(&sql, &["--out", &out]).ok();
    dismax(&["score", &digits("mixed"), "--model", &cifar10_model(), "--out", &scored]).ok();
    let (sql_rows, scored) = (read(&out), read(&scored));
    for column in ["id", "is_ood", "ood_p_value"] {
        assert_eq!(&sql_rows[column], &scored[column], "{column}");
    }
    let again = query(&sql, &["--out", &out]).refused(2);
    assert!(again.contains("--force"), "{again}");
    query(&sql, &["--out", &out, "--force"]).ok();
}

#[test]
fn statements_come_from_a_file_or_standard_input() {
    let folder = Folder::new();
    let script = folder.path("script.sql");
    let text =
        from_mixed("CREATE VIEW v AS SELECT dismax_prediction(image) p FROM MIXED; SELECT count(*) AS rows FROM v;");
    std::fs::write(&script, &text).expect("a script");
    let model = cifar10_model();
    let run = dismax(&["sql", "--model", &model, "--format", "csv", "-f", &script]).ok();
    assert_eq!(run.text(), "rows\n721\n");
    let run = dismax_reading(&["sql", "--model", &model, "--format", "csv"], text.as_bytes()).ok();
    assert_eq!(run.text(), "rows\n721\n");
}

#[test]
fn models_have_names() {
    let model = cifar10_model();
    let sql = from_mixed(
        "SELECT count(*) AS rows FROM MIXED WHERE dismax_is_ood(image, 'one') <> dismax_is_ood(image, 'cifar10-resnet20')",
    );
    let named = format!("one={model}");
    let run = dismax(&["sql", "--model", &named, "--model", &model, "--format", "csv", &sql]).ok();
    assert_eq!(run.text(), "rows\n0\n");
    let twice = dismax(&["sql", "--model", &model, "--model", &model, "SELECT 1"]).refused(2);
    assert!(twice.contains("two models are called 'cifar10-resnet20'"), "{twice}");
}

#[test]
fn models_come_from_a_folder_or_by_a_statement() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("models/notes")).expect("a folder");
    for name in ["first", "second"] {
        std::os::unix::fs::symlink(cifar10_model(), folder.path(&format!("models/{name}"))).expect("a link");
    }
    let models = folder.path("models");
    let in_folder = |sql: &str, more: &[&str]| {
        let arguments = [&["sql", "--models", &models, "--format", "csv"], more, &[sql]].concat();
        dismax(&arguments)
    };
    let listed = in_folder("SELECT name, classes, loaded FROM dismax_models()", &[]).ok().text();
    assert_eq!(listed, "name,classes,loaded\nfirst,10,false\nsecond,10,false\n");
    let script = from_mixed(&format!(
        "CREATE MODEL third FROM '{}'; DROP MODEL first; \
         SELECT count(*) AS rows FROM MIXED WHERE dismax_prediction(image, 'second') = dismax_top_k(image, 1, 'third')[1]['class'];",
        cifar10_model()
    ));
    assert_eq!(in_folder(&script, &[]).ok().text(), "rows\n715\n");
    let refused = in_folder("CREATE MODEL first FROM 'x'", &[]).refused(2);
    assert!(refused.contains("there is a model 'first' already"), "{refused}");
    let refused = in_folder("CREATE MODEL x FROM 'nowhere'", &[]).refused(3);
    assert!(refused.contains("nowhere: not a model bundle"), "{refused}");
    let named = format!("second={}", cifar10_model());
    let refused = in_folder("SELECT 1", &["--model", &named]).refused(2);
    assert!(refused.contains("two models are called 'second'"), "{refused}");
    let refused = dismax(&["sql", "--models", &cifar10_model(), "SELECT 1"]).refused(2);
    assert!(refused.contains("none of its folders is a model"), "{refused}");
}

#[test]
fn images_need_no_model() {
    let sql = from_mixed(
        "SELECT i['format'] AS format, i['width'] AS width, count(*) AS rows, count(i['error']) AS broken \
         FROM (SELECT dismax_image_info(image) AS i FROM MIXED) GROUP BY format, width ORDER BY rows DESC",
    );
    let rows = dismax(&["sql", "--format", "csv", &sql]).ok().text();
    assert_eq!(rows, "format,width,rows,broken\nPNG,8,715,0\n,,4,3\nPNG,,2,2\n");
    let far = from_mixed(
        "SELECT dismax_image_info(image)['error'] AS e, count(*) AS n FROM MIXED GROUP BY e ORDER BY n DESC",
    );
    let limited = dismax(&["sql", "--max-pixels", "63", "--format", "csv", &far]).ok().text();
    // One of them is damaged too: its size comes first, before anything is decoded.
    assert!(limited.contains("8 x 8 = 64 pixels, the limit is 63\",717"), "{limited}");
}

#[test]
fn failures_say_what_to_do() {
    let refused = |sql: &str| query(&from_mixed(sql), &[]).refused(2);
    assert!(refused("SELECT dismax_prediction(image, 'x') FROM MIXED").contains("there is no model 'x'"));
    assert!(refused("SELECT colour FROM MIXED").contains("colour"));
    assert!(refused("SELEC 1").contains("SELEC"));
    assert!(refused("").contains("there is no query"));
    let none = dismax(&["sql", &from_mixed("SELECT dismax_prediction(image) FROM MIXED")]).refused(2);
    assert!(none.contains("give one with --model"), "{none}");
    let missing = query("SELECT * FROM 'nowhere.parquet'", &[]).refused(2);
    assert!(missing.contains("nowhere.parquet: there is no such file"), "{missing}");
    let missing = query("SELECT * FROM dismax_score('nowhere.parquet')", &[]).refused(2);
    assert!(missing.contains("'nowhere.parquet'): there is no such file"), "{missing}");
    let missing = query("SELECT * FROM 'nowhere*.parquet' JOIN 'nothing.parquet' USING (id)", &[]).refused(2);
    assert!(missing.contains("nowhere*.parquet: no file matches"), "{missing}");
    // Of a folder the tables count, whatever lies beside them.
    let digits = from_mixed("SELECT count(*) FROM MIXED").replace("/mixed.parquet", "");
    query(&digits, &[]).ok();
    let folder = Folder::new();
    std::fs::write(folder.path("notes.txt"), "").expect("a file");
    let notes = folder.path("");
    assert!(query(&format!("SELECT * FROM '{notes}'"), &[]).refused(2).contains("/*.parquet'"));
    let bare = from_mixed("SELECT * FROM MIXED").replace('\'', "\"").replace("mixed.parquet", "mixed.txt");
    assert!(query(&bare, &[]).refused(2).contains("there is no such file"));
}
