//! The weights of a network in one vector, which the optimiser changes and the layers look into.

use tch::{Kind, Tensor};

use dismax::error::Result;
use dismax::network::Network;

/// Where a weight lies in the vector.
#[derive(Debug)]
struct Place {
    start: i64,
    size: Vec<i64>,
    /// Whether it belongs to a convolution, which computes in 16 bits where the training does.
    is_convolution: bool,
}

impl Place {
    fn count(&self) -> i64 {
        self.size.iter().product()
    }

    /// The weight in `flat`; convolutions are laid out channels-last there.
    fn view(&self, flat: &Tensor, start: i64) -> Result<Tensor> {
        let numbers = flat.f_narrow(0, start, self.count())?;
        Ok(match self.size[..] {
            [outputs, inputs, height, width] => {
                numbers.f_view([outputs, height, width, inputs])?.f_permute([0, 3, 1, 2])?
            }
            _ => numbers.f_view(self.size.as_slice())?,
        })
    }
}

/// The trainable weights of a network.
///
/// The optimiser works on `master`, in f32. Layers of 16 bits look into a copy of the convolutions' part in their kind,
/// which [`FlatWeights::follow`] brings up to date in one step; all others look into `master`.
#[derive(Debug)]
pub(super) struct FlatWeights {
    /// `[P]` f32: the convolutions', then the others'.
    master: Tensor,
    /// The convolutions' part in 16 bits.
    shadow: Option<Tensor>,
    convolutions: i64,
    /// In the network's order.
    places: Vec<Place>,
}

impl FlatWeights {
    /// Moves the trainable weights of `network` into one vector. Its convolutions become `kind`.
    pub(super) fn try_new(network: &Network, kind: Kind) -> Result<Self> {
        let weights = network.weights();
        let convolutions = weights.of_convolutions();
        let trainable: Vec<_> = weights.iter().zip(convolutions).filter(|(weight, _)| weight.trainable).collect();
        let mut places: Vec<Place> = trainable
            .iter()
            .map(|(weight, is_convolution)| Place {
                start: 0,
                size: weight.tensor.size(),
                is_convolution: *is_convolution,
            })
            .collect();
        let mut start = 0;
        for of_convolutions in [true, false] {
            for place in places.iter_mut().filter(|place| place.is_convolution == of_convolutions) {
                place.start = start;
                start += place.count();
            }
        }
        let convolutions = places.iter().filter(|place| place.is_convolution).map(Place::count).sum();
        let device = weights.device();
        tch::no_grad(|| {
            let master = Tensor::f_zeros([start], (Kind::Float, device))?;
            let shadow = match kind {
                Kind::Float => None,
                kind => Some(Tensor::f_zeros([convolutions], (kind, device))?),
            };
            let flat = Self { master, shadow, convolutions, places };
            for ((weight, _), place) in trainable.iter().zip(&flat.places) {
                let mut view = place.view(&flat.master, place.start)?;
                view.f_copy_(&weight.tensor)?;
                let used = match &flat.shadow {
                    Some(shadow) if place.is_convolution => place.view(shadow, place.start)?,
                    _ => view,
                };
                // The layers hold the same tensor; from here on it is this part of the vector.
                weight.tensor.shallow_clone().f_set_data(&used)?;
            }
            flat.follow()?;
            Ok(flat)
        })
    }

    /// All weights, `[P]` f32. Call [`FlatWeights::follow`] after a change.
    pub(super) fn master(&self) -> &Tensor {
        &self.master
    }

    /// Parts of `flat`, a vector like `master`, with the sizes of the weights in the network's order.
    pub(super) fn views(&self, flat: &Tensor) -> Result<Vec<Tensor>> {
        self.places.iter().map(|place| place.view(flat, place.start)).collect()
    }

    /// Makes the layers of 16 bits see what `master` holds.
    pub(super) fn follow(&self) -> Result<()> {
        if let Some(shadow) = &self.shadow {
            shadow.shallow_clone().f_copy_(&self.master.f_narrow(0, 0, self.convolutions)?)?;
        }
        Ok(())
    }

    /// Gradients with respect to the weights, in the network's order, as one vector like `master`.
    pub(super) fn gradient(&self, gradients: &[Tensor]) -> Result<Tensor> {
        let part = |of_convolutions: bool| -> Result<Tensor> {
            let wanted = self.places.iter().zip(gradients).filter(|(place, _)| place.is_convolution == of_convolutions);
            let flat: Vec<Tensor> = wanted
                .map(|(_, gradient)| match gradient.dim() {
                    4 => gradient.f_permute([0, 2, 3, 1])?.f_reshape([-1]),
                    _ => gradient.f_reshape([-1]),
                })
                .collect::<Result<_, _>>()?;
            // Joined in their own kind: one kernel copies parts of one kind together.
            Ok(Tensor::f_cat(&flat, 0)?.f_to_kind(Kind::Float)?)
        };
        Ok(Tensor::f_cat(&[part(true)?, part(false)?], 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::flatten;
    use dismax::network::{Architecture, HeadKind};
    use tch::Device;

    #[test]
    fn layers_look_into_the_vector() -> Result<()> {
        for kind in [Kind::Float, Kind::BFloat16] {
            let network = || Network::try_new(Architecture::Wrn2810, HeadKind::Dismax, 3, Device::Cpu, 1);
            let (before, network) = (network()?, network()?);
            network.weights().require_gradients()?;
            let flat = FlatWeights::try_new(&network, kind)?;
            let views = flat.views(flat.master())?;
            assert_eq!(flatten(&views)?, flatten(&before.weights().trainable())?);
            // A change to the vector is one to the layers.
            tch::no_grad(|| -> Result<()> {
                let _ = flat.master().shallow_clone().f_mul_scalar_(2.0)?;
                flat.follow()
            })?;
            for (weight, view) in network.weights().trainable().iter().zip(&views) {
                let is_shadow = kind != Kind::Float && weight.kind() == kind;
                assert!(is_shadow || weight.data_ptr() == view.data_ptr());
                assert_eq!(*weight, view.f_to_kind(weight.kind())?);
                assert!(weight.requires_grad());
            }
            // Gradients come back to the places of their weights.
            let gradients: Vec<Tensor> = network.weights().trainable().iter().map(|w| w.detach().copy()).collect();
            let gradient = flat.gradient(&gradients)?;
            for (gradient, expected) in flat.views(&gradient)?.iter().zip(&gradients) {
                assert_eq!(*gradient, expected.f_to_kind(Kind::Float)?);
            }
        }
        Ok(())
    }
}
