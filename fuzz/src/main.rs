//! Drives one target with libFuzzer: `DISMAX_FUZZ_TARGET` names it, the arguments are libFuzzer's. See `make fuzz`.

#![no_main]

use std::sync::LazyLock;

use dismax_fuzz::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    // Panics of readers that become errors are what dismax promises; any other ends the run.
    dismax::panic::silence_caught();
    let name = std::env::var("DISMAX_FUZZ_TARGET").unwrap_or_default();
    dismax_fuzz::target(&name).unwrap_or_else(|| {
        let names: Vec<&str> = dismax_fuzz::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("set DISMAX_FUZZ_TARGET to one of {}", names.join(", "));
        std::process::exit(2)
    })
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    (TARGET.run)(bytes);
});
