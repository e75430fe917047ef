//! The transforms of F(4x4, 3x3), on eight channels at once: interpolation at 0, 1, -1, 2, -2 and infinity.
//!
//! Lavin and Gray (arXiv 1509.09308), section 4.3. Everything here is inlined into functions that are compiled for AVX2.

/// Channels that are transformed together: one register.
pub const LANES: usize = 8;
/// Outputs of a tile, down and across.
pub const TILE: usize = 4;
/// Inputs of a tile, down and across.
pub const WINDOW: usize = 6;
/// Points at which a tile is multiplied.
pub const POINTS: usize = WINDOW * WINDOW;

/// The same value of so many channels.
pub type Lanes = [f32; LANES];

/// `a + b`.
#[inline(always)]
pub fn add(a: Lanes, b: Lanes) -> Lanes {
    let mut sum = a;
    for (a, b) in sum.iter_mut().zip(b) {
        *a += b;
    }
    sum
}

/// `a - b`.
#[inline(always)]
fn sub(a: Lanes, b: Lanes) -> Lanes {
    let mut difference = a;
    for (a, b) in difference.iter_mut().zip(b) {
        *a -= b;
    }
    difference
}

/// `a * factor`.
#[inline(always)]
fn scaled(a: Lanes, factor: f32) -> Lanes {
    let mut product = a;
    for a in &mut product {
        *a *= factor;
    }
    product
}

/// `a * factor + b`.
#[inline(always)]
fn scaled_sum(a: Lanes, factor: f32, b: Lanes) -> Lanes {
    let mut sum = b;
    for (b, a) in sum.iter_mut().zip(a) {
        *b = a.mul_add(factor, *b);
    }
    sum
}

/// Six inputs at the six points.
#[inline(always)]
fn input_line(d: [Lanes; WINDOW]) -> [Lanes; WINDOW] {
    let (even, odd) = (scaled_sum(d[2], -4.0, d[4]), scaled_sum(d[1], -4.0, d[3]));
    let (far_even, far_odd) = (sub(d[4], d[2]), sub(d[3], d[1]));
    [
        scaled_sum(d[0], 4.0, scaled_sum(d[2], -5.0, d[4])),
        add(even, odd),
        sub(even, odd),
        scaled_sum(far_odd, 2.0, far_even),
        scaled_sum(far_odd, -2.0, far_even),
        scaled_sum(d[1], 4.0, scaled_sum(d[3], -5.0, d[5])),
    ]
}

/// Sums at the six points to four outputs.
#[inline(always)]
fn output_line(m: [Lanes; WINDOW]) -> [Lanes; TILE] {
    let (near, near_odd) = (add(m[1], m[2]), sub(m[1], m[2]));
    let (far, far_odd) = (add(m[3], m[4]), sub(m[3], m[4]));
    [
        add(m[0], add(near, far)),
        scaled_sum(far_odd, 2.0, near_odd),
        scaled_sum(far, 4.0, near),
        add(scaled_sum(far_odd, 8.0, near_odd), m[5]),
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
pub fn input(window: [[Lanes; WINDOW]; WINDOW]) -> [[Lanes; WINDOW]; WINDOW] {
    let half = six!(ROW => input_line(window[ROW]));
    six!(COLUMN => input_line(six!(ROW => half[ROW][COLUMN])))
}

/// Sums at the 6x6 points, by column, then by row, to a tile of 4x4 outputs, by row, then by column.
#[inline(always)]
pub fn output(sums: [[Lanes; WINDOW]; WINDOW]) -> [[Lanes; TILE]; TILE] {
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
fn filter_line([a, b, c]: [Lanes; 3]) -> [Lanes; WINDOW] {
    let (near, far) = (add(a, c), add(scaled(a, 1.0 / 24.0), scaled(c, 1.0 / 6.0)));
    let odd = scaled(b, 1.0 / 12.0);
    [
        scaled(a, 0.25),
        scaled(add(near, b), -1.0 / 6.0),
        scaled(sub(near, b), -1.0 / 6.0),
        add(far, odd),
        sub(far, odd),
        c,
    ]
}

/// Kernels of 3x3 weights, row by row, at the 36 points, by column, then by row.
#[inline(always)]
pub fn filter(taps: [[Lanes; 3]; 3]) -> [[Lanes; WINDOW]; WINDOW] {
    let half = [filter_line(taps[0]), filter_line(taps[1]), filter_line(taps[2])];
    six!(COLUMN => filter_line([half[0][COLUMN], half[1][COLUMN], half[2][COLUMN]]))
}

/// The transpose of [`output_line`]: four outputs' gradients to those of the six points.
#[inline(always)]
fn output_gradient_line(y: [Lanes; TILE]) -> [Lanes; WINDOW] {
    let (near_even, near_odd) = (add(y[0], y[2]), add(y[1], y[3]));
    let (far_even, far_odd) = (scaled_sum(y[2], 4.0, y[0]), scaled_sum(y[3], 8.0, scaled(y[1], 2.0)));
    [y[0], add(near_even, near_odd), sub(near_even, near_odd), add(far_even, far_odd), sub(far_even, far_odd), y[3]]
}

/// The transpose of [`output`]: gradients of a tile of 4x4 outputs, by row, then by column, to those of the sums at the 6x6 points, by
/// column, then by row.
#[inline(always)]
pub fn output_gradient(tile: [[Lanes; TILE]; TILE]) -> [[Lanes; WINDOW]; WINDOW] {
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
fn filter_gradient_line(p: [Lanes; WINDOW]) -> [Lanes; 3] {
    let (near, near_odd) = (add(p[1], p[2]), sub(p[2], p[1]));
    let (far, far_odd) = (add(p[3], p[4]), sub(p[3], p[4]));
    [
        scaled_sum(p[0], 0.25, scaled_sum(near, -1.0 / 6.0, scaled(far, 1.0 / 24.0))),
        scaled_sum(near_odd, 1.0 / 6.0, scaled(far_odd, 1.0 / 12.0)),
        scaled_sum(sub(far, near), 1.0 / 6.0, p[5]),
    ]
}

/// The transpose of [`filter`]: gradients at the 36 points, by column, then by row, to those of the 3x3 weights, row by row.
#[inline(always)]
pub fn filter_gradient(points: [[Lanes; WINDOW]; WINDOW]) -> [[Lanes; 3]; 3] {
    let half = six!(COLUMN => filter_gradient_line(points[COLUMN]));
    [
        filter_gradient_line(six!(COLUMN => half[COLUMN][0])),
        filter_gradient_line(six!(COLUMN => half[COLUMN][1])),
        filter_gradient_line(six!(COLUMN => half[COLUMN][2])),
    ]
}
