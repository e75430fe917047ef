//! Batches of images and the tiles that they are cut into.

use super::transform::TILE;

/// Size of a batch of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// Images.
    pub count: usize,
    /// Rows of each.
    pub height: usize,
    /// Columns of each.
    pub width: usize,
}

/// One tile's place: the image and the first row and column of its outputs.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The image, from 0.
    pub image: usize,
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
}

/// See [`Images::places`].
#[derive(Debug, Clone)]
pub struct Places {
    images: Images,
    next: Place,
}

impl Iterator for Places {
    type Item = Place;

    #[inline(always)]
    fn next(&mut self) -> Option<Place> {
        let place = self.next;
        self.next.left += TILE;
        if self.next.left >= self.images.width {
            self.next = Place { left: 0, top: place.top + TILE, ..place };
        }
        if self.next.top >= self.images.height {
            self.next = Place { image: place.image + 1, top: 0, left: 0 };
        }
        Some(place)
    }
}

impl Images {
    /// Tiles of all images.
    pub(super) fn tiles(self) -> usize {
        self.count * self.height.div_ceil(TILE) * self.width.div_ceil(TILE)
    }

    /// The places of all tiles, without end: whoever asks counts.
    #[inline(always)]
    pub(super) fn places(self) -> Places {
        Places { images: self, next: Place { image: 0, top: 0, left: 0 } }
    }

    /// Where the channels of a pixel begin.
    #[inline(always)]
    pub(super) fn offset(self, image: usize, row: usize, column: usize, channels: usize) -> usize {
        ((image * self.height + row) * self.width + column) * channels
    }
}
