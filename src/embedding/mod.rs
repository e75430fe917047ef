//! Heads on embeddings, fitted in closed form and computed without a tensor library.
//!
//! - [`EmbeddingMoments`] adds up labelled embeddings: one pass, in memory that does not grow with the rows.
//! - [`EmbeddingClasses`] is what they say: the classes' means, and how embeddings vary within a class.
//! - [`EmbeddingSpace`] is what scoring needs of it.
//! - [`EmbeddingScorer`] turns embeddings into logits there.
//!
//! An embedding is taken [at length 1](to_unit_length), and whitened: measured in units of the spread that it has
//! within classes. DisMax's prototypes are then the classes' means (arXiv 2205.05874, section 3, says how logits follow
//! from prototypes).

mod classes;
mod head;
mod length;
mod moments;
mod scorer;
mod space;

pub use self::classes::EmbeddingClasses;
pub use self::head::EmbeddingHead;
pub use self::length::to_unit_length;
pub use self::moments::EmbeddingMoments;
pub use self::scorer::EmbeddingScorer;
pub use self::space::EmbeddingSpace;
pub(crate) use self::space::directions;
