//! Weights of a convolution, in the order in which the multiplication reads them.

use super::block::COLUMNS;
use super::buffer::Buffer;
use super::transform::{self, POINTS};
use super::vector::{LANES, Vector};

/// Weights of a kernel.
const TAPS: usize = 9;
/// Bytes of transformed weights from which these are kept as they are, at a quarter of the size, and transformed each
/// time they are used: reading four times as much from memory takes as long.
const LARGE: usize = 8 << 20;

/// For each 16 output channels a panel.
#[derive(Debug, Default)]
pub struct Filters {
    /// Input channels, a multiple of 8.
    pub inputs: usize,
    /// Output channels, a multiple of 16.
    pub outputs: usize,
    /// `[36][C_out / 16][C_in][16]`: transformed; of large ones `[C_out / 16][C_in][9][16]`: as they are.
    panels: Buffer,
}

impl Filters {
    /// Room for so many channels, all zero.
    pub fn zeros(inputs: usize, outputs: usize) -> Self {
        let numbers = if is_large(inputs, outputs) { TAPS } else { POINTS };
        Self { inputs, outputs, panels: Buffer::zeros(numbers * outputs * inputs) }
    }

    /// Takes the kernel of each output and input channel, row by row.
    pub fn set<'a>(&mut self, kernel: impl Fn(usize, usize) -> &'a [f32; TAPS], order: [[usize; 3]; 3]) {
        let (inputs, is_large) = (self.inputs, self.are_large());
        let per_point = self.outputs / COLUMNS * inputs;
        let numbers = if is_large { TAPS } else { POINTS };
        let (panels, _) = self.panels.first_mut(numbers * per_point * COLUMNS).as_chunks_mut::<COLUMNS>();
        for at in 0..per_point {
            let (panel, input) = (at / inputs, at % inputs);
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
                if is_large {
                    for (tap, values) in taps.as_flattened().iter().enumerate() {
                        panels[at * TAPS + tap][half * LANES..][..LANES].copy_from_slice(values);
                    }
                } else {
                    for (point, values) in transform::filter(taps).as_flattened().iter().enumerate() {
                        panels[point * per_point + at][half * LANES..][..LANES].copy_from_slice(values);
                    }
                }
            }
        }
    }

    /// Whether they have to be transformed when they are used.
    pub fn are_large(&self) -> bool {
        is_large(self.inputs, self.outputs)
    }

    /// The panels of one point, of filters that are not large.
    #[inline(always)]
    pub fn point(&self, point: usize) -> &[[f32; COLUMNS]] {
        let per_point = self.outputs / COLUMNS * self.inputs;
        let (panels, _) = self.panels.first(POINTS * per_point * COLUMNS).as_chunks::<COLUMNS>();
        &panels[point * per_point..][..per_point]
    }

    /// One panel of large filters at all points, `[36][C_in][16]`, in `scratch`. Inlined into functions that are
    /// compiled for a processor.
    #[inline(always)]
    pub fn transformed<'a, const N: usize, V: Vector<N>>(
        &self,
        panel: usize,
        scratch: &'a mut Buffer,
    ) -> &'a [[f32; COLUMNS]] {
        let inputs = self.inputs;
        let (taps, _) = self.panels.first(TAPS * self.outputs * inputs).as_chunks::<COLUMNS>();
        let (taps, _) = taps[panel * inputs * TAPS..][..inputs * TAPS].as_chunks::<TAPS>();
        let (points, _) = scratch.first_mut(POINTS * inputs * COLUMNS).as_chunks_mut::<COLUMNS>();
        for (input, taps) in taps.iter().enumerate() {
            for first in (0..COLUMNS).step_by(N) {
                let tap = |number: usize| V::first_of(&taps[number][first..]);
                let kernel = [[tap(0), tap(1), tap(2)], [tap(3), tap(4), tap(5)], [tap(6), tap(7), tap(8)]];
                for (point, values) in transform::filter(kernel).as_flattened().iter().enumerate() {
                    values.store_first(&mut points[point * inputs + input][first..]);
                }
            }
        }
        points
    }
}

fn is_large(inputs: usize, outputs: usize) -> bool {
    POINTS * inputs * outputs * size_of::<f32>() > LARGE
}
