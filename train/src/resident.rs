//! Training images that lie on the device, and the batches that are gathered from them there.
//!
//! Crop, mirror and quadrant mix only move pixels, so a batch is one gather: for each pixel of the batch, which pixel
//! of which image it is. The random numbers are those of the [loader](super::loader), drawn on the host.

use tch::{Device, Kind, Tensor};

use super::augment::Augmentation;
use super::data::InMemory;
use super::loader::{BatchPlan, example_rng};
use super::mix::plain_rows;
use super::padding::Padding;
use dismax::error::{Error, Result};

/// Numbers that say where a pixel comes from: image, top, left, flip, and the first row and column of the hole.
const FIELDS: usize = 6;
/// Quadrants in the order of [`mix_quadrants`](super::mix::mix_quadrants)' predecessors: top left of the image itself,
/// bottom left of the one before, top right of the second, bottom right of the third before.
const QUADRANTS: usize = 4;

/// A batch on the device.
#[derive(Debug)]
pub(super) struct DeviceBatch {
    /// `[B, H, W, 3]` u8: first the plain images, then the mixed ones.
    pub pixels: Tensor,
    /// Classes `[P]` of the plain images.
    pub labels: Tensor,
    /// Classes `[B - P, 4]` of the mixed images' quadrants.
    pub mixed_labels: Tensor,
}

/// Images on a device.
#[derive(Debug)]
pub(super) struct ResidentImages {
    /// `[N * H * W + 1, 3]` u8; the last pixel is black.
    pixels: Tensor,
    /// `[N]`.
    labels: Tensor,
    size: (i64, i64),
    target: (i64, i64),
    /// Rows and columns `[H' * W']` of the pixels of a batch's image, and the quadrant that each lies in.
    rows: Tensor,
    columns: Tensor,
    quadrants: Tensor,
}

/// Where all pixels of an epoch's batches come from.
#[derive(Debug)]
pub(super) struct EpochSources {
    /// `[rows, 4 quadrants, fields]`.
    sources: Tensor,
    plan: BatchPlan,
    mixed_share: f64,
    fill: Padding,
    /// Side of the holes; 0 for none.
    cutout: i64,
}

