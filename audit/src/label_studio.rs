//! Findings as tasks for Label Studio: a JSON file to import, with what was found as pre-annotations.
//!
//! Each row with findings is a task. `data` holds the image, the row's place, label and prediction, and the findings in
//! words; `predictions` holds the kinds as choices named `finding` and the predicted class as a choice named `class`,
//! both of the image named `image` (<https://labelstud.io/guide/predictions>).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ExtendedColorType, ImageEncoder as _};
use serde_json::{Value, json};

use super::digest;
use super::inspection::EncodedFormat;
use super::kind::Kind;
use super::observer::ShortDigest;
use super::review::{ReviewOptions, Reviewer};
use super::revisit::{Files, Place, Revisit, RevisitOptions};
use super::selection::Selection;
use super::stored::{self, StoredFinding};
use super::summary::AuditSummary;
use dismax::dataset::{LoadOptions, OpenedImage};
use dismax::disk::TextFile;
use dismax::error::{Error, Result};
use dismax::image::Pixels;
use dismax::run::{Progress, Run};

/// What is exported, and how images are named.
#[derive(Debug, Clone, Default)]
pub struct LabelStudioOptions {
    /// Findings that make a task; empty for all.
    pub selections: Vec<Selection>,
    /// What is known of findings: those that do not count make no task.
    pub review: ReviewOptions,
    /// In front of the name that the dataset gives an image, for a server that has the files, such as
    /// `/data/local-files/?d=`. Without it, and for images without a name, the image itself stands in the task.
    pub url_prefix: Option<String>,
    /// Where the audited rows are.
    pub revisit: RevisitOptions,
    /// Whether a file that is there already is replaced.
    pub overwrite: bool,
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelStudioFigures {
    /// Tasks.
    pub tasks: u64,
    /// Rows with findings and without an image that can be shown: they make no task.
    pub without_image: u64,
}

/// A row with findings.
#[derive(Debug)]
struct Suspect {
    file: String,
    digest: ShortDigest,
    label: Option<String>,
    predicted: Option<String>,
    confidence: Option<f32>,
    findings: Vec<(Kind, String)>,
}

/// A file of tasks that lacks its name until it is whole.
#[derive(Debug)]
pub struct LabelStudioExport {
    file: TextFile,
    options: LabelStudioOptions,
    path: PathBuf,
}

impl LabelStudioExport {
    /// Begins the file, so that one that may not be written is refused before the work.
    ///
    /// # Errors
    /// A file that is there already and may not be replaced, a folder that cannot be written.
    pub fn create(path: &Path, options: LabelStudioOptions) -> Result<Self> {
        Ok(Self { file: TextFile::create(path, options.overwrite)?, path: path.to_path_buf(), options })
    }

