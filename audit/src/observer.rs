//! What an audit keeps of each image while a worker holds its bytes and pixels.

use std::sync::{Mutex, PoisonError};

use dismax::RowErrorCode;
use dismax::dataset::ImageDigest;
use dismax::stage::{Observed, ObservedEmbedding, Observer, PortableObserver};
use serde::{Deserialize, Serialize};

use super::inspection::{EncodedFormat, Inspection, Inspector, is_cut_off};

/// The first 128 bits of an image's [digest](dismax::dataset::ImageDigest): two of a billion different images agree
/// with a chance of 1e-21.
pub type ShortDigest = [u8; 16];

/// An image as the workers saw it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ObservedImage {
    /// The first half of its digest.
    pub digest: ShortDigest,
    /// None where it cannot be decoded.
    pub inspection: Option<Inspection>,
    /// The picture as JPEG with at most 64 pixels a side; empty where it cannot be decoded.
    pub thumbnail: Vec<u8>,
    /// The format that the bytes are in; none for unencoded pixels.
    pub format: Option<EncodedFormat>,
    /// Number of the encoded bytes; 0 for unencoded pixels and where there are none.
    pub bytes: u32,
    /// Whether the bytes end before the image does; examined only where it cannot be decoded.
    pub cut_off: bool,
}

/// Inspects images on the stage's workers.
#[derive(Debug, Default)]
pub struct ImageObserver {
    /// Inspectors that no worker uses at the moment: their buffers are large enough to be worth keeping.
    idle: Mutex<Vec<Inspector>>,
}

impl ImageObserver {
    /// Runs `work` with an inspector. A panic in it loses the inspector and nothing else.
    fn with_inspector<R>(&self, work: impl FnOnce(&mut Inspector) -> R) -> R {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inspector = idle().pop().unwrap_or_default();
        let result = work(&mut inspector);
        idle().push(inspector);
        result
    }
}

impl PortableObserver for ImageObserver {
    const NAME: &'static str = "audit";
}

impl Observer for ImageObserver {
    type Value = ObservedImage;

    fn wants_features(&self) -> bool {
        true
    }

    fn observe(&self, image: &Observed<'_>) -> ObservedImage {
        let digest = image.digest();
        let inspected = image.pixels.ok().map(|pixels| {
            let inspected = self.with_inspector(|inspector| inspector.inspect_and_show(pixels, image.encoded));
            inspected.expect("decoded images have as many values as their sizes say")
        });
        let (inspection, thumbnail) = inspected.unzip();
        let failed_to_decode = image.pixels.is_err_and(|error| error.code == RowErrorCode::DecodeFailed);
        ObservedImage {
            digest: short(digest),
            inspection,
            thumbnail: thumbnail.unwrap_or_default(),
            format: image.encoded.and_then(EncodedFormat::from_bytes),
            bytes: image.encoded.map_or(0, |bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            cut_off: failed_to_decode && image.encoded.is_some_and(is_cut_off),
        }
    }

    /// There is nothing to be seen on an embedding.
    fn observe_embedding(&self, embedding: &ObservedEmbedding<'_>) -> ObservedImage {
        ObservedImage {
            digest: short(embedding.digest()),
            inspection: None,
            thumbnail: Vec::new(),
            format: None,
            bytes: 0,
            cut_off: false,
        }
    }
}

fn short(digest: ImageDigest) -> ShortDigest {
    *digest.first_chunk().expect("a SHA-256 has 32 bytes")
}