impl ResidentImages {
    /// Copies all images to `device`; batches have images of `target` (height, width).
    ///
    /// # Errors
    /// Whatever libtorch refuses, for example a device without memory.
    pub(super) fn try_new(images: &InMemory, target: (u32, u32), device: Device) -> Result<Self> {
        let images = images.images();
        let labels: Vec<i64> = images.labels.iter().map(|&label| i64::from(label)).collect();
        let stored = Tensor::f_from_slice(&images.pixels)?.f_view([-1, 3])?;
        let count = stored.size()[0];
        // Copied to its place at once: joining two tensors there would take the memory twice.
        let pixels = Tensor::f_zeros([count + 1, 3], (Kind::Uint8, device))?;
        pixels.f_narrow(0, 0, count)?.f_copy_(&stored)?;
        let (height, width) = (i64::from(target.0), i64::from(target.1));
        let numbers = |value: &dyn Fn(i64, i64) -> i64| -> Result<Tensor> {
            let all: Vec<i64> =
                (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| value(y, x)).collect();
            Ok(Tensor::f_from_slice(&all)?.f_to_device(device)?)
        };
        Ok(Self {
            pixels,
            labels: Tensor::f_from_slice(&labels)?.f_to_device(device)?,
            size: (i64::from(images.height), i64::from(images.width)),
            target: (height, width),
            rows: numbers(&|y, _| y)?,
            columns: numbers(&|_, x| x)?,
            quadrants: numbers(&|y, x| match (y < height / 2, x < width / 2) {
                (true, true) => 0,
                (false, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
            })?,
        })
    }

    /// Draws the order and the windows of an epoch, and mixes the last rows of each batch: the share `mixed_share`.
    ///
    /// # Errors
    /// [`Error::Internal`] for an augmentation that resizes.
    pub(super) fn epoch(
        &self,
        images: &InMemory,
        plan: BatchPlan,
        (augmentation, mixed_share, seed): (Augmentation, f64, u64),
        epoch: usize,
    ) -> Result<EpochSources> {
        let order = images.order(epoch);
        let drawn: Vec<[i64; FIELDS]> = (0..)
            .zip(&order[..plan.rows])
            .map(|(position, &image)| {
                let turn = augmentation.flip().is_turn(seed, image as u64, epoch);
                let target = (self.target.0 as usize, self.target.1 as usize);
                let window = augmentation.window(target, turn, &mut example_rng(seed, epoch, position))?;
                let flip = i64::from(window.flip);
                Some([image as i64, window.top, window.left, flip, window.hole.top, window.hole.left])
            })
            .collect::<Option<_>>()
            .ok_or_else(|| Error::Internal("images that are resized are not gathered".into()))?;
        let mut sources: Vec<i64> = Vec::with_capacity(plan.rows * QUADRANTS * FIELDS);
        for step in 0..plan.steps {
            let rows = plan.rows_of(step, 0);
            let batch = &drawn[plan.first_row(step)..][..rows];
            let (plain, mixed) = batch.split_at(plain_rows(rows, mixed_share));
            sources.extend(plain.iter().flat_map(|source| [source; QUADRANTS]).flatten());
            let before = |row: usize, back: usize| &mixed[(row + 3 * mixed.len() - back) % mixed.len()];
            let quadrants = (0..mixed.len()).flat_map(|row| (0..QUADRANTS).map(move |back| before(row, back)));
            sources.extend(quadrants.flatten());
        }
        let sources = Tensor::f_from_slice(&sources)?.f_view([-1, QUADRANTS as i64, FIELDS as i64])?;
        let (fill, cutout) = (augmentation.fill(), i64::from(augmentation.cutout()));
        Ok(EpochSources { sources: sources.f_to_device(self.pixels.device())?, plan, mixed_share, fill, cutout })
    }

    /// Gathers the batch of step `step`. The host does not wait.
    ///
    /// # Errors
    /// Whatever libtorch refuses.
    pub(super) fn batch(&self, epoch: &EpochSources, step: usize) -> Result<DeviceBatch> {
        let rows = epoch.plan.rows_of(step, 0) as i64;
        let sources = epoch.sources.f_narrow(0, epoch.plan.first_row(step) as i64, rows)?;
        let ((height, width), (target_height, target_width)) = (self.size, self.target);
        // `[B, H' * W', fields]`: what its quadrant says for each pixel.
        let each = sources.f_index_select(1, &self.quadrants)?;
        let field = |number: i64| each.f_select(2, number);
        let y = field(1)?.f_add(&self.rows)?;
        let mirrored = self.columns.f_neg()?.f_add_scalar(target_width - 1)?;
        let x = mirrored.f_where_self(&field(3)?.f_to_kind(Kind::Bool)?, &self.columns)?.f_add(&field(2)?)?;
        let at = |y: &Tensor, x: &Tensor| -> Result<Tensor> {
            Ok(field(0)?.f_mul_scalar(height)?.f_add(y)?.f_mul_scalar(width)?.f_add(x)?)
        };
        let inside = |at: &Tensor, end: i64| -> Result<Tensor> { Ok(at.f_ge(0)?.f_logical_and(&at.f_lt(end)?)?) };
        let black = self.pixels.size()[0] - 1;
        let mut at = match epoch.fill {
            Padding::Black => {
                let is_inside = inside(&y, height)?.f_logical_and(&inside(&x, width)?)?;
                at(&y, &x)?.f_where_scalarother(&is_inside, black)?
            }
            // As `Padding::source`.
            Padding::Reflect => {
                let seen = |at: &Tensor, length: i64| -> Result<Tensor> {
                    let last = length - 1;
                    Ok(at.f_abs()?.f_neg()?.f_add_scalar(last)?.f_abs()?.f_neg()?.f_add_scalar(last)?)
                };
                at(&seen(&y, height)?, &seen(&x, width)?)?
            }
        };
        if epoch.cutout > 0 {
            let within = |places: &Tensor, field: &Tensor| inside(&places.f_sub(field)?, epoch.cutout);
            let is_hole = within(&self.rows, &field(4)?)?.f_logical_and(&within(&self.columns, &field(5)?)?)?;
            at = at.f_where_scalarother(&is_hole.f_logical_not()?, black)?;
        }
        let pixels = self.pixels.f_index_select(0, &at.f_view([-1])?)?;
        let pixels = pixels.f_view([rows, target_height, target_width, 3])?;
        let plain = plain_rows(rows as usize, epoch.mixed_share) as i64;
        let images = sources.f_select(2, 0)?;
        let labels = self.labels.f_index_select(0, &images.f_narrow(0, 0, plain)?.f_select(1, 0)?)?;
        let mixed = images.f_narrow(0, plain, rows - plain)?.f_reshape([-1])?;
        let mixed_labels = self.labels.f_index_select(0, &mixed)?.f_view([-1, QUADRANTS as i64])?;
        Ok(DeviceBatch { pixels, labels, mixed_labels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Examples, LabelledImages};
    use crate::flip::Flip;
    use crate::loader::{Preparation, load_epoch};
    use rand::{Rng, SeedableRng};

    #[test]
    fn a_gather_gives_the_loaders_batches_bit_for_bit() -> Result<()> {
        let crop = |padding, flip| Augmentation::Crop {
            padding,
            flip: if flip { Flip::Random } else { Flip::None },
            fill: Padding::Black,
            cutout: 0,
        };
        let reflected = Augmentation::Crop { padding: 3, flip: Flip::Alternating, fill: Padding::Reflect, cutout: 5 };
        for (count, size, target, augmentation, batch_size) in [
            (37, (32, 32), (32, 32), crop(4, true), 16),
            (23, (9, 7), (9, 7), crop(2, true), 10),
            (11, (8, 6), (8, 6), crop(0, false), 4),
            (9, (5, 5), (5, 5), Augmentation::None, 9),
            (12, (10, 9), (8, 8), crop(3, true), 8),
            (14, (8, 7), (8, 7), reflected, 7),
        ] {
            let mut pixels = vec![0; count * size.0 * size.1 * 3];
            rand_chacha::ChaCha8Rng::seed_from_u64(count as u64).fill_bytes(&mut pixels);
            let (height, width) = (size.0 as u32, size.1 as u32);
            let images = LabelledImages { pixels, labels: (0..count as u32).collect(), height, width };
            let examples = InMemory::new(images, 5);
            for mixed_share in [0.0, 0.5, 0.25] {
                let (plan, seed, epoch) = (BatchPlan::equal(examples.len(), batch_size), 5, 3);
                let preparation = Preparation { augmentation, target, mixed_share, seed };
                let (sender, batches) = crossbeam::channel::unbounded();
                load_epoch(&examples, plan, preparation, (epoch, 2), &sender);
                drop(sender);
                let resident = ResidentImages::try_new(&examples, target, Device::Cpu)?;
                let sources = resident.epoch(&examples, plan, (augmentation, mixed_share, seed), epoch)?;
                let mut steps = 0;
                for (step, expected) in batches.iter().enumerate() {
                    let (expected, batch) = (expected?, resident.batch(&sources, step)?);
                    let bytes = Vec::<u8>::try_from(&batch.pixels.f_view([-1])?)?;
                    assert!(bytes == expected.pixels, "{count} images, {augmentation:?}, step {step}");
                    assert_eq!(Vec::<i64>::try_from(&batch.labels)?, expected.labels);
                    assert_eq!(Vec::<i64>::try_from(&batch.mixed_labels.f_view([-1])?)?, expected.mixed_labels);
                    steps += 1;
                }
                assert_eq!(steps, plan.steps);
            }
        }
        Ok(())
    }
}
