//! The pixels under one row of tiles, with what lies around the image.

use super::buffer::Buffer;
use super::images::{Images, Place};
use super::transform::{TILE, WINDOW};

/// Six lines of an image `[6, W + padding, C]` with zeros around it. Windows are read from here, so that nothing is
/// asked for each pixel: of an image of 32x32 nearly half of the tiles lie at the border, of smaller ones all.
#[derive(Debug)]
pub struct Strip<'a> {
    /// The lines one after the other. The window of the tile at column `x` begins at pixel `x`.
    pub values: &'a mut [f32],
    /// Values of a line.
    pub line: usize,
    /// Values of a pixel.
    pub channels: usize,
}

impl<'a> Strip<'a> {
    /// In `buffer`, which grows for it.
    pub fn new(buffer: &'a mut Buffer, images: Images, channels: usize) -> Self {
        let line = (images.width.next_multiple_of(TILE) + WINDOW - TILE) * channels;
        Self { values: buffer.first_mut(WINDOW * line), line, channels }
    }

    /// Takes the lines under the row of tiles at `place` from `input [N, H, W, C]`.
    #[inline(always)]
    pub fn fill(&mut self, input: &[f32], images: Images, place: Place) {
        let row = images.width * self.channels;
        for (number, line) in self.values.chunks_exact_mut(self.line).enumerate() {
            // The window begins one pixel before the tile.
            match (place.top + number).checked_sub(1).filter(|row| *row < images.height) {
                None => line.fill(0.0),
                Some(number) => {
                    let (before, rest) = line.split_at_mut(self.channels);
                    let (pixels, after) = rest.split_at_mut(row);
                    before.fill(0.0);
                    pixels.copy_from_slice(&input[images.offset(place.image, number, 0, self.channels)..][..row]);
                    after.fill(0.0);
                }
            }
        }
    }
}
