//! Lets the program find libtorch without `LD_LIBRARY_PATH`; see `build.rs` of `dismax` for the why.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DEP_DISMAX_LIBTORCH_LIB");
    println!("cargo::rerun-if-env-changed=DISMAX_RPATH");
    // A program that is given away does not look where libtorch lay when it was built.
    let folder = env::var("DISMAX_RPATH").or_else(|_| env::var("DEP_DISMAX_LIBTORCH_LIB"));
    if let (Ok(folder), Ok("linux")) = (folder, env::var("CARGO_CFG_TARGET_OS").as_deref()) {
        println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{folder}");
    }
}
