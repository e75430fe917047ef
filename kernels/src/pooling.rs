//! Means over the pixels of a picture.

/// Writes the mean of each channel over the pixels of one picture `[H * W, C]`, row-major, to `means [C]`. On any
/// processor.
///
/// # Panics
/// Where `pixels` is not a whole number of rows of channels, at least one.
pub fn channel_means(pixels: &[f32], means: &mut [f32]) {
    let channels = means.len();
    assert!(!pixels.is_empty() && pixels.len().is_multiple_of(channels), "whole rows of channels");
    means.fill(0.0);
    for pixel in pixels.chunks_exact(channels) {
        means.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
    }
    let count = (pixels.len() / channels) as f32;
    means.iter_mut().for_each(|sum| *sum /= count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_by_hand() {
        let mut means = [9.0; 2];
        channel_means(&[1.0, 10.0, 2.0, 20.0, 6.0, 60.0], &mut means);
        assert_eq!(means, [3.0, 30.0]);
    }
}
