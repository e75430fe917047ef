//! Labelled images to train on: in memory as u8, once.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use dismax::error::{Error, Result};

/// A training image and its class.
#[derive(Debug)]
pub struct Example<'a> {
    /// `[H, W, 3]` u8, row-major, of the source's size.
    pub pixels: std::borrow::Cow<'a, [u8]>,
    /// Class number.
    pub label: u32,
}

/// Where training images come from, epoch after epoch.
pub trait Examples: Send + Sync {
    /// Examples in one epoch.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Height and width of every image in pixels.
    fn size(&self) -> (u32, u32);

    /// The examples of epoch `epoch` in random order. The same epoch gives the same order every time.
    fn epoch(&self, epoch: usize) -> Box<dyn Iterator<Item = Result<Example<'_>>> + Send + '_>;
}

/// Images of one size and their classes.
#[derive(Debug, Clone, Default)]
pub struct LabelledImages {
    /// `[N, H, W, 3]` u8, row-major.
    pub pixels: Vec<u8>,
    /// Class numbers `[N]`.
    pub labels: Vec<u32>,
    /// Height of every image in pixels.
    pub height: u32,
    /// Width of every image in pixels.
    pub width: u32,
}

impl LabelledImages {
    /// Bytes of one image.
    pub fn image_bytes(&self) -> usize {
        self.height as usize * self.width as usize * 3
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image.
    ///
    /// # Errors
    /// [`Error::Internal`] for a row that is not there.
    pub fn image(&self, row: usize) -> Result<&[u8]> {
        let size = self.image_bytes();
        self.pixels
            .get(row * size..(row + 1) * size)
            .ok_or_else(|| Error::Internal(format!("training image {row} of {} asked for", self.len())))
    }

    /// Appends the middle `size` (height, width) of an image to `out`, as scoring cuts it.
    ///
    /// # Errors
    /// [`Error::Internal`] for a row that is not there or a size beyond the images'.
    pub fn center_crop_into(&self, row: usize, size: (u32, u32), out: &mut Vec<u8>) -> Result<()> {
        let image = self.image(row)?;
        let margins = self.height.checked_sub(size.0).zip(self.width.checked_sub(size.1));
        let Some((vertical, horizontal)) = margins else {
            return Err(Error::Internal(format!("a crop of {size:?} from {}x{}", self.height, self.width)));
        };
        let (top, left) = (vertical as usize / 2, horizontal as usize / 2);
        for line in image.chunks_exact(self.width as usize * 3).skip(top).take(size.0 as usize) {
            out.extend_from_slice(&line[left * 3..(left + size.1 as usize) * 3]);
        }
        Ok(())
    }
}

/// Some rows of [`LabelledImages`], shuffled anew in every epoch.
#[derive(Debug)]
pub struct InMemory<'a> {
    images: &'a LabelledImages,
    rows: &'a [usize],
    seed: u64,
}

impl<'a> InMemory<'a> {
    /// The `rows` of `images`; `seed` fixes the order of every epoch.
    pub fn new(images: &'a LabelledImages, rows: &'a [usize], seed: u64) -> Self {
        Self { images, rows, seed }
    }
}

impl Examples for InMemory<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn size(&self) -> (u32, u32) {
        (self.images.height, self.images.width)
    }

    fn epoch(&self, epoch: usize) -> Box<dyn Iterator<Item = Result<Example<'_>>> + Send + '_> {
        let mut order = self.rows.to_vec();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch as u64);
        order.shuffle(&mut rng);
        Box::new(order.into_iter().map(|row| {
            let label = *self.images.labels.get(row).ok_or_else(|| Error::Internal(format!("no label {row}")))?;
            Ok(Example { pixels: self.images.image(row)?.into(), label })
        }))
    }
}
