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

/// Three weights at the six points.
fn filter_line([a, b, c]: [f64; 3]) -> [f64; WINDOW] {
    [a / 4.0, -(a + b + c) / 6.0, -(a - b + c) / 6.0, a / 24.0 + b / 12.0 + c / 6.0, a / 24.0 - b / 12.0 + c / 6.0, c]
}

/// A kernel of 3x3 weights, row by row, at the 36 points, by column, then by row. Once per model, so in f64.
pub fn filter(kernel: &[f32; 9]) -> [f32; POINTS] {
    let kernel = kernel.map(f64::from);
    let mut half = [[0.0; 3]; WINDOW];
    for column in 0..3 {
        for (row, value) in
            filter_line([kernel[column], kernel[3 + column], kernel[6 + column]]).into_iter().enumerate()
        {
            half[row][column] = value;
        }
    }
    let mut points = [0.0; POINTS];
    for (row, line) in half.into_iter().enumerate() {
        for (column, value) in filter_line(line).into_iter().enumerate() {
            points[column * WINDOW + row] = value as f32;
        }
    }
    points
}
