//! Workers that are processes: this program once more, with a test that serves.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dismax::cancel::Cancel;
use dismax::stage::StageOptions;
use dismax::{Device, Model};
use dismax_cluster::{WorkerOptions, serve};

/// Folder of a worker's model.
const MODEL: &str = "DISMAX_TEST_MODEL";
/// Folder that a worker may read.
const ALLOWED: &str = "DISMAX_TEST_ALLOWED";
/// Stands before the address in what a worker prints.
const ADDRESS: &str = "address ";

/// A worker. It ends with this.
pub struct WorkerProcess {
    process: Child,
    pub address: String,
}

impl WorkerProcess {
    /// With the model `a`.
    pub fn start(model: &Path, allowed: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "support::serves", "--nocapture"])
            .env(MODEL, model)
            .env(ALLOWED, allowed)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().split_once(ADDRESS).map(|(_, address)| address.to_owned()));
        let address = address.unwrap();
        // A full pipe would stop it.
        std::thread::spawn(move || lines.count());
        Self { process, address }
    }

    /// What a counter says, summed over its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.page("/metrics");
        let values = page.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with([' ', '{']));
        values.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64).sum()
    }

    fn page(&self, path: &str) -> String {
        let host = self.address.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The worker's side.
#[test]
#[ignore = "is what the other tests start"]
fn serves() {
    let Some(model) = env::var_os(MODEL) else { return };
    let options = WorkerOptions {
        models: vec![("a".into(), Model::read(model).unwrap())],
        allowed: vec![env::var(ALLOWED).unwrap()],
        stage: StageOptions { device: Device::Cpu, workers: 1, ..StageOptions::default() },
        ..WorkerOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let ready = |address: &str| {
        println!("{ADDRESS}{address}");
    };
    runtime.block_on(serve(options, Cancel::default(), ready)).unwrap();
}
