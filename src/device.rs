//! Which device a network runs on.
//!
//! The program links libtorch's CPU libraries only, so that it starts on every machine. Where CUDA is asked for,
//! [`Device::resolve`] loads `libtorch_cuda.so` into the running process; libtorch then offers CUDA as if it had been
//! linked.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The device asked for, as text `auto`, `cpu`, `cuda` or `cuda:1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The first GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this index, counted from 0; an error where it is not there.
    Cuda(usize),
    /// All GPUs of the machine, for scoring; an error where there is none.
    AllCuda,
}

impl Device {
    /// The device for tensors.
    ///
    /// Resolve before anything else asks libtorch about CUDA ([`tch::manual_seed`] and [`tch::Cuda`] do): libtorch
    /// remembers its first answer, and before the CUDA libraries are loaded that answer is no.
    ///
    /// # Errors
    /// For [`Device::Cuda`], when the CUDA libraries, the driver or the GPU are missing; the message says which and
    /// what to do. [`Device::Auto`] falls back to the CPU; where there is a driver, it logs a warning with the reason.
    #[doc(hidden)]
    pub fn resolve(self) -> Result<tch::Device> {
        match self {
            Self::Cpu => Ok(tch::Device::Cpu),
            Self::Cuda(index) => {
                cuda_device(index).map_err(|reason| Error::Device { device: self.to_string(), reason })
            }
            Self::Auto => Ok(first_gpu()),
            Self::AllCuda => {
                Err(Error::Config(format!("`{self}` is for scoring; here name one device: cpu, cuda or cuda:N")))
            }
        }
    }

