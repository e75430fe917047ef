//! A network ready to score: folded, on one device, owned by one thread.

use tch::{Device, Kind, Tensor};

use super::mirror::averaged;
use super::{Network, Normalizer, ScoringNetwork};
use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::tta::Tta;

/// Turns batches of preprocessed u8 images into logits.
#[derive(Debug)]
pub struct Scorer {
    network: ScoringNetwork,
    /// Scores the batches whose logits are not finite in `network`.
    wider: Option<ScoringNetwork>,
    normalizer: Normalizer,
    size: (u32, u32),
    tta: Tta,
}

impl Scorer {
    /// Folds `network` where its weights live. Its convolutions compute in f32.
    ///
    /// # Errors
    /// Whatever libtorch refuses, for example a device without memory.
    pub fn try_new(network: Network, preprocessing: &Preprocessing) -> Result<Self> {
        Self::with_kinds([(network, Kind::Float)], preprocessing)
    }

    /// As [`Scorer::try_new`] with convolutions in the kind of the first network and, where values leave its range,
    /// again in that of the second: both have the same weights. f16 is eight times as precise as bf16, and bf16 has the
    /// range of f32.
    ///
    /// # Errors
    /// As [`Scorer::try_new`].
    pub fn with_kinds(
        networks: impl IntoIterator<Item = (Network, Kind)>,
        preprocessing: &Preprocessing,
    ) -> Result<Self> {
        let mut networks = networks.into_iter();
        let (network, kind) = networks.next().expect("callers give at least one network");
        let device = network.weights().device();
        let wider = networks.next().map(|(network, kind)| network.for_scoring(kind)).transpose()?;
        let normalizer = Normalizer::try_new(preprocessing.mean, preprocessing.std, device)?;
        let size = (preprocessing.height, preprocessing.width);
        Ok(Self { network: network.for_scoring(kind)?, wider, normalizer, size, tta: Tta::None })
    }

    /// The same with values that are averaged as `tta` says.
    pub fn with_tta(self, tta: Tta) -> Self {
        Self { tta, ..self }
    }

    /// The wider network as a scorer of its own, for another thread; this one then gives what it gives.
    pub fn take_wider(&mut self) -> Option<Self> {
        let network = self.wider.take()?;
        Some(Self { network, wider: None, normalizer: self.normalizer.share(), size: self.size, tta: self.tta })
    }

    /// Computes every convolution and what follows it apart, where a device has chosen to do both at once.
    pub fn without_fused_kernels(&self) {
        self.network.without_fused_kernels();
    }

    /// A second scorer for another thread. What this one has packed by then for its kernels is shared, so let it score
    /// once before: memory and time are then those of one.
    pub fn share(&self) -> Self {
        Self {
            network: self.network.share(),
            wider: self.wider.as_ref().map(ScoringNetwork::share),
            normalizer: self.normalizer.share(),
            size: self.size,
            tta: self.tta,
        }
    }

    /// Whether the network itself runs in less than f32.
    pub fn is_reduced_precision(&self) -> bool {
        self.network.kind() != Kind::Float
    }

    /// Logits `[B, C]`, row-major, before temperature, of images `[B, H, W, 3]` u8 as they are, never averaged. Not
    /// finite where the network's values are not.
    ///
    /// # Errors
    /// [`Error::Internal`] for a buffer that is not a whole number of images; whatever libtorch refuses.
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>> {
        self.compute(&Tensor::f_from_slice(pixels)?, false, Tta::None)
    }

    /// The same, averaged where that was asked for, with the pooled features of all stages behind each row's logits
    /// where they are wanted: `[B, C + F]`.
    ///
    /// # Errors
    /// As [`Scorer::logits`].
    pub fn values(&self, pixels: &[u8], with_features: bool) -> Result<Vec<f32>> {
        self.values_of(&Tensor::f_from_slice(pixels)?, with_features)
    }

    /// Bytes of one preprocessed image.
    pub fn image_bytes(&self) -> usize {
        self.size.0 as usize * self.size.1 as usize * 3
    }

    /// The same of a tensor `[B * H * W * 3]` u8, on the CPU or the scorer's device.
    ///
    /// # Errors
    /// As [`Scorer::logits`].
    pub fn values_of(&self, pixels: &Tensor, with_features: bool) -> Result<Vec<f32>> {
        self.compute(pixels, with_features, self.tta)
    }

    fn compute(&self, pixels: &Tensor, with_features: bool, tta: Tta) -> Result<Vec<f32>> {
        tch::no_grad(|| {
            let images = self.images(pixels)?;
            let values = to_host(&values(&self.network, &images, with_features, tta)?)?;
            match &self.wider {
                Some(wider) if values.iter().any(|value| !value.is_finite()) => {
                    to_host(&self::values(wider, &images, with_features, tta)?)
                }
                _ => Ok(values),
            }
        })
    }

