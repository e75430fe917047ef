//! Fuzz targets: functions that read what comes from outside from arbitrary bytes. A target panics where dismax does
//! not keep its word, and returns for bytes that are refused.
//!
//! `make fuzz` drives them with libFuzzer, `cargo test` replays what lies in `corpus/` and `regressions/`.

mod bundle;
mod file;
mod image;
mod raw_pixels;

/// A named target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name, which is also that of its folders in `corpus/` and `regressions/`.
    pub name: &'static str,
    /// Reads bytes; returns whether they were understood.
    pub run: fn(&[u8]) -> bool,
}

/// All targets.
pub const TARGETS: [Target; 8] = [
    Target { name: "image", run: image::run },
    Target { name: "raw_pixels", run: raw_pixels::run },
    Target { name: "parquet", run: file::parquet },
    Target { name: "arrow_file", run: file::arrow_file },
    Target { name: "arrow_stream", run: file::arrow_stream },
    Target { name: "tar", run: file::tar },
    Target { name: "metadata", run: file::metadata },
    Target { name: "bundle", run: bundle::run },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
