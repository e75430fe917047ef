//! Which device a network runs on.
//!
//! The program links libtorch's CPU libraries only, so that it starts on every machine. Where CUDA is asked for,
//! [`Device::resolve`] loads `libtorch_cuda.so` into the running process; libtorch then offers CUDA as if it had been
//! linked.

pub(crate) mod cuda;
mod host_memory;
mod libraries;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::Kind;

pub(crate) use self::host_memory::{HostMemory, HostPart, LentMemory};
use self::libraries::first_lines;
#[doc(hidden)]
pub use self::libraries::load as load_cuda_libraries;
pub(crate) use self::libraries::prepare;
use crate::error::{Error, Result};
use crate::panic::caught;

/// What stands before libtorch's message in the words of tch's panics, which quote it.
const TCH_PANIC: &str = "Torch(\"";

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
    /// Resolve before anything outside this crate asks libtorch about CUDA ([`tch::manual_seed`] and [`tch::Cuda`] do):
    /// libtorch remembers its first answer, and before the CUDA libraries are loaded that answer is no. Networks of
    /// this crate load the libraries before they ask.
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

/// What convolutions compute with on `device`, and again where values leave the range of that.
pub(crate) fn kinds_on(device: tch::Device) -> &'static [Kind] {
    match device {
        // A GPU that does not say how old it is is taken for a new one.
        tch::Device::Cuda(index) => kinds_of(cuda::compute_capability(index).unwrap_or((8, 0))),
        _ => &[Kind::Float],
    }
}

/// What convolutions compute with in training on `device`: bf16 has the range of f32, so no loss is scaled.
#[doc(hidden)]
pub fn training_kind(device: tch::Device) -> Kind {
    if kinds_on(device).contains(&Kind::BFloat16) { Kind::BFloat16 } else { Kind::Float }
}

/// Bytes that a GPU has free; none for the CPU, or where the GPU does not say.
#[doc(hidden)]
pub fn free_memory(device: tch::Device) -> Option<u64> {
    match device {
        tch::Device::Cuda(index) => cuda::free_memory(index).ok(),
        _ => None,
    }
}

/// [`kinds_on`] by CUDA's compute capability: f16 convolutions are fast from 7.0 on, bf16 ones exist from 8.0 on.
fn kinds_of(capability: (i32, i32)) -> &'static [Kind] {
    match capability.0 {
        8.. => &[Kind::Half, Kind::BFloat16],
        7 => &[Kind::Half, Kind::Float],
        _ => &[Kind::Float],
    }
}

/// Does `work` on `device`. What libtorch says of a GPU becomes [`Error::DeviceFailed`], without its page of stack
/// frames; other errors stay what they are.
///
/// # Errors
/// Those of `work`.
#[doc(hidden)]
pub fn on_device<T>(device: tch::Device, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let tch::Device::Cuda(index) = device else { return work() };
    let failed = |words: &str| {
        let device = Device::Cuda(index).to_string();
        Err(Error::DeviceFailed { device, reason: first_lines(words) })
    };
    match caught(work) {
        Ok(Err(Error::Tensor(error))) => failed(&error.to_string()),
        Ok(result) => result,
        // tch panics instead of returning an error where one of an operator's arguments is a scalar.
        Err(words) => match words.split_once(TCH_PANIC) {
            Some((_, quoted)) => failed(&quoted.replace("\\n", "\n")),
            None => Err(Error::Internal(words)),
        },
    }
}

/// GPU 0, or the CPU. Loading the CUDA libraries takes seconds, so a machine without driver is not made to wait.
fn first_gpu() -> tch::Device {
    if !libraries::has_driver() {
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
    let library = libraries::load()?;
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
            assert_eq!(text.parse::<Device>().expect("a device"), device);
            assert_eq!(device.to_string(), text);
            let json = serde_json::to_string(&device).expect("JSON");
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Device>(&json).expect("a device"), device);
        }
        assert_eq!("cuda".parse::<Device>().expect("a device"), Device::Cuda(0));
    }

    /// On the CPU cuDNN's operators throw, as on a GPU that fails; one with a scalar argument makes tch panic.
    #[test]
    fn failures_of_a_gpu_are_one_kind_of_error() {
        let image = tch::Tensor::ones([1, 3, 4, 4], (Kind::Float, tch::Device::Cpu));
        let filter = tch::Tensor::ones([3, 3, 1, 1], (Kind::Float, tch::Device::Cpu));
        let none = None::<tch::Tensor>;
        let error = || Ok(image.f_cudnn_convolution_relu(&filter, none.as_ref(), [1, 1], [0, 0], [1, 1], 1)?);
        let scalar = || {
            let bias = none.as_ref();
            Ok(image.f_cudnn_convolution_add_relu(&filter, &image, 1.0, bias, [1, 1], [0, 0], [1, 1], 1)?)
        };
        let gpu = tch::Device::Cuda(1);
        for result in [on_device(gpu, error), on_device(gpu, scalar)] {
            let message = result.expect_err("there is no cuDNN on a CPU").to_string();
            assert!(message.starts_with("device `cuda:1` failed: ") && message.contains("Could not run"), "{message}");
            assert!(!message.contains("frame #"), "{message}");
        }
        assert!(matches!(on_device(tch::Device::Cpu, error), Err(Error::Tensor(_))));
        assert!(matches!(on_device::<()>(gpu, || Err(Error::Cancelled)), Err(Error::Cancelled)));
        let index = std::hint::black_box(7);
        assert!(matches!(on_device(gpu, || Ok([1, 2, 3][index])), Err(Error::Internal(_))));
    }

    #[test]
    fn other_text_is_refused_with_the_choices() {
        for text in ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda0"] {
            let message = text.parse::<Device>().unwrap_err().to_string();
            assert!(message.contains("auto, cpu, cuda, cuda:N"), "{text:?}: {message}");
        }
    }

    #[test]
    fn old_gpus_compute_with_what_they_have() {
        assert_eq!(kinds_of((9, 0)), [Kind::Half, Kind::BFloat16]);
        assert_eq!(kinds_of((7, 5)), [Kind::Half, Kind::Float]);
        assert_eq!(kinds_of((6, 1)), [Kind::Float]);
        assert_eq!(kinds_on(tch::Device::Cpu), [Kind::Float]);
        assert_eq!((training_kind(tch::Device::Cpu), free_memory(tch::Device::Cpu)), (Kind::Float, None));
    }

    #[test]
    fn cpu_and_auto_always_resolve() {
        assert_eq!(Device::Cpu.resolve().expect("the CPU"), tch::Device::Cpu);
        Device::Auto.resolve().expect("a device");
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
}