    /// Logits `[B, C]`, or with pooled features `[B, C + F]`, f32 on the scorer's device, without waiting for them, of
    /// pixels `[B * H * W * 3]` u8 that lie there. Not finite where values leave the range of the network's kind.
    ///
    /// # Errors
    /// As [`Scorer::logits`].
    pub fn values_on_device(&self, pixels: &Tensor, with_features: bool) -> Result<Tensor> {
        tch::no_grad(|| values(&self.network, &self.images(pixels)?, with_features, self.tta))
    }

    fn images(&self, pixels: &Tensor) -> Result<Tensor> {
        let (bytes, image) = (pixels.numel(), self.image_bytes());
        if bytes == 0 || !bytes.is_multiple_of(image) {
            return Err(Error::Internal(format!("{bytes} bytes are no whole number of images of {image}")));
        }
        let pixels = pixels.f_view([-1, i64::from(self.size.0), i64::from(self.size.1), 3])?;
        self.normalizer.images_of(&pixels, self.network.kind())
    }
}

fn values(network: &ScoringNetwork, images: &Tensor, with_features: bool, tta: Tta) -> Result<Tensor> {
    averaged(
        images,
        tta,
        |images| {
            if with_features { network.logits_and_features(images) } else { network.logits(images) }
        },
    )
}

fn to_host(values: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::<f32>::try_from(&values.f_to_device(Device::Cpu)?.f_reshape([-1])?)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::super::{Architecture, HeadKind};
    use super::*;

    #[test]
    fn a_mirror_average_is_that_of_both_and_the_same_for_both() {
        let preprocessing = Preprocessing::new(8, 10);
        for architecture in [Architecture::Resnet20, Architecture::Vgg8, Architecture::DensenetBc100] {
            let network = || Network::try_new(architecture, HeadKind::Dismax, 3, Device::Cpu, 1).unwrap();
            let plain = Scorer::try_new(network(), &preprocessing).unwrap();
            let averaged = Scorer::try_new(network(), &preprocessing).unwrap().with_tta(Tta::Flip).share();
            let pixels: Vec<u8> = (0..2 * preprocessing.image_bytes()).map(|at| (at * 37 % 251) as u8).collect();
            let mirrored: Vec<u8> =
                pixels.chunks_exact(30).flat_map(|row| row.chunks_exact(3).rev().flatten().copied()).collect();
            let values = |scorer: &Scorer, pixels: &[u8]| scorer.values(pixels, true).unwrap();
            let (one, other) = (values(&plain, &pixels), values(&plain, &mirrored));
            let both = values(&averaged, &pixels);
            for (average, (one, other)) in both.iter().zip(one.iter().zip(&other)) {
                assert!((average - (one + other) / 2.0).abs() < 1e-4, "{architecture}: {average} {one} {other}");
            }
            for (average, turned) in both.iter().zip(values(&averaged, &mirrored)) {
                assert!((average - turned).abs() < 1e-4, "{architecture}: {average} {turned}");
            }
            // A self-check looks at the network alone.
            assert_eq!(plain.logits(&pixels).unwrap(), averaged.logits(&pixels).unwrap());
        }
    }

    #[test]
    fn features_stand_behind_the_logits_stage_by_stage() {
        // The widths of the large ones are looked at where their golden values are.
        for architecture in
            [Architecture::Resnet20, Architecture::Vgg8, Architecture::DensenetBc100, Architecture::Resnet18]
        {
            let side = architecture.smallest_image();
            let preprocessing = Preprocessing::new(side, side);
            let network = Network::try_new(architecture, HeadKind::Dismax, 3, Device::Cpu, 1).unwrap();
            let pixels: Vec<u8> =
                (0..2 * preprocessing.image_bytes()).map(|at| (at * 37 % 251 + at / 999) as u8).collect();
            let images = Normalizer::try_new(preprocessing.mean, preprocessing.std, Device::Cpu).unwrap();
            let size = [2, i64::from(side), i64::from(side), 3];
            let tensor = Tensor::f_from_slice(&pixels).unwrap().f_view(size).unwrap();
            let images = images.images_of(&tensor, Kind::Float).unwrap();
            let features = tch::no_grad(|| network.features(&images, false)).unwrap();
            let features = to_host(&features).unwrap();
            let scorer = Scorer::try_new(network, &preprocessing).unwrap();
            let (logits, values) = (scorer.logits(&pixels).unwrap(), scorer.values(&pixels, true).unwrap());
            let width = 3 + architecture.stages().iter().sum::<usize>();
            assert_eq!((logits.len(), values.len()), (6, 2 * width), "{architecture}");

            let last = *architecture.stages().last().unwrap();
            for (row, values) in values.chunks_exact(width).enumerate() {
                assert_eq!(values[..3], logits[row * 3..(row + 1) * 3], "{architecture}");
                let (early, late) = values[3..].split_at(width - 3 - last);
                assert!(early.iter().all(|value| value.is_finite()) && early.iter().any(|value| *value != 0.0));
                for (ours, theirs) in late.iter().zip(&features[row * last..]) {
                    assert!((ours - theirs).abs() <= 1e-3 * theirs.abs().max(1.0), "{architecture} {ours} {theirs}");
                }
            }
        }
    }
}
