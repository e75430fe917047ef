//! The audited rows once more, with what was found about them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::observer::ShortDigest;
use super::summary::AuditSummary;
use dismax::dataset::{Chunk, Dataset, ImageColumn, Images, LoadOptions, OpenOptions, OpenedImage, digest_of_encoded};
use dismax::error::{Error, Result};

/// Rows read at once.
const BATCH_ROWS: usize = 1024;

/// Where the audited rows are now, and how their images are opened.
#[derive(Debug, Clone, Default)]
pub struct RevisitOptions {
    /// The audited rows, in the same order; none for the files that the audit names.
    pub dataset: Option<Dataset>,
    /// Column of the images, where the audit was told of it.
    pub image: Option<String>,
    /// How images are opened.
    pub load: LoadOptions,
    /// How the files that the audit names are opened; as for the audit, or the rows have other numbers.
    pub open: OpenOptions,
}

/// A row by the numbers of its file and within it. The order is that of the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub file: u32,
    pub row: u64,
}

/// From the names of audited files to their numbers.
#[derive(Debug)]
pub(super) struct Files {
    audit: PathBuf,
    numbers: HashMap<String, u32>,
}

impl Files {
    /// Those of the audit in `folder`.
    pub fn of(folder: &Path, summary: &AuditSummary) -> Self {
        let numbers = summary.inputs.iter().zip(0..).map(|(file, number)| (file.clone(), number)).collect();
        Self { audit: folder.to_path_buf(), numbers }
    }

    /// The place of a finding.
    ///
    /// # Errors
    /// A file that the audit's summary does not name.
    pub fn place(&self, file: &str, row: u64) -> Result<Place> {
        let number = self.numbers.get(file).ok_or_else(|| {
            Error::data(
                self.audit.display(),
                format!("its findings name {file}, which its summary does not; audit again"),
            )
        })?;
        Ok(Place { file: *number, row })
    }
}

/// The audited dataset.
pub(super) struct Revisit {
    pub dataset: Dataset,
    image: ImageColumn,
    load: LoadOptions,
    audit: PathBuf,
    rows: u64,
}

impl Revisit {
    /// Opens what the audit in `folder` has looked at.
    ///
    /// # Errors
    /// Rows that came from a stream, files that are gone, another number of files or rows.
    pub fn open(folder: &Path, summary: &AuditSummary, options: &RevisitOptions) -> Result<Self> {
        let dataset = match &options.dataset {
            Some(dataset) => dataset.clone(),
            None if summary.inputs.iter().any(|input| input == "stdin") => {
                let message =
                    "its rows came from standard input, which cannot be read again; write them to a file, and name it";
                return Err(Error::data(folder.display(), message));
            }
            None => Dataset::open_with(&summary.inputs, options.open.clone())?,
        };
        if options.image.is_none() && dataset.image_column(None).is_err() && dataset.embedding_column(None).is_ok() {
            let message = "its rows hold embeddings; only an audit of images can be read again";
            return Err(Error::data(folder.display(), message));
        }
        let files = dataset.files().count();
        if files != summary.inputs.len() {
            let message = format!("was made of {} files, but these are {files}; audit again", summary.inputs.len());
            return Err(Error::data(folder.display(), message));
        }
        let image = dataset.image_column(options.image.as_deref())?;
        let revisit = Self { dataset, image, load: options.load, audit: folder.to_path_buf(), rows: summary.rows };
        revisit.dataset.rows().map_or(Ok(()), |rows| revisit.require_rows(rows))?;
        Ok(revisit)
    }

    /// Reads all rows with their images, whole or only the images; the place is that of a chunk's first row.
    pub fn read(&self, only_images: bool) -> Result<impl Iterator<Item = Result<(Place, Chunk, Images)>>> {
        let projection = only_images.then(|| vec![self.image.index()]);
        let chunks = self.dataset.read(BATCH_ROWS, projection.as_deref())?;
        Ok(chunks.map(|chunk| {
            let chunk = chunk?;
            let images = self.image.images(&chunk)?;
            Ok((Place { file: chunk.source as u32, row: chunk.first_row }, chunk, images))
        }))
    }

    /// The image of a row, where there is one.
    pub fn image<'a>(&self, images: &'a Images, row: usize) -> Option<OpenedImage<'a>> {
        self.load.open(images, row).ok()
    }

    /// Checks that a row holds the image that the audit saw there.
    ///
    /// # Errors
    /// [`Error::Data`] naming the row.
    pub fn require_image(&self, chunk: &Chunk, images: &Images, row: usize, digest: &ShortDigest) -> Result<()> {
        let found = match self.image(images, row) {
            Some(OpenedImage::Encoded(bytes)) => digest_of_encoded(&bytes),
            _ => images.digest(row),
        };
        match found.starts_with(digest) {
            true => Ok(()),
            false => Err(Error::data(
                format!("{}, row {}", chunk.file, chunk.first_row + row as u64),
                format!("holds another image than when {} was made; audit again", self.audit.display()),
            )),
        }
    }

    /// Checks the number of rows.
    ///
    /// # Errors
    /// [`Error::Data`] where it is not that of the audit.
    pub fn require_rows(&self, rows: u64) -> Result<()> {
        match rows == self.rows {
            true => Ok(()),
            false => Err(Error::data(
                self.audit.display(),
                format!("was made of {} rows, but the files hold {rows} now; audit again", self.rows),
            )),
        }
    }
}
