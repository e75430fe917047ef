//! Transformed weights, in the order in which the multiplication reads them.

use super::multiply::COLUMNS;
use super::transform::{self, POINTS};

/// For each of the 36 points and each 16 output channels a panel `[C_in][16]`.
#[derive(Debug)]
pub struct Filters {
    /// Input channels, a multiple of 8.
    pub inputs: usize,
    /// Output channels, a multiple of 16.
    pub outputs: usize,
    panels: Vec<[f32; COLUMNS]>,
}

impl Filters {
    /// Takes weights `[C_out, C_in, 3, 3]`.
    pub fn new(weights: &[f32], inputs: usize, outputs: usize) -> Self {
        let per_point = outputs / COLUMNS * inputs;
        let mut panels = vec![[0.0; COLUMNS]; POINTS * per_point];
        let (kernels, _) = weights.as_chunks::<9>();
        for (index, kernel) in kernels.iter().enumerate() {
            let (output, input) = (index / inputs, index % inputs);
            let at = output / COLUMNS * inputs + input;
            for (point, value) in transform::filter(kernel).into_iter().enumerate() {
                panels[point * per_point + at][output % COLUMNS] = value;
            }
        }
        Self { inputs, outputs, panels }
    }

    /// The panels of one point.
    #[inline(always)]
    pub fn point(&self, point: usize) -> &[[f32; COLUMNS]] {
        let per_point = self.outputs / COLUMNS * self.inputs;
        &self.panels[point * per_point..][..per_point]
    }

    /// Memory.
    pub fn bytes(&self) -> usize {
        size_of_val(self.panels.as_slice())
    }
}
