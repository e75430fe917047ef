//! The product of a block of tiles with the filters at one point: a matrix product that keeps its sums in registers.

/// Output channels of a panel: two registers of eight.
pub const COLUMNS: usize = 16;
/// Tiles whose sums are kept at once: 6 times 2 registers of sums, and 3 for what is multiplied, of AVX2's 16.
const ROWS: usize = 6;

/// `sums [N, C_out] = rows [N, C_in] * panels`, the filters of one point. Inlined into functions compiled for AVX2.
#[inline(always)]
pub fn rows(rows: &[f32], panels: &[[f32; COLUMNS]], inputs: usize, sums: &mut [f32]) {
    let (count, outputs) = (rows.len() / inputs, panels.len() / inputs * COLUMNS);
    for (index, panel) in panels.chunks_exact(inputs).enumerate() {
        let mut row = 0;
        while row + ROWS <= count {
            product::<ROWS>(&rows[row * inputs..], panel, &mut sums[row * outputs + index * COLUMNS..], outputs);
            row += ROWS;
        }
        while row < count {
            product::<1>(&rows[row * inputs..], panel, &mut sums[row * outputs + index * COLUMNS..], outputs);
            row += 1;
        }
    }
}

/// The first `R` rows times one panel.
#[inline(always)]
fn product<const R: usize>(rows: &[f32], panel: &[[f32; COLUMNS]], to: &mut [f32], outputs: usize) {
    let mut lines: [&[f32]; R] = [&[]; R];
    for (index, line) in lines.iter_mut().enumerate() {
        *line = &rows[index * panel.len()..][..panel.len()];
    }
    let mut sums = [[0.0f32; COLUMNS]; R];
    for (channel, weights) in panel.iter().enumerate() {
        for (line, sums) in lines.iter().zip(&mut sums) {
            let value = line[channel];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = value.mul_add(*weight, *sum);
            }
        }
    }
    for (index, sums) in sums.iter().enumerate() {
        to[index * outputs..][..COLUMNS].copy_from_slice(sums);
    }
}
