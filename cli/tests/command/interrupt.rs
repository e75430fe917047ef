//! Ctrl-C.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Folder, Run, command, digits, dismax};

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

#[test]
fn an_interrupted_training_resumes_to_the_same_model() {
    let folder = Folder::new();
    let (whole, parts, train) = (folder.path("whole"), folder.path("parts"), digits("train"));
    let arguments = |out| ["train", &train, "--out", out, "--epochs", "6", "--no-flip", "--workers", "2", "--json"];
    // With --force an interrupted training must be as easy to continue as without.
    let schedule = ["--schedule", "one-cycle", "--device", "cpu", "--force"];
    dismax(&[&arguments(&whole)[..], &schedule].concat()).ok();

    let mut child = command(&[&arguments(&parts)[..], &schedule].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("dismax starts");
    wait_for(&format!("{parts}.checkpoint"), &mut child);
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), Signal::SIGINT).expect("a signal");
    let message = Run::from(child.wait_with_output().expect("dismax ends")).refused(130);
    assert!(message.contains("--resume continues"), "{message}");
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