    /// The devices for tensors: one, but for [`Device::AllCuda`].
    ///
    /// # Errors
    /// As [`Device::resolve`].
    #[doc(hidden)]
    pub fn resolve_all(self) -> Result<Vec<tch::Device>> {
        match self {
            Self::AllCuda => {
                Self::Cuda(0).resolve()?;
                Ok((0..usize::try_from(tch::Cuda::device_count()).unwrap_or(0)).map(tch::Device::Cuda).collect())
            }
            one => Ok(vec![one.resolve()?]),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let index = match text {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda:all" => return Ok(Self::AllCuda),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|index| index.parse().ok()),
        };
        index.map(Self::Cuda).ok_or_else(|| {
            Error::Config(format!(
                "`{text}` is no device; write auto, cpu, cuda, cuda:N with the GPU's number, or cuda:all"
            ))
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::AllCuda => f.write_str("cuda:all"),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

/// GPU 0, or the CPU. Loading the CUDA libraries takes seconds, so a machine without driver is not made to wait.
fn first_gpu() -> tch::Device {
    // The driver's device nodes on Linux and on Windows' Linux subsystem.
    if !["/dev/nvidiactl", "/dev/dxg"].iter().any(|node| Path::new(node).exists()) {
        log::info!("running on the CPU: no NVIDIA driver on this machine");
        return tch::Device::Cpu;
    }
    cuda_device(0).unwrap_or_else(|reason| {
        // Someone with a GPU expects it to be used.
        log::warn!("running on the CPU: {reason}");
        tch::Device::Cpu
    })
}

fn cuda_device(index: usize) -> Result<tch::Device, String> {
    static LOADED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let library = LOADED.get_or_init(load_cuda_libraries).as_ref().map_err(Clone::clone)?;

    let count = tch::Cuda::device_count();
    if usize::try_from(count).is_ok_and(|count| index < count) {
        return Ok(tch::Device::Cuda(index));
    }
    if count > 0 {
        return Err(format!("this machine has {count} (cuda:0 to cuda:{})", count - 1));
    }
    // With no device to list, using one makes libtorch say why.
    let reason = match tch::Tensor::f_zeros([1], (tch::Kind::Float, tch::Device::Cuda(0))) {
        Err(error) if error.to_string().contains("without ATen_cuda") => {
            "libtorch was asked about CUDA (by tch::manual_seed or tch::Cuda) before Device::resolve loaded it; \
             resolve the device first"
                .to_owned()
        }
        Err(error) => first_lines(&error.to_string()),
        Ok(_) => "libtorch counts no GPU".to_owned(),
    };
    Err(format!("{reason} (CUDA libraries: {})", library.display()))
}

/// A libtorch message without tch's prefix and the stack trace.
fn first_lines(message: &str) -> String {
    let message = message.trim_start_matches("Internal torch error: ");
    let end = message.find("\nException raised from").unwrap_or(message.len());
    message[..end].lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Loads `libtorch_cuda.so` for the rest of the process and returns its path.
fn load_cuda_libraries() -> Result<PathBuf, String> {
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
    fn text_forms_round_trip() {
        for (text, device) in [
            ("auto", Device::Auto),
            ("cpu", Device::Cpu),
            ("cuda:0", Device::Cuda(0)),
            ("cuda:3", Device::Cuda(3)),
            ("cuda:all", Device::AllCuda),
        ] {
            assert_eq!(text.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string(), text);
            let json = serde_json::to_string(&device).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Device>(&json).unwrap(), device);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
    }

    #[test]
    fn other_text_is_refused_with_the_choices() {
        for text in ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda0"] {
            let message = text.parse::<Device>().unwrap_err().to_string();
            assert!(message.contains("auto, cpu, cuda, cuda:N"), "{text:?}: {message}");
        }
    }

    #[test]
    fn cpu_and_auto_always_resolve() {
        assert_eq!(Device::Cpu.resolve().unwrap(), tch::Device::Cpu);
        Device::Auto.resolve().unwrap();
    }

    #[test]
    fn a_gpu_that_is_not_there_says_what_to_do() {
        assert!(Device::AllCuda.resolve().unwrap_err().to_string().contains("name one device"));
        let message = Device::Cuda(999).resolve().unwrap_err().to_string();
        println!("{message}");
        assert!(message.starts_with("device `cuda:999` is not there: "), "{message}");
        let way_out = ["make setup", "this machine has", "CUDA libraries"];
        assert!(way_out.iter().any(|text| message.contains(text)), "{message}");
    }

    #[test]
    fn maps_give_the_folder_of_libtorch() {
        let maps = "7f0000000000-7f0000001000 r--p 00000000 08:01 42                   /opt/my torch/lib/libc10.so\n\
                    7f0000001000-7f0000002000 rw-p 00000000 00:00 0 \n\
                    7f0000002000-7f0000003000 r--p 00000000 08:01 43                   /opt/my torch/lib/libtorch_cpu.so\n";
        assert_eq!(folder_in_maps(maps), Some(PathBuf::from("/opt/my torch/lib")));
        assert_eq!(folder_in_maps("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 [heap]\n"), None);
        let _uses_libtorch = tch::Tensor::from_slice(&[0.0f32]);
        assert!(libtorch_folder().unwrap().join("libtorch_cpu.so").exists());
    }

    #[test]
    fn cuda_libraries_are_found_in_both_layouts() {
        let root = tempfile::tempdir().unwrap();
        let lib = root.path().join("lib");
        let message = find_cuda_library(&lib).unwrap_err();
        assert!(message.contains("lib-cuda"), "{message}");
        for folder in ["lib-cuda", "lib"] {
            let library = root.path().join(folder).join("libtorch_cuda.so");
            fs::create_dir(root.path().join(folder)).unwrap();
            fs::write(&library, "").unwrap();
            assert_eq!(find_cuda_library(&lib).unwrap(), library);
        }
    }

    #[test]
    fn libtorch_messages_lose_their_stack_trace() {
        let message = "Internal torch error: Found no NVIDIA driver.\nPlease check.\nException raised from f at x.cpp:1\nframe #0: g";
        assert_eq!(first_lines(message), "Found no NVIDIA driver. Please check.");
    }
}
