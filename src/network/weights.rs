//! Named tensors of a network, in the order in which it was built.
//!
//! The names are those of the reference's checkpoints (`layer1.0.conv1.weight`), so that published weights load.
//! Layers hold shallow clones of the tensors here: writing a value here changes what the layers compute with.

use std::collections::HashMap;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// One tensor of a network.
#[derive(Debug)]
pub struct Weight {
    /// Name as in the reference's checkpoints.
    pub name: String,
    /// Value, f32; four-dimensional ones are laid out channels-last.
    pub tensor: Tensor,
    /// Whether the optimiser changes it. Running statistics of batch norm are not trained.
    pub trainable: bool,
}

/// All tensors of one network on one device.
#[derive(Debug)]
pub struct Weights {
    list: Vec<Weight>,
    device: Device,
}

impl Weights {
    /// The tensors in the order in which the network was built.
    pub fn iter(&self) -> impl Iterator<Item = &Weight> {
        self.list.iter()
    }

    /// Where the tensors live.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The trained tensors, sharing storage with the layers.
    pub fn trainable(&self) -> Vec<Tensor> {
        self.list.iter().filter(|weight| weight.trainable).map(|weight| weight.tensor.shallow_clone()).collect()
    }

    /// The tensors that are kept but not trained (running statistics), sharing storage with the layers.
    pub fn buffers(&self) -> Vec<Tensor> {
        self.list.iter().filter(|weight| !weight.trainable).map(|weight| weight.tensor.shallow_clone()).collect()
    }

    /// For each tensor whether it belongs to a convolution: its weight, which alone has four dimensions, and the bias
    /// beside that.
    pub fn of_convolutions(&self) -> Vec<bool> {
        let is_weight = |name: &str| self.list.iter().any(|weight| weight.name == name && weight.tensor.dim() == 4);
        let sibling = |name: &str| name.strip_suffix("bias").map(|path| format!("{path}weight"));
        let of_one = |weight: &Weight| {
            weight.tensor.dim() == 4 || sibling(&weight.name).is_some_and(|sibling| is_weight(&sibling))
        };
        self.list.iter().map(of_one).collect()
    }

    /// Marks the trained tensors as inputs of automatic differentiation.
    pub fn require_gradients(&self) -> Result<()> {
        for weight in self.list.iter().filter(|weight| weight.trainable) {
            let _ = weight.tensor.f_set_requires_grad(true)?;
        }
        Ok(())
    }

    /// Copies `values` into the tensors of the same names. Both sides must have exactly the same names and shapes.
    ///
    /// # Errors
    /// Names every tensor that is missing, unknown or of another shape, or holds values that are not finite.
    pub fn load(&self, values: &HashMap<String, Tensor>) -> Result<(), String> {
        let value = |name: &str| Ok(values.get(name).map(Tensor::shallow_clone));
        self.load_each(values.keys().map(String::as_str), value)
    }

    /// The same of tensors that are made one after the other, so that no two of them need memory: `value` gives the one
    /// of a name, and `names` are those of all.
    ///
    /// # Errors
    /// As [`Weights::load`]. Weights that came before are then loaded.
    pub fn load_each<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        value: impl Fn(&str) -> Result<Option<Tensor>, String>,
    ) -> Result<(), String> {
        let mut faults = Vec::new();
        for weight in &self.list {
            let (name, mut target) = (&weight.name, weight.tensor.shallow_clone());
            match value(name)? {
                None => faults.push(format!("{name} is missing")),
                Some(value) if value.size() != target.size() => {
                    faults.push(format!("{name} has shape {:?}, expected {:?}", value.size(), target.size()));
                }
                Some(value) => match all_finite(&value) {
                    Ok(true) => tch::no_grad(|| target.f_copy_(&value)).map_err(|error| format!("{name}: {error}"))?,
                    Ok(false) => faults.push(format!("{name} holds values that are not finite")),
                    Err(error) => faults.push(format!("{name}: {error}")),
                },
            }
        }
        let known: std::collections::HashSet<&str> = self.list.iter().map(|weight| weight.name.as_str()).collect();
        let mut unknown: Vec<&str> = names.filter(|name| !known.contains(name)).collect();
        unknown.sort_unstable();
        faults.extend(unknown.into_iter().map(|name| format!("{name} is not part of this network")));
        if faults.is_empty() {
            return Ok(());
        }
        let more = faults.len().saturating_sub(5);
        faults.truncate(5);
        let tail = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        Err(format!("weights do not fit: {}{tail}", faults.join("; ")))
    }
}

