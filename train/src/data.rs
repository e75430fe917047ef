//! Labelled images in memory, as u8.

use std::borrow::Cow;
use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use dismax::error::Result;

/// A training image and its class.
#[derive(Debug)]
pub struct Example<'a> {
    /// `[H, W, 3]` u8, row-major, of the source's size.
    pub pixels: Cow<'a, [u8]>,
    /// Class number.
    pub label: u32,
    /// Its number in the dataset, the same in every epoch.
    pub row: u64,
}

/// Where training images come from, epoch after epoch.
pub trait Examples: Send + Sync {
    /// Examples in one epoch.
    fn len(&self) -> usize;

    /// Height and width of every image in pixels.
    fn size(&self) -> (u32, u32);

    /// All examples at once, where they are in memory.
    fn in_memory(&self) -> Option<&InMemory> {
        None
    }

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
    /// None yet, with room for `images` of this size.
    pub fn with_capacity(images: usize, height: u32, width: u32) -> Self {
        let image_bytes = height as usize * width as usize * 3;
        let pixels = Vec::with_capacity(images * image_bytes);
        Self { pixels, labels: Vec::with_capacity(images), height, width }
    }

    /// Appends an image `[H, W, 3]` and its class.
    pub fn push(&mut self, pixels: &[u8], label: u32) {
        debug_assert_eq!(pixels.len(), self.image_bytes());
        self.pixels.extend_from_slice(pixels);
        self.labels.push(label);
    }

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

    /// Pixels of image `index`.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.image_bytes();
        &self.pixels[index * size..][..size]
    }

    /// The middle `size` (height, width) of each of these images, one after the other, cropped as for scoring. Images
    /// are stored at least as large as the network's input.
    pub fn center_crops(&self, indices: Range<usize>, (height, width): (u32, u32)) -> Vec<u8> {
        let (height, width) = (height as usize, width as usize);
        let mut out = Vec::with_capacity(indices.len() * height * width * 3);
        let (top, left) = ((self.height as usize - height) / 2, (self.width as usize - width) / 2);
        for index in indices {
            for line in self.image(index).chunks_exact(self.width as usize * 3).skip(top).take(height) {
                out.extend_from_slice(&line[left * 3..(left + width) * 3]);
            }
        }
        out
    }
}

/// [`LabelledImages`], shuffled again in every epoch.
#[derive(Debug)]
pub struct InMemory {
    images: LabelledImages,
    seed: u64,
}

impl InMemory {
    /// All of `images`; `seed` fixes the order in every epoch.
    pub fn new(images: LabelledImages, seed: u64) -> Self {
        Self { images, seed }
    }

    /// The images, unshuffled.
    pub fn images(&self) -> &LabelledImages {
        &self.images
    }

    /// The images' numbers in the order of epoch `epoch`.
    pub fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.images.len()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch as u64);
        order.shuffle(&mut rng);
        order
    }
}

impl Examples for InMemory {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn size(&self) -> (u32, u32) {
        (self.images.height, self.images.width)
    }

    fn in_memory(&self) -> Option<&InMemory> {
        Some(self)
    }

    fn epoch(&self, epoch: usize) -> Box<dyn Iterator<Item = Result<Example<'_>>> + Send + '_> {
        let example = |index| Example {
            pixels: self.images.image(index).into(),
            label: self.images.labels[index],
            row: index as u64,
        };
        Box::new(self.order(epoch).into_iter().map(move |index| Ok(example(index))))
    }
}
