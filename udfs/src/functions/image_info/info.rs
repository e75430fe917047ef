//! What is known of one image.

use std::sync::Arc;

use dismax::dataset::{Images, LoadOptions, OpenedImage};
use dismax::image::{Pixels, exif_orientation};
use dismax::{RowError, RowErrorCode};
use dismax_audit::inspection::{EncodedFormat, Inspection, Inspector};
use sha2::{Digest as _, Sha256};

use crate::seen::{Looked, Picture, Seen};

/// What is known of one image.
#[derive(Debug, Default)]
pub(super) struct Info {
    pub is_null: bool,
    /// Of an encoded image, whether or not it can be decoded.
    pub format: Option<EncodedFormat>,
    pub bytes: Option<usize>,
    pub sha256: Option<String>,
    /// None where there is no image.
    pub picture: Option<Arc<Looked>>,
}

/// Looks at an image that was decoded.
fn look(pixels: Result<Pixels, RowError>, encoded: Option<&[u8]>, inspector: &mut Inspector) -> Looked {
    let Inspection { width, height, luma_mean, luma_deviation, sharpness, colour, hash, .. } =
        inspector.inspect(&pixels?)?;
    let orientation = encoded.and_then(exif_orientation);
    Ok(Picture { width, height, orientation, light: luma_mean, contrast: luma_deviation, sharpness, colour, hash })
}

impl Info {
    /// Looks at a row's image, unless one of its bytes was seen before.
    pub fn of(images: &Images, row: usize, load: &LoadOptions, seen: &Seen, inspector: &mut Inspector) -> Self {
        match load.open(images, row) {
            Ok(OpenedImage::Encoded(bytes)) => {
                let digest: [u8; 32] = Sha256::digest(&bytes).into();
                let picture = seen.of(digest, || look(load.decode(&bytes), Some(&bytes), inspector));
                Self {
                    is_null: false,
                    format: EncodedFormat::from_bytes(&bytes),
                    bytes: Some(bytes.len()),
                    sha256: Some(digest.iter().map(|byte| format!("{byte:02x}")).collect()),
                    picture: Some(picture),
                }
            }
            Ok(OpenedImage::Raw(pixels)) => {
                Self { picture: Some(Arc::new(look(Ok(pixels), None, inspector))), ..Self::default() }
            }
            // Whoever takes a field of a null struct gets what stands there, so nothing does.
            Err(error) if error.code == RowErrorCode::NullImage => Self { is_null: true, ..Self::default() },
            Err(error) => Self { picture: Some(Arc::new(Err(error))), ..Self::default() },
        }
    }
}
