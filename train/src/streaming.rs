//! Training images that do not fit in memory: read again in every epoch, in random order within a shuffle buffer.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::data::{Example, Examples};
use super::decode::Decoder;
use dismax::dataset::Dataset;
use dismax::error::Result;

/// The training rows of a dataset, decoded whenever they are needed.
///
/// The buffer is kept full; each example is taken from a random place in it. Rows that are further apart in the files
/// than the buffer is long rarely meet in a batch, so shuffle a dataset that is sorted by class once beforehand.
#[derive(Debug)]
pub struct Streaming {
    dataset: Dataset,
    decoder: Decoder,
    /// Class of each row that is trained on, none for the others.
    training: Vec<Option<u32>>,
    rows: usize,
    buffer_rows: usize,
    seed: u64,
}

impl Streaming {
    /// `training` gives the class of each row of `dataset` that is trained on. The buffer takes `buffer_rows` images.
    pub fn new(dataset: Dataset, decoder: Decoder, training: Vec<Option<u32>>, buffer_rows: usize, seed: u64) -> Self {
        let rows = training.iter().flatten().count();
        Self { dataset, decoder, training, rows, buffer_rows: buffer_rows.max(1), seed }
    }

    fn in_order(&self) -> Result<impl Iterator<Item = Result<Example<'_>>> + Send> {
        let decoded = self.decoder.rows(&self.dataset)?;
        let images = decoded.flat_map(|rows| match rows {
            Ok(rows) => rows.images.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        Ok((0..).zip(images.zip(&self.training)).filter_map(|(row, (image, label))| match (image, *label) {
            (Err(error), _) => Some(Err(error)),
            // Rows that fail were found on the first reading and are not trained on.
            (Ok(image), Some(label)) => image.ok().map(|pixels| Ok(Example { pixels: pixels.into(), label, row })),
            (Ok(_), None) => None,
        }))
    }
}

impl Examples for Streaming {
    fn len(&self) -> usize {
        self.rows
    }

    fn size(&self) -> (u32, u32) {
        (self.decoder.preprocessing.height, self.decoder.preprocessing.width)
    }

    fn epoch(&self, epoch: usize) -> Box<dyn Iterator<Item = Result<Example<'_>>> + Send + '_> {
        let mut source = match self.in_order() {
            Ok(source) => source,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch as u64);
        let mut buffer: Vec<Example<'_>> = Vec::new();
        Box::new(std::iter::from_fn(move || {
            while buffer.len() < self.buffer_rows {
                match source.next() {
                    Some(Ok(example)) => buffer.push(example),
                    Some(Err(error)) => return Some(Err(error)),
                    None => break,
                }
            }
            (!buffer.is_empty()).then(|| Ok(buffer.swap_remove(rng.random_range(0..buffer.len()))))
        }))
    }
}
