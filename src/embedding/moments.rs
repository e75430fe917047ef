//! Moments of labelled embeddings, added up chunk by chunk.

use nalgebra::{DMatrix, DMatrixView, DVector, Dyn};

use super::classes::EmbeddingClasses;
use crate::error::{Error, Result};

/// Rows and columns of a part of the products. Parts below the diagonal are those above it, and are left out.
const BLOCK: usize = 192;

/// Adds up what embeddings, or features, have in common within their classes. Moments of parts of a dataset
/// [merge](Self::merge) to those of the whole.
///
/// Memory: 8 bytes for each pair of numbers and for each number of each class, whatever the rows.
#[derive(Debug, Clone)]
pub struct EmbeddingMoments {
    /// By class.
    rows: Vec<u64>,
    /// `[D, C]`: sums of the embeddings.
    sums: DMatrix<f64>,
    /// `[D, D]`: sums of the products of two numbers; parts below the diagonal are left out.
    products: DMatrix<f64>,
}

impl EmbeddingMoments {
    /// Of embeddings of `dimensions` numbers in `classes` classes.
    pub fn new(dimensions: usize, classes: usize) -> Self {
        Self {
            rows: vec![0; classes],
            sums: DMatrix::zeros(dimensions, classes),
            products: DMatrix::zeros(dimensions, dimensions),
        }
    }

    /// Rows by class.
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// Adds rows `[N, D]` of these classes, embeddings of length 1 ([`to_unit_length`](super::to_unit_length)).
    ///
    /// Products are summed in f32 about the mean of these rows, and in f64 from chunk to chunk: some thousand rows at a
    /// time are fast and exact enough.
    ///
    /// # Panics
    /// If the rows have another length, or there is no such class.
    pub fn add(&mut self, mut embeddings: Vec<f32>, classes: &[usize]) {
        let dimensions = self.sums.nrows();
        assert_eq!(embeddings.len(), classes.len() * dimensions, "rows of {dimensions} numbers");
        let mut mean = DVector::<f64>::zeros(dimensions);
        for (embedding, &class) in embeddings.chunks_exact(dimensions).zip(classes) {
            let mut sum = self.sums.column_mut(class);
            sum.iter_mut().zip(embedding).for_each(|(sum, value)| *sum += f64::from(*value));
            mean.iter_mut().zip(embedding).for_each(|(sum, value)| *sum += f64::from(*value));
            self.rows[class] += 1;
        }
        if classes.is_empty() {
            return;
        }
        mean /= classes.len() as f64;
        let single = mean.map(|value| value as f32);
        for row in embeddings.chunks_exact_mut(dimensions) {
            row.iter_mut().zip(&single).for_each(|(value, mean)| *value -= mean);
        }
        self.add_products(&embeddings, classes.len(), &single.map(f64::from));
    }

    /// Adds the products of rows `[N, D]` from which `mean` was taken, which is theirs but for rounding.
    fn add_products(&mut self, centred: &[f32], rows: usize, mean: &DVector<f64>) {
        let dimensions = self.sums.nrows();
        let columns = DMatrixView::from_slice(centred, dimensions, rows);
        let transposed =
            DMatrixView::from_slice_with_strides_generic(centred, Dyn(rows), Dyn(dimensions), Dyn(dimensions), Dyn(1));
        let blocks = || (0..dimensions).step_by(BLOCK).map(|start| (start, BLOCK.min(dimensions - start)));
        for (row, height) in blocks() {
            for (column, width) in blocks().filter(|(column, _)| *column >= row) {
                let mut part = DMatrix::<f32>::zeros(height, width);
                part.gemm(1.0, &columns.rows(row, height), &transposed.columns(column, width), 0.0);
                let mut sums = self.products.view_mut((row, column), (height, width));
                sums.zip_apply(&part, |sum, value| *sum += f64::from(value));
                sums.ger(rows as f64, &mean.rows(row, height), &mean.rows(column, width), 1.0);
            }
        }
    }

