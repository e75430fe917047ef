//! Mean and standard deviation of the training pixels.

/// Sums over the training pixels.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    count: u64,
    sums: [u64; 3],
    squares: [u64; 3],
}

impl Statistics {
    /// Adds the pixels of an image `[H, W, 3]`.
    pub(super) fn add(&mut self, pixels: &[u8]) {
        let (pixels, _) = pixels.as_chunks::<3>();
        self.count += pixels.len() as u64;
        for pixel in pixels {
            for (channel, &value) in pixel.iter().enumerate() {
                let value = u64::from(value);
                self.sums[channel] += value;
                self.squares[channel] += value * value;
            }
        }
    }

    /// Mean and standard deviation of each channel on the scale 0 to 1, to three digits as they are usually quoted. A
    /// channel that never changes gets a deviation of 1.
    pub(super) fn mean_and_std(&self) -> ([f32; 3], [f32; 3]) {
        let three = |value: f64| ((value * 1000.0).round() / 1000.0) as f32;
        let count = self.count.max(1) as f64;
        let mean = self.sums.map(|sum| sum as f64 / count);
        let variance: [f64; 3] = std::array::from_fn(|c| self.squares[c] as f64 / count - mean[c] * mean[c]);
        let std = variance.map(|variance| {
            let std = three(variance.max(0.0).sqrt() / 255.0);
            if std > 0.0 { std } else { 1.0 }
        });
        (mean.map(|mean| three(mean / 255.0)), std)
    }
}
