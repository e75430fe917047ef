//! Datasets on workers: the bytes and rows of one machine, also where a worker is lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dismax::dataset::LoadOptions;
use dismax::run::{Progress, Run};
use dismax::score_file::{ScoreOptions, ScoreSummary};
use dismax::stage::{Stage, StageOptions};
use dismax::{Dataset, Device, Model};
use dismax_audit::{AuditInputs, AuditOptions, audit};
use dismax_cluster::{Cluster, RemoteScanner, Security, score_to_parts};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::common::models;
use crate::support::WorkerProcess;

struct Fixture {
    workers: Vec<WorkerProcess>,
    cluster: Arc<Cluster>,
    runtime: Runtime,
    model: PathBuf,
    /// Everything that workers may read and write.
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        models::calibrated().write(&model, false).unwrap();
        let workers: Vec<WorkerProcess> = (0..2).map(|_| WorkerProcess::start(&model, folder.path())).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let addresses: Vec<&str> = workers.iter().map(|worker| worker.address.as_str()).collect();
        let cluster = runtime.block_on(Cluster::connect(&addresses, Security::default())).unwrap();
        Self { workers, cluster, runtime, model, folder }
    }

    /// So many copies of the digits that are mixed.
    fn input(&self, copies: usize) -> Dataset {
        let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/digits/mixed.parquet");
        let place = self.folder.path().join("input");
        fs::create_dir_all(&place).unwrap();
        for copy in 0..copies {
            fs::copy(&digits, place.join(format!("{copy}.parquet"))).unwrap();
        }
        Dataset::open(&[place.to_str().unwrap()]).unwrap()
    }

    fn stage(&self) -> Stage {
        let options = StageOptions { device: Device::Cpu, workers: 1, ..StageOptions::default() };
        Stage::try_new(Model::read(&self.model).unwrap(), &options).unwrap()
    }

    fn scanner(&self) -> RemoteScanner {
        let model = Arc::new(Model::read(&self.model).unwrap());
        let (cluster, runtime) = (Arc::clone(&self.cluster), self.runtime.handle().clone());
        RemoteScanner::try_new(cluster, runtime, ("a", model), (None, LoadOptions::default()), &Default::default())
            .unwrap()
    }

    fn place(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn score_to_parts(
        &self,
        input: &Dataset,
        out: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> dismax_cluster::Result<ScoreSummary> {
        let model = Model::read(&self.model).unwrap();
        let mut run = Run { cancel: Default::default(), progress };
        let (load, options) = (LoadOptions::default(), ScoreOptions::default());
        let run = score_to_parts(&self.cluster, ("a", &model), input, out, (None, load), &options, &mut run);
        self.runtime.block_on(run)
    }
}

/// The files of a folder.
fn files(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn parts_have_the_bytes_of_one_machine_also_where_a_worker_is_lost() {
    let mut fixture = Fixture::new();
    let input = fixture.input(12);
    let (alone, together) = (fixture.place("alone/"), fixture.place("together/"));
    let mut run = Run { cancel: Default::default(), progress: &mut |_| () };
    dismax::score_file::score_to_parts(&fixture.stage(), &input, &alone, &ScoreOptions::default(), &mut run).unwrap();

    let mut lost = fixture.workers.pop().unwrap();
    let mut killed = false;
    let mut progress = |progress: Progress| {
        if progress.rows > 0 && !killed {
            lost.kill();
            killed = true;
        }
    };
    let summary = fixture.score_to_parts(&input, &together, &mut progress).unwrap();
    assert!(killed && summary.parts.is_some_and(|parts| (parts.written, parts.kept) == (12, 0)), "{summary:?}");
    assert_eq!((summary.rows, summary.failed), (12 * 721, 12 * 6));
    let manifest = |folder: &str| {
        let mut found = files(folder);
        (String::from_utf8(found.remove("_dismax.json").unwrap()).unwrap(), found)
    };
    let (one, other) = (manifest(&alone), manifest(&together));
    let differing = one.0.lines().zip(other.0.lines()).filter(|(one, other)| one != other);
    assert_eq!(differing.collect::<Vec<_>>(), []);
    let names: Vec<_> = one.1.iter().filter(|(name, bytes)| other.1.get(*name) != Some(bytes)).collect();
    assert!(
        names.is_empty() && one.1.len() == other.1.len(),
        "{:?}",
        names.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    // Nothing is left to do.
    let again = fixture.score_to_parts(&input, &together, &mut |_| ()).unwrap();
    assert!(again.parts.is_some_and(|parts| (parts.written, parts.kept) == (0, 12)), "{again:?}");
}

#[test]
fn files_and_audits_are_those_of_one_machine() {
    let fixture = Fixture::new();
    let input = fixture.input(3);
    let (stage, scanner) = (fixture.stage(), fixture.scanner());
    let rows = |file: &str| {
        let chunks = Dataset::open(&[file]).unwrap().read(1 << 20, None).unwrap();
        let chunks: Vec<_> = chunks.map(|chunk| chunk.unwrap().record_batch).collect();
        arrow::compute::concat_batches(&chunks[0].schema(), &chunks).unwrap()
    };
    let (alone, together) = (fixture.place("alone.parquet"), fixture.place("together.parquet"));
    let mut run = Run { cancel: Default::default(), progress: &mut |_| () };
    let options = ScoreOptions::default();
    dismax::score_file::score_to(&stage, &input, &alone, &options, &mut run).unwrap();
    let summary = dismax::score_file::score_to(&scanner, &input, &together, &options, &mut run).unwrap();
    assert_eq!((summary.rows, summary.failed), (3 * 721, 3 * 6));
    assert_eq!(rows(&alone), rows(&together));

    let inputs = AuditInputs::new(&input);
    let options = AuditOptions { label: Some("digit".into()), command: "same".into(), ..AuditOptions::default() };
    let (alone, together) = (fixture.place("audit-alone"), fixture.place("audit-together"));
    audit(&stage, &inputs, Path::new(&alone), &options, &mut run).unwrap();
    audit(&scanner, &inputs, Path::new(&together), &options, &mut run).unwrap();
    assert_eq!(
        fs::read(format!("{alone}/findings.parquet")).unwrap(),
        fs::read(format!("{together}/findings.parquet")).unwrap()
    );
    // Nothing was scored here but by the stage: the workers decoded all rows twice.
    let decoded: u64 = fixture.workers.iter().map(|worker| worker.metric("dismax_images_decoded_total")).sum();
    assert_eq!(decoded, 2 * 3 * 721);
}
