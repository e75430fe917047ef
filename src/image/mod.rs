//! Encoded bytes to pixels: decoding, resizing and the preprocessing that a network expects.
//!
//! This room knows neither Arrow nor tensors. An image enters as bytes, leaves as `height * width * 3` values of type
//! `u8` in the order rows, columns, channels (HWC), and a reason ([`RowError`](crate::RowError)) comes back where it
//! cannot. Mean and standard deviation are stored here and applied later, on the device.
//!
//! Conversions follow Pillow's `convert("RGB")` and torchvision, since the networks were trained on their output:
//!
//! - alpha is dropped, not composited on a background;
//! - 16-bit channels keep their high byte;
//! - the EXIF orientation is applied where the network was trained so ([`Preprocessing::orientation`]); Pillow and
//!   torchvision leave it alone, Hugging Face's `datasets` applies it;
//! - large JPEG files are decoded at a part of their size where the network was trained so
//!   ([`Preprocessing::reduced`]), as Pillow does with `draft`;
//! - of animated or multi-page files the first picture counts.

mod budget;
mod decode;
mod decoding;
mod foreign;
mod jpeg_end;
mod orientation;
mod preprocessing;
mod reduced;

#[doc(hidden)]
pub use decode::{Layout, raw};
pub use decode::{Limits, Pixels, decode};
pub use decoding::{Decoding, Needed};
#[doc(hidden)]
pub use jpeg_end::has_end_marker;
#[doc(hidden)]
pub use orientation::exif_orientation;
#[doc(hidden)]
pub use preprocessing::ReusableResizer;
pub use preprocessing::{Preprocessing, Resize};