    /// Adds the moments of other rows.
    ///
    /// # Panics
    /// If they are of other dimensions or classes.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.sums.shape(), other.sums.shape(), "moments of one kind");
        self.rows.iter_mut().zip(&other.rows).for_each(|(rows, more)| *rows += more);
        self.sums += &other.sums;
        self.products += &other.products;
    }

    /// Rows `[C]`, sums `[D, C]` and sums of products `[D, D]`.
    pub(crate) fn into_parts(self) -> (Vec<u64>, DMatrix<f64>, DMatrix<f64>) {
        let mut products = self.products;
        products.fill_lower_triangle_with_upper_triangle();
        (self.rows, self.sums, products)
    }

    /// What they say of the classes. `classes` are the classes' names, for messages.
    ///
    /// # Errors
    /// [`Error::Data`] for a class with fewer than two rows.
    pub fn finish(self, classes: &[String]) -> Result<EmbeddingClasses> {
        let few = self.rows.iter().zip(classes).find(|(rows, _)| **rows < 2);
        if let Some((rows, class)) = few {
            let usable = if *rows == 1 { "1 usable row".to_owned() } else { format!("{rows} usable rows") };
            let message = format!("class {class:?} has {usable} for training; give each class at least two");
            return Err(Error::data("labels", message));
        }
        let (rows, mut means, mut covariance) = self.into_parts();
        let total: u64 = rows.iter().sum();
        for (mut mean, rows) in means.column_iter_mut().zip(&rows) {
            mean /= *rows as f64;
        }
        for (mean, rows) in means.column_iter().zip(&rows) {
            covariance.ger(-(*rows as f64), &mean, &mean, 1.0);
        }
        // Each class mean takes one row of freedom.
        covariance /= (total - rows.len() as u64) as f64;
        Ok(EmbeddingClasses { rows, means, covariance })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::EmbeddingSpace;
    use super::*;

    /// More numbers than a block has, far from 0.
    const DIMENSIONS: usize = BLOCK + 70;

    fn rows(count: usize) -> (Vec<f32>, Vec<usize>) {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let values = (0..count * DIMENSIONS).map(|at| (at % 7) as f32 + random.random_range(-0.1..0.1)).collect();
        (values, (0..count).map(|row| row % 2).collect())
    }

    fn names() -> [String; 2] {
        ["a", "b"].map(String::from)
    }

    #[test]
    fn moments_are_those_of_the_definition_and_parts_make_the_whole() {
        let (values, classes) = rows(301);
        let mut whole = EmbeddingMoments::new(DIMENSIONS, 2);
        whole.add(values.clone(), &classes);
        let mut parts = EmbeddingMoments::new(DIMENSIONS, 2);
        for (values, classes) in values.chunks(100 * DIMENSIONS).zip(classes.chunks(100)) {
            let mut part = EmbeddingMoments::new(DIMENSIONS, 2);
            part.add(values.to_vec(), classes);
            parts.merge(&part);
        }
        let (whole, parts) = (whole.finish(&names()).unwrap(), parts.finish(&names()).unwrap());
        assert_eq!(whole.rows(), [151, 150]);

        let single = DMatrix::from_vec(DIMENSIONS, 301, values).map(f64::from);
        let mut expected = DMatrix::<f64>::zeros(DIMENSIONS, DIMENSIONS);
        for class in 0..2 {
            let of_class: Vec<_> = single.column_iter().zip(&classes).filter(|(_, c)| **c == class).collect();
            let sum = of_class.iter().fold(DVector::zeros(DIMENSIONS), |sum, (row, _)| sum + row);
            let mean = sum / of_class.len() as f64;
            assert!((&mean - whole.means.column(class)).amax() < 1e-9);
            of_class.iter().for_each(|(row, _)| expected.ger(1.0 / 299.0, &(*row - &mean), &(*row - &mean), 1.0));
        }
        let largest = expected.amax();
        assert!((&expected - &whole.covariance).amax() < 1e-5 * largest);
        assert!((&expected - &parts.covariance).amax() < 1e-5 * largest);
    }

    #[test]
    fn fewer_rows_than_numbers_are_enough_but_a_class_needs_two() {
        let (values, classes) = rows(6);
        let mut moments = EmbeddingMoments::new(DIMENSIONS, 2);
        moments.add(values[..5 * DIMENSIONS].to_vec(), &classes[..5]);
        assert!(EmbeddingSpace::of(&moments.finish(&names()).unwrap()).is_ok());
        let mut lonely = EmbeddingMoments::new(DIMENSIONS, 2);
        lonely.add(values[..3 * DIMENSIONS].to_vec(), &classes[..3]);
        let error = lonely.finish(&names()).unwrap_err().to_string();
        assert!(error.contains("class \"b\" has 1 usable row "), "{error}");
        let mut equal = EmbeddingMoments::new(2, 2);
        equal.add([1.0, 0.0].repeat(4), &[0, 0, 1, 1]);
        assert!(EmbeddingSpace::of(&equal.finish(&names()).unwrap()).is_err());
    }
}
