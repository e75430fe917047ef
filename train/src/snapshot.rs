//! The weights of a network at one time, on the host.

use std::collections::HashMap;

use dismax::error::{Error, Result};
use dismax::network::Weights;
use tch::Tensor;

/// Parameters and running statistics, each one after the other in the order in which the network was built, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// `[P]`.
    pub parameters: Vec<f32>,
    /// `[Q]`.
    pub buffers: Vec<f32>,
}

impl Snapshot {
    /// Gives the values the names and shapes of `weights`.
    ///
    /// # Errors
    /// [`Error::Internal`] for values of another network.
    pub fn named(&self, weights: &Weights) -> Result<HashMap<String, Tensor>> {
        let (mut parameters, mut buffers) = (self.parameters.as_slice(), self.buffers.as_slice());
        let mut named = HashMap::new();
        for weight in weights.iter() {
            let rest = if weight.trainable { &mut parameters } else { &mut buffers };
            let taken = rest.split_off(..weight.tensor.numel());
            let values = taken.ok_or_else(|| Error::Internal("weights of another network".into()))?;
            let tensor = Tensor::f_from_slice(values)?.f_reshape(weight.tensor.size())?;
            named.insert(weight.name.clone(), tensor);
        }
        Ok(named)
    }
}
