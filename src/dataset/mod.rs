//! Datasets as streams of Arrow record batches: where they come from, which column holds what, where they go.
//!
//! [`Dataset`] opens Parquet and Arrow IPC files, folders, globs and streams as one sequence of [`Chunk`]s whose memory
//! is bounded by a [`BatchSize`]. This room moves bytes and columns; what is in an image is `image`'s business.

mod background;
mod batch_size;
mod batches;
mod bytes;
mod chunk;
mod class_map;
mod class_names;
mod digest;
mod format;
mod guard;
pub(crate) mod huggingface;
mod image_column;
mod inputs;
mod int96;
mod ipc;
mod label_column;
mod load;
mod pair;
mod parquet;
mod pattern;
mod pipe;
mod raw_pixels;
mod reader;
mod row_groups;
mod row_labels;
mod schema;
mod sink;
mod slices;
mod write_options;
mod writer;

pub use batch_size::BatchSize;
pub use chunk::Chunk;
#[doc(hidden)]
pub use class_map::{ClassMap, Given, require_common_class};
#[doc(hidden)]
pub use digest::ImageDigest;
pub(crate) use digest::digest_of_encoded;
pub use format::Format;
pub use image_column::{Image, ImageColumn, Images};
#[doc(hidden)]
pub use inputs::{Input, resolve};
pub use label_column::{LabelColumn, LabelKind, Labels};
pub use load::LoadOptions;
#[doc(hidden)]
pub use load::OpenedImage;
pub(crate) use pair::PairWriter;
pub use reader::{Chunks, Dataset};
#[doc(hidden)]
pub use row_labels::RowLabels;
#[doc(hidden)]
pub use schema::list_columns;
#[doc(hidden)]
pub use slices::used_bytes;
pub use write_options::{Compression, WriteOptions};
pub use writer::DatasetWriter;
pub(crate) use writer::is_same_place;
