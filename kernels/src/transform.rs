//! The transforms of F(4x4, 3x3), on several channels at once: interpolation at 0, 1, -1, 2, -2 and infinity.
//!
//! Lavin and Gray (arXiv 1509.09308), section 4.3. Everything here is inlined into functions that are compiled for a
//! processor.

use super::vector::Arithmetic;

/// Outputs of a tile, down and across.
pub const TILE: usize = 4;
/// Inputs of a tile, down and across.
pub const WINDOW: usize = 6;
/// Points at which a tile is multiplied.
pub const POINTS: usize = WINDOW * WINDOW;

/// Six inputs at the six points.
#[inline(always)]
fn input_line<V: Arithmetic>(d: [V; WINDOW]) -> [V; WINDOW] {
    let (even, odd) = (d[2].scaled_sum(-4.0, d[4]), d[1].scaled_sum(-4.0, d[3]));
    let (far_even, far_odd) = (d[4].sub(d[2]), d[3].sub(d[1]));
    [
        d[0].scaled_sum(4.0, d[2].scaled_sum(-5.0, d[4])),
        even.add(odd),
        even.sub(odd),
        far_odd.scaled_sum(2.0, far_even),
        far_odd.scaled_sum(-2.0, far_even),
        d[1].scaled_sum(4.0, d[3].scaled_sum(-5.0, d[5])),
    ]
}

/// Sums at the six points to four outputs.
#[inline(always)]
fn output_line<V: Arithmetic>(m: [V; WINDOW]) -> [V; TILE] {
    let (near, near_odd) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (far, far_odd) = (m[3].add(m[4]), m[3].sub(m[4]));
    [
        m[0].add(near.add(far)),
        far_odd.scaled_sum(2.0, near_odd),
        far.scaled_sum(4.0, near),
        far_odd.scaled_sum(8.0, near_odd).add(m[5]),
    ]
}

/// An array of six from an expression of the index: closures would not be compiled for AVX2.
macro_rules! six {
    ($index:ident => $value:expr) => {
        [
            {
                const $index: usize = 0;
                $value
            },
            {
                const $index: usize = 1;
                $value
            },
            {
                const $index: usize = 2;
                $value
            },
            {
                const $index: usize = 3;
                $value
            },
            {
                const $index: usize = 4;
                $value
            },
            {
                const $index: usize = 5;
                $value
            },
        ]
    };
}
pub(super) use six;

/// A window of 6x6 pixels at the 6x6 points: by column, then by row.
#[inline(always)]
pub fn input<V: Arithmetic>(window: [[V; WINDOW]; WINDOW]) -> [[V; WINDOW]; WINDOW] {
    let half = six!(ROW => input_line(window[ROW]));
    six!(COLUMN => input_line(six!(ROW => half[ROW][COLUMN])))
}

/// Sums at the 6x6 points, by column, then by row, to a tile of 4x4 outputs, by row, then by column.
#[inline(always)]
pub fn output<V: Arithmetic>(sums: [[V; WINDOW]; WINDOW]) -> [[V; TILE]; TILE] {
    let half = six!(COLUMN => output_line(sums[COLUMN]));
    [
        output_line(six!(COLUMN => half[COLUMN][0])),
        output_line(six!(COLUMN => half[COLUMN][1])),
        output_line(six!(COLUMN => half[COLUMN][2])),
        output_line(six!(COLUMN => half[COLUMN][3])),
    ]
}

/// Three weights at the six points. Sums of products and no fused ones: this is also compiled for processors without.
#[inline(always)]
fn filter_line<V: Arithmetic>([a, b, c]: [V; 3]) -> [V; WINDOW] {
    let (near, far) = (a.add(c), a.scaled(1.0 / 24.0).add(c.scaled(1.0 / 6.0)));
    let odd = b.scaled(1.0 / 12.0);
    [a.scaled(0.25), near.add(b).scaled(-1.0 / 6.0), near.sub(b).scaled(-1.0 / 6.0), far.add(odd), far.sub(odd), c]
}

/// Kernels of 3x3 weights, row by row, at the 36 points, by column, then by row.
#[inline(always)]
pub fn filter<V: Arithmetic>(taps: [[V; 3]; 3]) -> [[V; WINDOW]; WINDOW] {
    let half = [filter_line(taps[0]), filter_line(taps[1]), filter_line(taps[2])];
    six!(COLUMN => filter_line([half[0][COLUMN], half[1][COLUMN], half[2][COLUMN]]))
}

/// The transpose of [`output_line`]: four outputs' gradients to those of the six points.
#[inline(always)]
fn output_gradient_line<V: Arithmetic>(y: [V; TILE]) -> [V; WINDOW] {
    let (near_even, near_odd) = (y[0].add(y[2]), y[1].add(y[3]));
    let (far_even, far_odd) = (y[2].scaled_sum(4.0, y[0]), y[3].scaled_sum(8.0, y[1].scaled(2.0)));
    [y[0], near_even.add(near_odd), near_even.sub(near_odd), far_even.add(far_odd), far_even.sub(far_odd), y[3]]
}

/// The transpose of [`output`]: gradients of a tile of 4x4 outputs, by row, then by column, to those of the sums at the
/// 6x6 points, by column, then by row.
#[inline(always)]
pub fn output_gradient<V: Arithmetic>(tile: [[V; TILE]; TILE]) -> [[V; WINDOW]; WINDOW] {
    let half = [
        output_gradient_line(tile[0]),
        output_gradient_line(tile[1]),
        output_gradient_line(tile[2]),
        output_gradient_line(tile[3]),
    ];
    six!(COLUMN => output_gradient_line([half[0][COLUMN], half[1][COLUMN], half[2][COLUMN], half[3][COLUMN]]))
}

/// The transpose of [`filter_line`].
#[inline(always)]
fn filter_gradient_line<V: Arithmetic>(p: [V; WINDOW]) -> [V; 3] {
    let (near, near_odd) = (p[1].add(p[2]), p[2].sub(p[1]));
    let (far, far_odd) = (p[3].add(p[4]), p[3].sub(p[4]));
    [
        p[0].scaled_sum(0.25, near.scaled_sum(-1.0 / 6.0, far.scaled(1.0 / 24.0))),
        near_odd.scaled_sum(1.0 / 6.0, far_odd.scaled(1.0 / 12.0)),
        far.sub(near).scaled_sum(1.0 / 6.0, p[5]),
    ]
}

/// The transpose of [`filter`]: gradients at the 36 points, by column, then by row, to those of the 3x3 weights, row by
/// row.
#[inline(always)]
pub fn filter_gradient<V: Arithmetic>(points: [[V; WINDOW]; WINDOW]) -> [[V; 3]; 3] {
    let half = six!(COLUMN => filter_gradient_line(points[COLUMN]));
    [
        filter_gradient_line(six!(COLUMN => half[COLUMN][0])),
        filter_gradient_line(six!(COLUMN => half[COLUMN][1])),
        filter_gradient_line(six!(COLUMN => half[COLUMN][2])),
    ]
}
