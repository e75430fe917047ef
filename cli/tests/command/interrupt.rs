//! Ctrl-C.
#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Folder, Run, cifar10_model, digits, dismax, pngs};

/// Long enough for any machine; a test that waits as long has failed.
const PATIENCE: Duration = Duration::from_secs(300);

fn wait_for(file: &str, child: &mut Child) {
    let start = Instant::now();
    while !Path::new(file).exists() {
        assert!(start.elapsed() < PATIENCE, "{file} does not appear");
        assert!(child.try_wait().expect("a child").is_none(), "it ended before {file} appeared");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts the command under `env`, with pipes. Whoever runs the tests may have signals ignored, which children inherit,
/// so each test says how it wants them.
fn start(signals: &str, arguments: &[&str]) -> Child {
    Command::new("env")
        .args([signals, env!("CARGO_BIN_EXE_dismax")])
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("env starts dismax")
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), signal).expect("a signal");
}

#[test]
fn an_interrupted_training_resumes_to_the_same_model() {
    let folder = Folder::new();
    let (whole, parts, train) = (folder.path("whole"), folder.path("parts"), digits("train"));
    let arguments = |out| ["train", &train, "--out", out, "--epochs", "6", "--no-flip", "--workers", "2", "--json"];
    // With --force an interrupted training must be as easy to continue as without.
    let schedule = ["--schedule", "one-cycle", "--device", "cpu", "--force"];
    dismax(&[&arguments(&whole)[..], &schedule].concat()).ok();

    let mut child = start("--default-signal=INT", &[&arguments(&parts)[..], &schedule].concat());
    wait_for(&format!("{parts}.checkpoint"), &mut child);
    send(&child, Signal::SIGINT);
    let message = Run::from(child.wait_with_output().expect("dismax ends")).refused(130);
    assert!(message.contains("continue with the same command and --resume"), "{message}");
    assert!(!Path::new(&parts).exists());

    let run = dismax(&[&arguments(&parts)[..], &schedule, &["--resume"]].concat()).ok();
    assert!(run.stderr.contains("continuing after epoch"), "{}", run.stderr);
    // The history also tells how fast it went.
    for file in ["model.safetensors", "calibration.json", "config.json"] {
        let bytes = |model: &str| fs::read(format!("{model}/{file}")).expect(file);
        assert_eq!(bytes(&whole), bytes(&parts), "{file}");
    }
    assert_eq!(folder.names(), ["parts", "whole"]);
}

#[test]
fn nohup_protects() {
    let folder = Folder::new();
    let (model, train) = (folder.path("model"), digits("train"));
    let arguments = ["train", &train, "--out", &model, "--epochs", "4", "--no-flip", "--device", "cpu"];
    let mut child = start("--ignore-signal=HUP", &arguments);
    wait_for(&format!("{model}.checkpoint"), &mut child);
    send(&child, Signal::SIGHUP);
    Run::from(child.wait_with_output().expect("dismax ends")).ok();
    assert!(Path::new(&model).exists());
}

#[test]
fn a_run_that_waits_for_input_can_be_stopped() {
    let folder = Folder::new();
    let (model, out) = (cifar10_model(), folder.path("out.parquet"));
    let mut child = start("--default-signal=TERM", &["score", "-", "--model", &model, "--out", &out]);
    // A schema and some rows, and then nothing more.
    let mut stdin = child.stdin.take().expect("a pipe");
    let some = folder.write("some.arrows", vec![("image", Arc::new(pngs(40)))]);
    let bytes = fs::read(some).expect("a stream");
    stdin.write_all(&bytes[..bytes.len() - 8]).expect("dismax reads");
    let start = Instant::now();
    while !folder.names().iter().any(|name| name.ends_with(".part")) {
        assert!(start.elapsed() < PATIENCE, "no output is begun");
        thread::sleep(Duration::from_millis(5));
    }
    send(&child, Signal::SIGTERM);
    let output = {
        // Waiting for the output would close the pipe, which is not what ends the run here.
        let start = Instant::now();
        while child.try_wait().expect("a child").is_none() {
            assert!(start.elapsed() < PATIENCE, "it does not stop");
            thread::sleep(Duration::from_millis(5));
        }
        drop(stdin);
        child.wait_with_output().expect("dismax ended")
    };
    Run::from(output).refused(130);
    assert_eq!(folder.names(), ["some.arrows"], "nothing half-written stays");
}

#[test]
fn a_file_that_grows_past_the_limit_is_an_error() {
    let folder = Folder::new();
    let (model, out) = (cifar10_model(), folder.path("out.parquet"));
    let script = "ulimit -f 8; exec \"$0\" \"$@\"";
    let run = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_dismax"), "score", &digits("test"), "--model", &model, "--out", &out])
        .output()
        .expect("sh runs");
    let message = Run::from(run).refused(3);
    assert!(message.contains("out.parquet: File too large"), "{message}");
    assert_eq!(folder.names(), [""; 0], "nothing half-written stays");
}
