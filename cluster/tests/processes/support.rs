//! Workers that are processes: this program once more, with a test that serves.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dismax::cancel::Cancel;
use dismax::stage::StageOptions;
use dismax::{Device, Model};
use dismax_cluster::{Security, WorkerOptions, serve};

/// Folder of a worker's model.
const MODEL: &str = "DISMAX_TEST_MODEL";
/// Folder that a worker may read.
const ALLOWED: &str = "DISMAX_TEST_ALLOWED";
/// File with a worker's token, where it asks for one.
const TOKEN: &str = "DISMAX_TEST_TOKEN";
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
        Self::start_with(model, allowed, None)
    }

    /// One that may ask for a token.
    pub fn start_with(model: &Path, allowed: &Path, token: Option<&Path>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "support::serves", "--nocapture"]);
        command.env(MODEL, model).env(ALLOWED, allowed).stdout(Stdio::piped());
        if let Some(token) = token {
            command.env(TOKEN, token);
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().split_once(ADDRESS).map(|(_, address)| address.to_owned()));
        let address = address.unwrap();
        // A full pipe would stop it.
        std::thread::spawn(move || lines.count());
        Self { process, address }
    }

    /// As the system does when memory is short.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// What a counter says, summed over its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, page) = self.page("/metrics");
        let values = page.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with([' ', '{']));
        values.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as u64).sum()
    }

    /// The status and the text of a page.
    pub fn page(&self, path: &str) -> (u16, String) {
        let host = self.address.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let status = page.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, page)
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
        security: Security::read(env::var_os(TOKEN).as_deref().map(Path::new), None).unwrap(),
        stage: StageOptions { device: Device::Cpu, workers: 1, ..StageOptions::default() },
        ..WorkerOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let ready = |address: &str| {
        println!("{ADDRESS}{address}");
    };
    runtime.block_on(serve(options, Cancel::default(), ready)).unwrap();
}
