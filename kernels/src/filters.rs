//! Transformed weights, in the order in which the multiplication reads them.

use super::block::COLUMNS;
use super::buffer::Buffer;
use super::transform::{self, POINTS};
use super::vector::LANES;

/// For each of the 36 points and each 16 output channels a panel `[C_in][16]`.
#[derive(Debug, Default)]
pub struct Filters {
    /// Input channels, a multiple of 8.
    pub inputs: usize,
    /// Output channels, a multiple of 16.
    pub outputs: usize,
    panels: Buffer,
}

impl Filters {
    /// Room for so many channels, all zero.
    pub fn zeros(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, panels: Buffer::zeros(POINTS * outputs * inputs) }
    }

    /// Takes the kernel of each output and input channel, row by row.
    pub fn set<'a>(&mut self, kernel: impl Fn(usize, usize) -> &'a [f32; 9], order: [[usize; 3]; 3]) {
        let per_point = self.outputs / COLUMNS * self.inputs;
        let (panels, _) = self.panels.first_mut(POINTS * per_point * COLUMNS).as_chunks_mut::<COLUMNS>();
        for at in 0..per_point {
            let (panel, input) = (at / self.inputs, at % self.inputs);
            for half in 0..COLUMNS / LANES {
                let first = panel * COLUMNS + half * LANES;
                let mut taps = [[[0.0; LANES]; 3]; 3];
                for lane in 0..LANES {
                    let kernel = kernel(first + lane, input);
                    for (taps, order) in taps.iter_mut().zip(order) {
                        for (tap, from) in taps.iter_mut().zip(order) {
                            tap[lane] = kernel[from];
                        }
                    }
                }
                let points = transform::filter(taps);
                for (point, values) in points.as_flattened().iter().enumerate() {
                    panels[point * per_point + at][half * LANES..][..LANES].copy_from_slice(values);
                }
            }
        }
    }

    /// The panels of one point.
    #[inline(always)]
    pub fn point(&self, point: usize) -> &[[f32; COLUMNS]] {
        let per_point = self.outputs / COLUMNS * self.inputs;
        let (panels, _) = self.panels.first(POINTS * per_point * COLUMNS).as_chunks::<COLUMNS>();
        &panels[point * per_point..][..per_point]
    }

    /// Memory.
    pub fn bytes(&self) -> usize {
        self.panels.bytes()
    }
}
