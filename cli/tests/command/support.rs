//! Running the command, and datasets made for a test.
#![allow(clippy::panic, reason = "output that is no JSON is a failed test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use arrow::datatypes::{Field, Schema};
use dismax::dataset::{Dataset, DatasetWriter, WriteOptions};
use serde_json::Value;
use tempfile::TempDir;

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    /// The run, which must have gone well.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Standard output of a run that went well, which must be JSON and nothing else.
    pub fn json(self) -> Value {
        let run = self.ok();
        serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error} in {}", run.text()))
    }

    /// Standard output.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error of a run that must have ended with `code`.
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self.stderr
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

/// The command with these arguments, not started. Threads are few: tests run beside each other.
pub fn command<S: AsRef<str>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dismax"));
    command
        .args(arguments.iter().map(AsRef::as_ref))
        .env_remove("RUST_LOG")
        .env("DISMAX_DEVICE", "cpu")
        .stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub fn dismax<S: AsRef<str>>(arguments: &[S]) -> Run {
    command(arguments).output().expect("dismax starts").into()
}

/// Runs the command with `input` on its standard input.
pub fn dismax_reading<S: AsRef<str>>(arguments: &[S], input: &[u8]) -> Run {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("dismax starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        // The command may stop reading early; that is for the test to judge by its output.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("dismax ends").into()
    })
}

/// A file of the handwritten digits.
pub fn digits(name: &str) -> String {
    repository(&format!("examples/data/digits/{name}.parquet"))
}

/// The model that the repository carries: ten classes of photographs, calibrated.
pub fn cifar10_model() -> String {
    repository("models/cifar10-resnet20")
}

fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path).display().to_string()
}

/// A folder for one test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Names of what lies in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Writes a dataset of one record batch.
    pub fn write(&self, name: &str, columns: Vec<(&str, ArrayRef)>) -> String {
        let fields: Vec<_> =
            columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        self.write_batch(name, &RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a record batch"))
    }

    pub fn write_batch(&self, name: &str, record_batch: &RecordBatch) -> String {
        let path = self.path(name);
        let mut writer =
            DatasetWriter::create(&path, &record_batch.schema(), &WriteOptions::default()).expect("a writer");
        writer.write(record_batch).expect("rows");
        writer.finish().expect("a file");
        path
    }

    /// A copy of the repository's model with `change` made to one of its files.
    pub fn damaged_model(&self, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
        let copy = PathBuf::from(self.path("damaged"));
        std::fs::create_dir(&copy).expect("a folder");
        for entry in std::fs::read_dir(cifar10_model()).expect("the model") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), copy.join(entry.file_name())).expect("a copy");
        }
        let path = copy.join(file);
        let bytes = std::fs::read(&path).expect("the file");
        std::fs::write(&path, change(bytes)).expect("changed");
        copy.display().to_string()
    }
}

/// All rows of a dataset as one record batch.
pub fn read(path: &str) -> RecordBatch {
    let dataset = Dataset::open(&[path]).expect("a dataset");
    let chunks = dataset.read(1000, None).expect("rows");
    let batches: Vec<_> = chunks.map(|chunk| chunk.expect("a chunk").record_batch).collect();
    arrow::compute::concat_batches(dataset.schema(), &batches).expect("one schema")
}

/// PNG images of the digits' test set.
pub fn pngs(count: usize) -> BinaryArray {
    let record_batch = read(&digits("test"));
    let images = arrow::array::AsArray::as_struct(&record_batch["image"]);
    let bytes = arrow::array::AsArray::as_binary::<i32>(images.column_by_name("bytes").expect("bytes"));
    bytes.iter().take(count).collect()
}
