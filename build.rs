//! Lets this package's tests, examples and benches find libtorch without `LD_LIBRARY_PATH`.
//!
//! `DEP_TCH_LIBTORCH_LIB` is the folder torch-sys links from. It is handed on as `DEP_DISMAX_LIBTORCH_LIB`, so that
//! packages which depend on `dismax` can do the same for their programs.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Ok(folder) = env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo::metadata=libtorch_lib={folder}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // RPATH, not RUNPATH: a program runs with the libtorch it was compiled against even where LD_LIBRARY_PATH
        // names another release; where the folder is gone, LD_LIBRARY_PATH still decides.
        println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{folder}");
    }
}
