//! libtorch's CUDA libraries, loaded into a process that was linked with those for the CPU alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// The driver's device nodes on Linux and on Windows' Linux subsystem.
const DRIVER_NODES: [&str; 2] = ["/dev/nvidiactl", "/dev/dxg"];

/// Whether this machine has NVIDIA's driver.
pub fn has_driver() -> bool {
    DRIVER_NODES.iter().any(|node| Path::new(node).exists())
}

/// Loads the CUDA libraries, once in a process, and returns the path of `libtorch_cuda.so`.
///
/// libtorch keeps its first answer to the question whether there is CUDA, and a convolution on the CPU asks it. So this
/// comes before the first network on any device, wherever there is a driver.
///
/// # Errors
/// What is missing, in words.
pub fn load() -> Result<&'static Path, String> {
    static LOADED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    LOADED.get_or_init(open).as_deref().map_err(Clone::clone)
}

/// Loads the CUDA libraries where there is a driver, so that a GPU can still be used after a network ran on the CPU.
/// What goes wrong is said where a GPU is asked for.
pub fn prepare() {
    if has_driver() {
        let _ = load();
    }
}

/// A libtorch message without tch's prefix and the stack trace.
pub fn first_lines(message: &str) -> String {
    let message = message.trim_start_matches("Internal torch error: ");
    let end = message.find("\nException raised from").unwrap_or(message.len());
    message[..end].lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Loads `libtorch_cuda.so` for the rest of the process and returns its path.
fn open() -> Result<PathBuf, String> {
    let folder = libtorch_folder().ok_or("libtorch is linked statically, or its folder cannot be found")?;
    let library = find_cuda_library(&folder)?;
    // SAFETY: loading runs the library's initialisers. Those of libtorch_cuda register kernels with the libtorch_cpu
    // that is loaded already, as they would had it been linked, and they belong to the same release: both lie in one
    // installation. No symbol is taken from the handle, and it is never closed, so nothing dangles.
    let loaded = unsafe { Library::open(Some(&library), RTLD_NOW | RTLD_GLOBAL) };
    let handle = loaded.map_err(|error| format!("{} cannot be loaded: {error}", library.display()))?;
    std::mem::forget(handle);
    Ok(library)
}

/// Where `libtorch_cuda.so` lies: beside the CPU libraries in an ordinary libtorch, in `lib-cuda` beside their folder
/// where `scripts/setup_libtorch.py` put it.
fn find_cuda_library(folder: &Path) -> Result<PathBuf, String> {
    let folders = [folder.to_path_buf(), folder.with_file_name("lib-cuda")];
    let found = folders.iter().map(|folder| folder.join("libtorch_cuda.so")).find(|path| path.exists());
    found.ok_or_else(|| {
        format!(
            "no CUDA libraries (libtorch_cuda.so) in {} or {}; on a machine with an NVIDIA GPU run `make setup`",
            folders[0].display(),
            folders[1].display()
        )
    })
}

/// The folder of the libtorch in this process. The process's own map is asked, because an rpath, `LD_LIBRARY_PATH` or
/// the system's folders may have decided which libtorch that is.
fn libtorch_folder() -> Option<PathBuf> {
    folder_in_maps(&fs::read_to_string("/proc/self/maps").ok()?)
}

/// The folder of `libtorch_cpu.so` in the text of `/proc/self/maps`: lines of five fields and a path.
fn folder_in_maps(maps: &str) -> Option<PathBuf> {
    maps.lines()
        .filter_map(|line| line.find('/').and_then(|start| line.get(start..)))
        .map(Path::new)
        .find(|path| path.file_name().is_some_and(|name| name == "libtorch_cpu.so"))
        .and_then(Path::parent)
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_give_the_folder_of_libtorch() {
        let maps = "7f0000000000-7f0000001000 r--p 00000000 08:01 42                   /opt/my torch/lib/libc10.so\n\
                    7f0000001000-7f0000002000 rw-p 00000000 00:00 0 \n\
                    7f0000002000-7f0000003000 r--p 00000000 08:01 43                   /opt/my torch/lib/libtorch_cpu.so\n";
        assert_eq!(folder_in_maps(maps), Some(PathBuf::from("/opt/my torch/lib")));
        assert_eq!(folder_in_maps("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 [heap]\n"), None);
        let _uses_libtorch = tch::Tensor::from_slice(&[0.0f32]);
        assert!(libtorch_folder().expect("libtorch in this process").join("libtorch_cpu.so").exists());
    }

    #[test]
    fn cuda_libraries_are_found_in_both_layouts() {
        let root = tempfile::tempdir().expect("a folder");
        let lib = root.path().join("lib");
        let message = find_cuda_library(&lib).unwrap_err();
        assert!(message.contains("lib-cuda"), "{message}");
        for folder in ["lib-cuda", "lib"] {
            let library = root.path().join(folder).join("libtorch_cuda.so");
            fs::create_dir(root.path().join(folder)).expect("a folder");
            fs::write(&library, "").expect("a file");
            assert_eq!(find_cuda_library(&lib).expect("the library"), library);
        }
    }

    #[test]
    fn libtorch_messages_lose_their_stack_trace() {
        let message = "Internal torch error: Found no NVIDIA driver.\nPlease check.\nException raised from f at x.cpp:1\nframe #0: g";
        assert_eq!(first_lines(message), "Found no NVIDIA driver. Please check.");
    }
}