fn all_finite(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
}

/// How a tensor begins before training.
#[derive(Debug, Clone, Copy)]
pub enum Init {
    /// The same value everywhere.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform in plus or minus this bound.
    Uniform(f64),
}

/// Collects the tensors of a network while it is built.
///
/// Values come from one seeded generator on the host, so a seed gives the same network on every device.
#[derive(Debug)]
pub struct WeightsBuilder {
    list: Vec<Weight>,
    device: Device,
    /// None leaves all values 0.
    rng: Option<ChaCha8Rng>,
}

impl WeightsBuilder {
    /// An empty collection on `device`; `seed` fixes the initial values.
    pub fn new(device: Device, seed: u64) -> Self {
        Self { list: Vec::new(), device, rng: Some(ChaCha8Rng::seed_from_u64(seed)) }
    }

    /// An empty collection on `device` whose tensors will all be 0.
    pub fn zeroed(device: Device) -> Self {
        Self { list: Vec::new(), device, rng: None }
    }

    /// The path of the network's root.
    pub fn root(&mut self) -> WeightPath<'_> {
        WeightPath { builder: self, prefix: String::new() }
    }

    /// The finished collection.
    pub fn finish(self) -> Weights {
        Weights { list: self.list, device: self.device }
    }
}

/// A place in the tree of names; `path.sub("layer1").sub("0")` prefixes `layer1.0.`.
#[derive(Debug)]
pub struct WeightPath<'a> {
    builder: &'a mut WeightsBuilder,
    prefix: String,
}

impl WeightPath<'_> {
    /// The path below this one.
    pub fn sub(&mut self, name: impl std::fmt::Display) -> WeightPath<'_> {
        let prefix = format!("{}{name}.", self.prefix);
        WeightPath { builder: self.builder, prefix }
    }

    /// A trained tensor.
    pub fn parameter(&mut self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        self.add(name, shape, init, true)
    }

    /// A tensor that is kept but not trained.
    pub fn buffer(&mut self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        self.add(name, shape, init, false)
    }

    fn add(&mut self, name: &str, shape: &[i64], init: Init, trainable: bool) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        if self.builder.list.iter().any(|weight| weight.name == name) {
            return Err(Error::Internal(format!("two weights are named {name}")));
        }
        let count = shape.iter().product::<i64>().unsigned_abs() as usize;
        let tensor = match &mut self.builder.rng {
            Some(rng) => Tensor::f_from_slice(&draw(rng, init, count)?)?.f_reshape(shape)?,
            None => Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))?,
        };
        let tensor = channels_last(&tensor)?.f_to_device(self.builder.device)?;
        self.builder.list.push(Weight { name, tensor: tensor.shallow_clone(), trainable });
        Ok(tensor)
    }
}

/// The same values as `tensor`, four-dimensional ones laid out channels-last, which the convolutions follow.
pub(crate) fn channels_last(tensor: &Tensor) -> Result<Tensor> {
    if tensor.dim() != 4 {
        return Ok(tensor.f_contiguous()?);
    }
    Ok(tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?)
}

fn draw(rng: &mut impl Rng, init: Init, count: usize) -> Result<Vec<f32>> {
    Ok(match init {
        Init::Constant(value) => vec![value as f32; count],
        Init::Uniform(bound) => (0..count).map(|_| (bound * (2.0 * open_unit(rng) - 1.0)) as f32).collect(),
        Init::Normal(deviation) => {
            let normal = Normal::new(0.0, deviation).map_err(|error| Error::Internal(error.to_string()))?;
            (0..count).map(|_| normal.inverse_cdf(open_unit(rng)) as f32).collect()
        }
    })
}

/// Uniform in the open interval (0, 1): 0 would be minus infinity for the normal distribution.
fn open_unit(rng: &mut impl Rng) -> f64 {
    (rng.random::<u32>() as f64 + 0.5) / (u32::MAX as f64 + 1.0)
}
