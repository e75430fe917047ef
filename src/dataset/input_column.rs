//! The column that a model scores: images, or embeddings.

use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch};

use super::chunk::Chunk;
use super::embedding_column::{EmbeddingColumn, Embeddings};
use super::image_column::{ImageColumn, Images};
use crate::Result;

/// The column that a model scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputColumn {
    /// It holds images.
    Image(ImageColumn),
    /// It holds embeddings.
    Embedding(EmbeddingColumn),
}

impl InputColumn {
    /// Name of the column.
    pub fn name(&self) -> &str {
        match self {
            Self::Image(column) => column.name(),
            Self::Embedding(column) => column.name(),
        }
    }

    /// Position of the column in the schema it was found in.
    pub fn index(&self) -> usize {
        match self {
            Self::Image(column) => column.index(),
            Self::Embedding(column) => column.index(),
        }
    }

    /// Whether every row names a file instead of holding what is scored.
    pub fn holds_paths(&self) -> bool {
        match self {
            Self::Image(column) => column.holds_paths(),
            Self::Embedding(_) => false,
        }
    }

    /// The same for rows whose files may be opened where they lie below `folder`, or anywhere where that is empty.
    pub(crate) fn opening_below(self, folder: &Path) -> Self {
        match self {
            Self::Image(column) => Self::Image(column.opening_below(folder)),
            Self::Embedding(column) => Self::Embedding(column),
        }
    }

    /// The rows of a chunk that has this column, at any position. Paths start in the folder of the chunk's file.
    ///
    /// # Errors
    /// When the chunk lacks the column or has it with another type.
    pub fn rows(&self, chunk: &Chunk) -> Result<InputRows> {
        match self {
            Self::Image(column) => column.images(chunk).map(InputRows::Images),
            Self::Embedding(column) => column.embeddings(chunk).map(InputRows::Embeddings),
        }
    }

    /// The rows of a record batch that has this column, at any position. Paths start in the current folder.
    ///
    /// # Errors
    /// When the record batch lacks the column or has it with another type.
    pub fn rows_in(&self, record_batch: &RecordBatch) -> Result<InputRows> {
        match self {
            Self::Image(column) => column.images_in(record_batch).map(InputRows::Images),
            Self::Embedding(column) => column.embeddings_in(record_batch).map(InputRows::Embeddings),
        }
    }

    /// The rows of an array that has this column's type. Paths start in the current folder.
    ///
    /// # Errors
    /// When the array has another type.
    pub fn rows_of(&self, array: &ArrayRef) -> Result<InputRows> {
        match self {
            Self::Image(column) => column.images_of(array).map(InputRows::Images),
            Self::Embedding(column) => column.embeddings_of(array).map(InputRows::Embeddings),
        }
    }
}

/// What a model scores of one record batch. Shares its memory.
#[derive(Debug, Clone)]
pub enum InputRows {
    /// Images.
    Images(Images),
    /// Embeddings.
    Embeddings(Embeddings),
}

impl InputRows {
    /// The rows of several record batches of one column, one after the other.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        let (mut images, mut embeddings) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Self::Images(part) => images.push(part),
                Self::Embeddings(part) => embeddings.push(part),
            }
        }
        match embeddings.is_empty() {
            true => Self::Images(Images::joined(images)),
            false => {
                assert!(images.is_empty(), "a column holds images or embeddings");
                Self::Embeddings(Embeddings::joined(embeddings))
            }
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Images(images) => images.len(),
            Self::Embeddings(embeddings) => embeddings.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file name that a row gives its image; none for embeddings, and where there is none.
    pub fn name(&self, row: usize) -> Option<&str> {
        match self {
            Self::Images(images) => images.name(row),
            Self::Embeddings(_) => None,
        }
    }

    /// Bytes of the record batches that stay in memory with these rows, the other columns included.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Images(images) => images.bytes(),
            Self::Embeddings(embeddings) => embeddings.bytes(),
        }
    }
}

impl From<Images> for InputRows {
    fn from(images: Images) -> Self {
        Self::Images(images)
    }
}

impl From<Embeddings> for InputRows {
    fn from(embeddings: Embeddings) -> Self {
        Self::Embeddings(embeddings)
    }
}
