//! Light, contrast, colour and sharpness, in whole numbers as far as they go.

use dismax::image::Pixels;

/// Luma of ITU-R BT.709 as whole numbers from 0 to 255.
pub(crate) fn luma(image: &Pixels) -> Vec<u8> {
    let of = |pixel: &[u8; 3]| {
        let [red, green, blue] = pixel.map(u32::from);
        // The weights add up to 65,536.
        ((13_933 * red + 46_871 * green + 4_732 * blue + 32_768) >> 16) as u8
    };
    image.data.as_chunks().0.iter().map(of).collect()
}

/// Mean over the pixels of (largest - smallest channel) / 255.
pub(super) fn colour(image: &Pixels) -> f32 {
    let range = |&[red, green, blue]: &[u8; 3]| u64::from(red.max(green).max(blue) - red.min(green).min(blue));
    let pixels = image.data.as_chunks().0;
    (pixels.iter().map(range).sum::<u64>() as f64 / (255.0 * pixels.len().max(1) as f64)) as f32
}

/// Mean and standard deviation (of the population) of luma, in [0, 1]; 0 and 0 for no values.
pub(super) fn mean_and_deviation(luma: &[u8]) -> (f32, f32) {
    let (mut sum, mut squares) = (0u64, 0u64);
    // Sums of 4,096 squares of at most 255 fit into 32 bits, which are added up faster.
    for part in luma.chunks(4096) {
        sum += u64::from(part.iter().map(|value| u32::from(*value)).sum::<u32>());
        squares += u64::from(part.iter().map(|value| u32::from(*value).pow(2)).sum::<u32>());
    }
    let (mean, variance) = moments(luma.len(), sum as f64, squares as f64);
    ((mean / 255.0) as f32, (variance.sqrt() / 255.0) as f32)
}

/// Variance of the four-neighbour Laplacian, luma in [0, 1]. At an edge the pixel itself stands in for its missing
/// neighbour.
pub(super) fn laplacian_variance(luma: &[u8], width: usize) -> f32 {
    let (mut sum, mut squares) = (0i64, 0i64);
    let mut sides = vec![0i32; width];
    let mut lines = luma.chunks_exact(width).peekable();
    let mut above = lines.peek().copied().unwrap_or_default();
    while let Some(here) = lines.next() {
        let below = lines.peek().copied().unwrap_or(here);
        around(here, &mut sides);
        let laplacians = sides.iter().zip(here).zip(above.iter().zip(below));
        let laplacians = laplacians.map(|((sides, value), (above, below))| {
            sides + i32::from(*above) + i32::from(*below) - 4 * i32::from(*value)
        });
        // Each is at most 1,020, so that the sums of the squares of 2,000 fit.
        let (line_sum, line_squares) = laplacians
            .fold((0i32, 0i32), |(sum, squares), laplacian| (sum + laplacian, squares + laplacian * laplacian));
        sum += i64::from(line_sum);
        squares += i64::from(line_squares);
        above = here;
    }
    let (_, variance) = moments(luma.len(), sum as f64, squares as f64);
    (variance / (255.0 * 255.0)) as f32
}

/// For each pixel of a line the sum of its neighbours there.
fn around(line: &[u8], sums: &mut [i32]) {
    let last = line.len().saturating_sub(1);
    for (sum, three) in sums.iter_mut().skip(1).zip(line.windows(3)) {
        *sum = i32::from(three[0]) + i32::from(three[2]);
    }
    for at in [0, last] {
        let neighbours = [at.saturating_sub(1), (at + 1).min(last)];
        let sum = neighbours.iter().filter_map(|at| line.get(*at)).map(|value| i32::from(*value)).sum();
        if let Some(own) = sums.get_mut(at) {
            *own = sum;
        }
    }
}

/// Mean and variance of so many values with this sum and sum of squares.
fn moments(count: usize, sum: f64, squares: f64) -> (f64, f64) {
    let count = count.max(1) as f64;
    let mean = sum / count;
    (mean, (squares / count - mean * mean).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laplacians_by_the_definition() {
        for (width, height) in [(1usize, 1usize), (1, 5), (7, 1), (2, 2), (9, 6)] {
            let luma: Vec<u8> = (0..width * height).map(|at| (at * at * 37 % 256) as u8).collect();
            let at = |row: usize, column: usize| f64::from(luma[row * width + column]) / 255.0;
            let mut values = Vec::new();
            for row in 0..height {
                for column in 0..width {
                    let (up, down) = (row.saturating_sub(1), (row + 1).min(height - 1));
                    let (left, right) = (column.saturating_sub(1), (column + 1).min(width - 1));
                    let neighbours = at(up, column) + at(down, column) + at(row, left) + at(row, right);
                    values.push(neighbours - 4.0 * at(row, column));
                }
            }
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
            let found = f64::from(laplacian_variance(&luma, width));
            assert!((found - variance).abs() < 1e-6 * variance.max(1.0), "{width} x {height}: {found}, {variance}");
        }
    }

    #[test]
    fn moments_of_many_values() {
        let luma: Vec<u8> = (0..100_000).map(|at| if at % 4 == 0 { 255 } else { 0 }).collect();
        let (mean, deviation) = mean_and_deviation(&luma);
        assert!((mean - 0.25).abs() < 1e-6 && (deviation - 0.433_013).abs() < 1e-6, "{mean} {deviation}");
        assert_eq!(mean_and_deviation(&[]), (0.0, 0.0));
    }
}