    /// Reads the rows of the audit in `folder` again and writes a task for each with findings. The
    /// findings are held in memory, the images are not.
    ///
    /// # Errors
    /// A folder that is no audit of this version; rows that are not the audited ones any more; a file that cannot be
    /// written; [`Error::Cancelled`].
    pub fn write(self, folder: &Path, run: &mut Run<'_>) -> Result<LabelStudioFigures> {
        let summary = AuditSummary::read(folder)?;
        let suspects = suspects(folder, &summary, &self.options, run)?;
        let Self { mut file, options, path } = self;
        let revisit = Revisit::open(folder, &summary, &options.revisit)?;
        let model = summary.model.as_ref().map_or("dismax audit", |model| model.digest.as_str());
        let mut figures = LabelStudioFigures { tasks: 0, without_image: 0 };
        let mut rows = 0;
        for read in revisit.read(true)? {
            let (start, chunk, images) = read?;
            let end = Place { file: start.file, row: start.row + chunk.record_batch.num_rows() as u64 };
            for (place, suspect) in suspects.range(start..end) {
                let row = (place.row - start.row) as usize;
                revisit.require_image(&chunk, &images, row, &suspect.digest)?;
                let named = options.url_prefix.as_ref().zip(images.name(row));
                let shown = match named {
                    Some((prefix, name)) => Some(format!("{prefix}{name}")),
                    None => revisit.image(&images, row).and_then(|image| data_uri(image, &options.revisit.load)),
                };
                let Some(image) = shown.filter(|_| !suspect.is_broken()) else {
                    figures.without_image += 1;
                    continue;
                };
                file.write(if figures.tasks == 0 { "[\n" } else { ",\n" })?;
                let task = serde_json::to_vec(&suspect.task(place.row, image, model));
                file.write(task.map_err(|error| Error::Internal(format!("{}: {error}", path.display())))?)?;
                figures.tasks += 1;
            }
            rows += chunk.record_batch.num_rows() as u64;
            run.report(Progress { task: "exporting", rows, of: Some(summary.rows), failed: 0 })?;
        }
        revisit.require_rows(rows)?;
        file.write(if figures.tasks == 0 { "[]\n" } else { "\n]\n" })?;
        file.finish()?;
        Ok(figures)
    }
}

fn suspects(
    folder: &Path,
    summary: &AuditSummary,
    options: &LabelStudioOptions,
    run: &Run<'_>,
) -> Result<BTreeMap<Place, Suspect>> {
    let files = Files::of(folder, summary);
    let mut reviewer = Reviewer::open(&options.review, &run.cancel)?;
    let mut suspects: BTreeMap<Place, Suspect> = BTreeMap::new();
    stored::visit(folder, &run.cancel, |finding| {
        let is_wanted = |selection: &Selection| selection.has(finding.kind, finding.severity);
        let wanted = options.selections.is_empty() || options.selections.iter().any(is_wanted);
        if reviewer.of_stored(finding).counts() && wanted {
            let suspect =
                suspects.entry(files.place(finding.file, finding.row)?).or_insert_with(|| Suspect::of(finding));
            suspect.findings.push((finding.kind, finding.evidence.to_owned()));
        }
        Ok(())
    })?;
    Ok(suspects)
}

impl Suspect {
    fn of(finding: &StoredFinding<'_>) -> Self {
        Self {
            file: finding.file.to_owned(),
            digest: finding.digest,
            label: finding.label.map(str::to_owned),
            predicted: finding.predicted.map(str::to_owned),
            confidence: finding.confidence,
            findings: Vec::new(),
        }
    }

    /// Whether its image cannot be shown.
    fn is_broken(&self) -> bool {
        self.findings.iter().any(|(kind, _)| Kind::BROKEN.contains(kind))
    }

    fn task(&self, row: u64, image: String, model: &str) -> Value {
        let kinds: Vec<&str> = self.findings.iter().map(|(kind, _)| kind.name()).collect();
        let evidence: Vec<String> =
            self.findings.iter().map(|(kind, text)| format!("{}: {text}", kind.title())).collect();
        let choices = |name: &str, choices: Vec<&str>| json!({ "from_name": name, "to_name": "image", "type": "choices", "value": { "choices": choices } });
        let mut result = vec![choices("finding", kinds)];
        result.extend(self.predicted.iter().map(|class| choices("class", vec![class.as_str()])));
        let mut prediction = json!({ "model_version": model, "result": result });
        if let Some(confidence) = self.confidence {
            prediction["score"] = json!(confidence);
        }
        json!({
            "data": {
                "image": image,
                "file": self.file,
                "row": row,
                "image_digest": digest::hex(&self.digest),
                "label": self.label,
                "predicted": self.predicted,
                "evidence": evidence.join("\n"),
            },
            "predictions": [prediction],
        })
    }
}

/// The image within the task: as it is stored where browsers show the format, otherwise as PNG; none where it cannot be
/// decoded.
fn data_uri(image: OpenedImage<'_>, load: &LoadOptions) -> Option<String> {
    let uri = |kind: &str, bytes: &[u8]| format!("data:image/{kind};base64,{}", STANDARD.encode(bytes));
    match image {
        OpenedImage::Encoded(bytes) => match EncodedFormat::from_bytes(&bytes)? {
            EncodedFormat::Jpeg => Some(uri("jpeg", &bytes)),
            EncodedFormat::Png => Some(uri("png", &bytes)),
            EncodedFormat::WebP => Some(uri("webp", &bytes)),
            EncodedFormat::Gif => Some(uri("gif", &bytes)),
            EncodedFormat::Bmp => Some(uri("bmp", &bytes)),
            EncodedFormat::Tiff => {
                let pixels = load.decode(&bytes).ok()?;
                png(&pixels).map(|png| uri("png", &png))
            }
        },
        OpenedImage::Raw(pixels) => png(&pixels).map(|png| uri("png", &png)),
    }
}

fn png(pixels: &Pixels) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.write_image(&pixels.data, pixels.width, pixels.height, ExtendedColorType::Rgb8).ok()?;
    Some(bytes)
}
