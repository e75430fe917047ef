//! What the page shows: plain structures of short texts. Everything from outside goes through [`shown`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::kind::Kind;
use super::model_summary::ModelSummary;
use super::text::shown;

/// How something looks: fine, to be looked at, a problem, or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
    Plain,
}

/// The whole page.
#[derive(Debug, Clone, Serialize)]
pub(super) struct View {
    pub title: String,
    pub version: String,
    pub command: String,
    pub inputs: Vec<String>,
    pub reference: Option<Vec<String>>,
    pub model: Option<ModelView>,
    pub rows: u64,
    pub findings: u64,
    pub verdict: [String; 3],
    pub warnings: Vec<String>,
    pub tiles: Vec<Tile>,
    pub sections: Vec<Section>,
}

/// Which model was used.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ModelView {
    pub path: String,
    pub digest: String,
    pub architecture: String,
    pub classes: u64,
}

impl ModelView {
    pub fn of(model: &ModelSummary) -> Self {
        Self {
            path: shown(&model.path),
            digest: model.digest.clone(),
            architecture: model.architecture.clone(),
            classes: model.classes.len() as u64,
        }
    }
}

/// One number at the top.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Tile {
    pub name: String,
    pub value: String,
    pub note: String,
    pub tone: Tone,
}

impl Tile {
    pub fn new(name: &str, value: String, note: String, tone: Tone) -> Self {
        Self { name: name.into(), value, note, tone }
    }
}

/// A part of the page.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Section {
    pub id: &'static str,
    pub title: &'static str,
    pub count: Option<u64>,
    pub tone: Tone,
    /// The answer in at most three sentences.
    pub summary: String,
    /// What else there is to say of it: sentences that the reader unfolds.
    pub more: Vec<String>,
    /// What the section answers; may be empty.
    pub question: &'static str,
    pub how: &'static str,
    pub charts: Vec<Chart>,
    pub map: Option<Map>,
    pub heatmap: Option<Heatmap>,
    pub tables: Vec<Table>,
    pub gallery: Vec<Item>,
    /// What is not shown, or why what is shown is.
    pub footnote: Option<String>,
}

impl Section {
    /// A section with a sentence and nothing else yet.
    pub fn new(id: &'static str, title: &'static str, tone: Tone, summary: String, how: &'static str) -> Self {
        Self {
            id,
            title,
            count: None,
            tone,
            summary,
            more: Vec::new(),
            question: "",
            how,
            charts: Vec::new(),
            map: None,
            heatmap: None,
            tables: Vec::new(),
            gallery: Vec::new(),
            footnote: None,
        }
    }
}

/// A picture drawn here: the only text that is not escaped again.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Chart {
    pub title: String,
    pub svg: String,
    pub alt: String,
}

/// Images as points of a plane, in several colourings of which the reader chooses one.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Map {
    /// The plane's size in the units of all its points, which are whole: [`MAP_SIZE`].
    pub size: (u32, u32),
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// What the two directions are, rightwards and upwards.
    pub axes: [String; 2],
    /// At least one.
    pub colourings: Vec<Colouring>,
    /// The points that can be pointed at.
    pub points: Vec<Point>,
    /// Pictures of these points in one image; none where there are none.
    pub sheet: Option<Sheet>,
}

/// Width and height of a map.
pub(super) const MAP_SIZE: (u32, u32) = (1440, 880);

/// All points of a map, each in one of several categories, in the order in which they are drawn.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Colouring {
    pub title: String,
    pub categories: Vec<Category>,
}

/// Points that look alike.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Category {
    pub name: String,
    pub points: u64,
    /// Number of its colour and its shape; none for the small grey points of the background.
    pub symbol: Option<usize>,
    /// All its points as one SVG path.
    pub path: String,
    /// The same shape around (0, 0), for the legend.
    pub key: String,
}

/// A point that can be pointed at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Point {
    pub x: u32,
    pub y: u32,
    pub caption: String,
    pub note: String,
}

/// Small pictures in rows from the left: the picture of point `n` is the `n`-th.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sheet {
    pub src: String,
    /// Pictures in a row.
    pub columns: u32,
    /// Side of a picture, in pixels.
    pub side: u32,
}

/// A matrix whose cells are coloured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Heatmap {
    pub title: String,
    pub row_title: String,
    pub column_title: String,
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    pub cells: Vec<Vec<HeatCell>>,
}

/// `heat` lies in [0, 1].
#[derive(Debug, Clone, Serialize)]
pub(super) struct HeatCell {
    pub text: String,
    pub heat: f64,
    pub tip: String,
}

/// A table that sorts.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Table {
    pub title: String,
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns: names, and whether each holds numbers.
    pub fn new(title: &str, columns: &[(&str, bool)]) -> Self {
        let columns = columns.iter().map(|(name, numeric)| Column { name: (*name).to_owned(), numeric: *numeric });
        Self { title: title.to_owned(), columns: columns.collect(), rows: Vec::new() }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Column {
    pub name: String,
    pub numeric: bool,
}

/// What is shown, and what is sorted by where that is a number.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cell {
    pub text: String,
    pub sort: Option<f64>,
    pub drawing: Option<Drawing>,
}

impl Cell {
    /// Text, possibly from outside.
    pub fn text(text: &str) -> Self {
        Self { text: shown(text), sort: None, drawing: None }
    }

    /// A number as it is shown. One that is not finite cannot be sorted by.
    pub fn number(text: String, value: f64) -> Self {
        Self { text, sort: Some(value).filter(|value| value.is_finite()), drawing: None }
    }

    /// A number with a bar before it that is as long as `share` says, in [0, 1].
    pub fn bar(text: String, value: f64, share: f64) -> Self {
        let drawing = Drawing { svg: dismax_charts::bar(share), alt: None };
        Self { drawing: Some(drawing), ..Self::number(text, value) }
    }

    /// A line through values in the order of time; `alt` says them.
    pub fn sparkline(values: &[Option<f64>], alt: String) -> Self {
        let drawing = Drawing { svg: dismax_charts::sparkline(values), alt: Some(alt) };
        Self { text: String::new(), sort: None, drawing: Some(drawing) }
    }
}

/// A drawing of the size of a word, drawn here and not escaped.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Drawing {
    pub svg: String,
    /// What it shows; none where the text beside it says the same.
    pub alt: Option<String>,
}

/// A thumbnail, or a pair.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Item {
    pub images: Vec<Picture>,
    pub caption: String,
    pub details: Vec<Detail>,
    /// What a reader's mark is about; none where there is nothing to mark.
    pub subject: Option<Subject>,
    /// Who accepted the finding, why and until when; none where nobody did.
    pub accepted: Option<String>,
}

/// Names an image and what was found about it, as the table of findings does.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Subject {
    pub digest: String,
    pub kind: Kind,
    pub file: String,
    pub row: u64,
}

impl Subject {
    /// `digest` as it is kept of each image; `row` counts from 0 in `file`.
    pub fn new(digest: &[u8], kind: Kind, file: &str, row: u64) -> Self {
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { digest, kind, file: file.to_owned(), row }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Picture {
    pub src: Option<String>,
    pub caption: String,
}

impl Picture {
    /// A JPEG within the page; none where the image cannot be shown.
    pub fn new(jpeg: Option<&[u8]>, caption: &str) -> Self {
        let src = jpeg.map(|jpeg| format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)));
        Self { src, caption: shown(caption) }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Detail {
    pub name: &'static str,
    pub value: String,
}

impl Detail {
    /// A value, possibly from outside.
    pub fn new(name: &'static str, value: &str) -> Self {
        Self { name, value: shown(value) }
    }
}
