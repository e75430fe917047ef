//! Reads again what the fuzzer starts from and what it has found.

use std::fs;
use std::path::{Path, PathBuf};

use dismax_fuzz::TARGETS;

fn files(kind: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn corpora_and_past_findings_are_read() {
    for target in TARGETS {
        let corpus = files("corpus", target.name);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        for path in corpus {
            // Otherwise the fuzzer would begin with what is refused at once.
            assert!((target.run)(&fs::read(&path).expect("a file")), "{} is not understood", path.display());
        }
        for path in files("regressions", target.name) {
            println!("{}", path.display());
            (target.run)(&fs::read(&path).expect("a file"));
        }
    }
}
