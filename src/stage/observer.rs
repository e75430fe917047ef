//! Looking at images while they are decoded.

use crate::dataset::{ImageDigest, Images, digest_of_embedding, digest_of_encoded};
use crate::error::RowError;
use crate::image::Pixels;

/// An image as a worker sees it, once, while it holds the bytes and the pixels.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The images of the record batch.
    pub images: &'a Images,
    /// Which of them this is.
    pub row: usize,
    /// Bytes of the encoded image, read from its file where the column holds paths; none for unencoded pixels and where
    /// there are no bytes.
    pub encoded: Option<&'a [u8]>,
    /// The decoded image before it is resized, or why there is none.
    pub pixels: Result<&'a Pixels, &'a RowError>,
}

impl Observed<'_> {
    /// SHA-256 of the image's bytes, wherever they come from; see [`Images::digest`] for images without bytes.
    pub fn digest(&self) -> ImageDigest {
        self.encoded.map_or_else(|| self.images.digest(self.row), digest_of_encoded)
    }
}

/// An embedding as a worker sees it.
#[derive(Debug, Clone, Copy)]
pub struct ObservedEmbedding<'a> {
    /// Its numbers, or why there are none.
    pub values: Result<&'a [f32], &'a RowError>,
}

impl ObservedEmbedding<'_> {
    /// SHA-256 of the numbers, or of why there are none.
    pub fn digest(&self) -> ImageDigest {
        digest_of_embedding(self.values)
    }
}

/// Sees every image of a stream on the thread that decodes it. `()` is the observer that does not look.
pub trait Observer: Send + Sync + 'static {
    /// What is kept of an image.
    type Value: Send + 'static;

    /// Whether the pooled features of these images are wanted besides their logits.
    fn wants_features(&self) -> bool {
        false
    }

    /// Called once for each image, also for those that cannot be scored, from several threads at a time.
    fn observe(&self, image: &Observed<'_>) -> Self::Value;

    /// The same for an embedding.
    fn observe_embedding(&self, embedding: &ObservedEmbedding<'_>) -> Self::Value;
}

impl Observer for () {
    type Value = ();

    fn observe(&self, _: &Observed<'_>) {}

    fn observe_embedding(&self, _: &ObservedEmbedding<'_>) {}
}

/// Does not look at images, but wants their pooled features.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WithFeatures;

impl Observer for WithFeatures {
    type Value = ();

    fn wants_features(&self) -> bool {
        true
    }

    fn observe(&self, _: &Observed<'_>) {}

    fn observe_embedding(&self, _: &ObservedEmbedding<'_>) {}
}
