//! CUDA must not be lost to the order in which a process does things. Each order is a process of its own: libtorch
//! keeps its first answer to the question whether there is CUDA.
//!
//! No GPU is needed, but libtorch's CUDA libraries are; where they are missing the test says that it is skipped.

use std::process::{Command, Stdio};

use dismax::device::load_cuda_libraries;
use dismax::{Device, Model, Stage};

/// Names the order that a child process is to try.
const ORDER: &str = "DISMAX_TEST_ORDER";

fn score_on_the_cpu() {
    let ours = || concat!(env!("CARGO_MANIFEST_DIR"), "/models/cifar10-resnet20").into();
    let model = Model::read(std::env::var_os("DISMAX_MODEL").unwrap_or_else(ours)).expect("a model");
    let options = dismax::stage::StageOptions { device: Device::Cpu, workers: 1, ..Default::default() };
    Stage::try_new(model, &options).expect("a stage that checked itself");
}

fn convolve_without_this_crate() {
    let image = tch::Tensor::ones([1, 3, 8, 8], (tch::Kind::Float, tch::Device::Cpu));
    let filter = tch::Tensor::ones([4, 3, 3, 3], (tch::Kind::Float, tch::Device::Cpu));
    let _ = image.conv2d::<tch::Tensor>(&filter, None, 1, 0, 1, 1);
}

#[test]
fn a_network_on_the_cpu_does_not_cost_the_gpu() {
    if let Ok(order) = std::env::var(ORDER) {
        match order.as_str() {
            // What a network of this crate does where there is a driver.
            "load, then score" => {
                load_cuda_libraries().expect("the libraries");
                score_on_the_cpu();
            }
            // What would happen if it did not: the test must be able to fail.
            "convolve, then load" => {
                convolve_without_this_crate();
                load_cuda_libraries().expect("the libraries");
            }
            other => unreachable!("order {other}"),
        }
        match Device::Cuda(0).resolve() {
            Ok(_) => println!("found"),
            Err(error) => println!("{error}"),
        }
        return;
    }
    if let Err(reason) = load_cuda_libraries() {
        assert!(std::env::var_os("DISMAX_REQUIRE_CUDA").is_none(), "{reason}");
        println!("skipped: {reason}");
        return;
    }
    let outcome = |order: &str| {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args(["--exact", "a_network_on_the_cpu_does_not_cost_the_gpu", "--nocapture"])
            .env(ORDER, order)
            .stdin(Stdio::null())
            .output()
            .expect("a child process");
        assert!(child.status.success(), "{order}: {}", String::from_utf8_lossy(&child.stderr));
        String::from_utf8_lossy(&child.stdout).into_owned()
    };
    let kept = outcome("load, then score");
    assert!(kept.contains("found") || kept.contains("Found no NVIDIA driver"), "{kept}");
    let lost = outcome("convolve, then load");
    assert!(lost.contains("resolve the device first") || lost.contains("found"), "{lost}");
}
