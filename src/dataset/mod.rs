//! Datasets as streams of Arrow record batches: where they come from, which column holds what, where they go.
//!
//! [`Dataset`] opens Parquet and Arrow IPC files, tar files, folders of them or of images, patterns and streams as one
//! sequence of [`Chunk`]s whose memory is bounded by a [`BatchSize`]. Where bytes lie is the business of `location`,
//! what is in an image that of `image`; this room makes rows of the first for the second.

mod background;
mod bad_files;
mod batch_size;
mod batches;
mod bytes;
mod chunk;
mod class_map;
mod class_names;
#[cfg(feature = "delta")]
mod delta;
mod digest;
mod embedding_column;
mod footer;
mod format;
mod guard;
pub(crate) mod huggingface;
mod image_column;
mod images;
mod input_column;
mod inputs;
mod int96;
mod ipc;
mod label_column;
mod layout;
mod load;
mod packing;
mod pair;
mod parquet;
mod partitions;
mod portable;
mod raw_pixels;
mod reader;
mod row_groups;
mod row_labels;
mod row_slices;
mod schema;
mod sink;
mod slices;
mod slicing;
mod source;
mod tar;
mod whole_files;
mod widths;
mod write_options;
mod writer;

pub(crate) use background::{BackgroundWriter, Finishing};
pub use bad_files::{BadFile, OnBadFile};
pub use batch_size::BatchSize;
pub use chunk::Chunk;
#[doc(hidden)]
pub use class_map::{ClassMap, Given, require_common_class};
#[doc(hidden)]
pub use digest::{ImageDigest, digest_of_encoded};
#[doc(hidden)]
pub use embedding_column::digest_of_embedding;
pub use embedding_column::{EmbeddingColumn, Embeddings};
pub use format::Format;
pub use image_column::{Image, ImageColumn, Images};
pub use input_column::{InputColumn, InputRows};
#[doc(hidden)]
pub use inputs::{Input, InputKind, resolve};
pub use label_column::{LabelColumn, LabelKind, Labels};
pub use load::LoadOptions;
#[doc(hidden)]
pub use load::OpenedImage;
#[doc(hidden)]
pub use pair::PairWriter;
#[doc(hidden)]
pub use parquet::check_footer;
#[doc(hidden)]
pub use partitions::Partitions;
#[doc(hidden)]
pub use portable::PortableDataset;
pub use reader::{Chunks, Dataset, OpenOptions};
#[doc(hidden)]
pub use row_labels::RowLabels;
#[doc(hidden)]
pub use schema::list_columns;
#[doc(hidden)]
pub use slices::used_bytes;
pub(crate) use slicing::Slice;
pub use write_options::{Compression, WriteOptions};
pub use writer::DatasetWriter;
pub(crate) use writer::is_same_place;
