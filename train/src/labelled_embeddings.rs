//! An opened dataset with its embedding column and its labels.

use dismax::dataset::{Dataset, EmbeddingColumn, LabelColumn, OpenOptions, RowLabels};
use dismax::error::Result;
use dismax::run::Run;

use super::embedding_job::EmbeddingJob;

/// A dataset and the columns that a fit reads.
pub(super) struct LabelledEmbeddings {
    pub dataset: Dataset,
    pub embedding: EmbeddingColumn,
    pub labels: RowLabels,
}

impl LabelledEmbeddings {
    pub fn open(
        inputs: &[String],
        job: &EmbeddingJob,
        names: Option<&[String]>,
        run: &Run<'_>,
    ) -> Result<(Self, LabelColumn)> {
        let options = OpenOptions { cancel: run.cancel.clone(), on_bad_file: job.on_bad_file };
        let dataset = Dataset::open_with(inputs, options)?;
        dataset.require_distinct_files()?;
        let embedding = dataset.embedding_column(job.embedding.as_deref())?;
        let label = dataset.label_column(job.label.as_deref())?;
        // Labels and embeddings are read one after the other, and must be those of the same rows.
        let dataset = dataset.whole_files(&[embedding.index(), label.index()])?;
        let labels = RowLabels::read(&dataset, &label, names)?;
        Ok((Self { dataset, embedding, labels }, label))
    }
}
