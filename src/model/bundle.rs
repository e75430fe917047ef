//! Reading and writing the folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::card;
use super::config::FORMAT_VERSION;
use super::config::ModelConfig;
use super::contents::Contents;
use super::features_file;
use super::hex::hex_of;
use super::history::{TrainingHistory, json_lines};
use super::self_check::SelfCheck;
use super::stored::StoredWeights;
use crate::calibration::Calibration;
use crate::disk::{self, FolderKind, WholeFolder};
use crate::error::{Error, Result};
use crate::tta::Tta;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const CALIBRATION: &str = "calibration.json";
const FEATURES: &str = "features.safetensors";
const SELF_CHECK: &str = "self_check.safetensors";
const METRICS: &str = "metrics.json";
const CARD: &str = "README.md";
const HISTORY: &str = "training.json";
const HISTORY_CSV: &str = "training.csv";
const HISTORY_CHART: &str = "training.svg";
const HISTORY_LINES: &str = "metrics.jsonl";
const RECIPE: &str = "recipe.json";
const DIGESTS: &str = "SHA256SUMS";
/// Every file that is the bundle's own.
const FILES: [&str; 13] = [
    CONFIG,
    WEIGHTS,
    CALIBRATION,
    FEATURES,
    SELF_CHECK,
    METRICS,
    CARD,
    HISTORY,
    HISTORY_CSV,
    HISTORY_CHART,
    HISTORY_LINES,
    RECIPE,
    DIGESTS,
];

/// What the folder holds, and the digest over its files.
pub(super) fn read(folder: &Path) -> Result<(Contents, String)> {
    let digests_path = folder.join(DIGESTS);
    if digests_path.exists() && !digests_path.is_file() {
        return Err(Error::model(folder, format!("{DIGESTS} is not a regular file; copy the bundle again")));
    }
    let listing = fs::read(&digests_path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => match disk::set_aside(folder) {
            Some(aside) if !folder.exists() => {
                Error::model(folder, format!("a run that was killed left it in {}; move it back", aside.display()))
            }
            _ => Error::model(
                folder,
                format!("not a model bundle: there is no {DIGESTS} in it; give the folder that `dismax train` wrote"),
            ),
        },
        _ => Error::io(&digests_path, error),
    })?;
    let files = Files::verified(folder, &listing)?;

    const NEWEST: u64 = FORMAT_VERSION as u64;
    // The version first: a newer layout may have other keys.
    let config: serde_json::Value = files.json(CONFIG)?;
    let version = config.get("format_version").and_then(serde_json::Value::as_u64);
    match version {
        Some(1..=NEWEST) => {}
        Some(version) => {
            return Err(Error::model(
                folder,
                format!(
                    "format version {version}, but this program reads versions 1 to {FORMAT_VERSION}; update dismax"
                ),
            ));
        }
        None => return Err(Error::model(folder, format!("{CONFIG} has no format_version"))),
    }
    let config: ModelConfig = files.json(CONFIG)?;
    config.validate().map_err(|error| Error::model(folder, format!("{CONFIG}: {error}")))?;
    let self_check = SelfCheck::from_bytes(files.bytes(SELF_CHECK)?, &config.input, config.classes.len())
        .map_err(|error| Error::model(folder, format!("{SELF_CHECK}: {error}")))?;
    let features = match files.contents.contains_key(FEATURES) {
        false => None,
        true => {
            let bytes = files.bytes(FEATURES)?;
            let features = features_file::from_bytes(bytes, config.input.stages(), config.classes.len())
                .map_err(|error| Error::model(folder, format!("{FEATURES}: {error}")))?;
            Some(Arc::new(features))
        }
    };
    let mut calibration: Option<Calibration> =
        files.contents.contains_key(CALIBRATION).then(|| files.json(CALIBRATION)).transpose()?;
    if let Some(calibration) = &mut calibration {
        calibration.validate().map_err(|error| Error::model(folder, format!("{CALIBRATION}: {error}")))?;
        if calibration.score.needs_features() {
            let features = features.as_ref().ok_or_else(|| files.missing(FEATURES))?;
            let score = features.feature_score(calibration.score);
            calibration.feature_score = score.map_err(|error| Error::model(folder, format!("{FEATURES}: {error}")))?;
        }
    }
    let metrics = files.json(METRICS)?;
    let history = match files.contents.contains_key(HISTORY) {
        false => None,
        true => {
            let chart = files.bytes(HISTORY_CHART)?.to_vec();
            let chart_svg =
                String::from_utf8(chart).map_err(|error| Error::model(folder, format!("{HISTORY_CHART}: {error}")))?;
            let recipe = files.contents.contains_key(RECIPE).then(|| files.json(RECIPE)).transpose()?;
            Some(TrainingHistory { epochs: files.json(HISTORY)?, chart_svg, recipe })
        }
    };
    let weights = files.weights.clone().ok_or_else(|| files.missing(WEIGHTS))?;
    let tta = calibration.as_ref().map_or(Tta::None, |calibration| calibration.tta);
    if !tta.is_none() && config.input.images().is_none() {
        return Err(Error::model(folder, format!("{CALIBRATION}: only images have mirror images; calibrate it again")));
    }
    let contents = Contents { config, weights, calibration, tta, features, self_check, metrics, history };
    Ok((contents, hex_of(&listing)))
}

/// The files of a folder, each with the digest that the folder's list names.
struct Files<'a> {
    folder: &'a Path,
    contents: BTreeMap<String, Vec<u8>>,
    /// They stay in their file.
    weights: Option<StoredWeights>,
}

impl<'a> Files<'a> {
    /// Reads every file that the listing names and compares its digest.
    fn verified(folder: &'a Path, listing: &[u8]) -> Result<Self> {
        let listing = std::str::from_utf8(listing).unwrap_or_default();
        let mut files = Self { folder, contents: BTreeMap::new(), weights: None };
        for line in listing.lines().filter(|line| !line.is_empty()) {
            let parts = line.split_once("  ").filter(|(digest, name)| digest.len() == 64 && is_plain_name(name));
            let Some((digest, name)) = parts else {
                return Err(Error::model(folder, format!("{DIGESTS} has a line that is no digest: {line:?}")));
            };
            if files.read(name)? != digest {
                return Err(Error::model(
                    folder,
                    format!("{name} was altered: its digest is not the one in {DIGESTS}; restore the file"),
                ));
            }
        }
        Ok(files)
    }

    /// Reads a file; returns its digest.
    fn read(&mut self, name: &str) -> Result<String> {
        if name == WEIGHTS {
            let (file, _) = opened(self.folder, name)?;
            let stored = StoredWeights::of_file(file).map_err(|error| Error::io(self.folder.join(name), error))?;
            self.weights = Some(stored.0);
            return Ok(stored.1);
        }
        let bytes = contents_of(self.folder, name)?;
        let digest = hex_of(&bytes);
        self.contents.insert(name.to_owned(), bytes);
        Ok(digest)
    }

    fn missing(&self, name: &str) -> Error {
        Error::model(self.folder, format!("{name} is missing; copy the bundle again, all files of it"))
    }

    fn bytes(&self, name: &str) -> Result<&[u8]> {
        self.contents.get(name).map(Vec::as_slice).ok_or_else(|| self.missing(name))
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(self.bytes(name)?).map_err(|error| Error::model(self.folder, format!("{name}: {error}")))
    }
}

/// A file of the folder, and its length. Links are followed, as caches of downloads are made of them; what they lead to
/// must be a file: a pipe would wait for ever, and a device never ends.
fn opened(folder: &Path, name: &str) -> Result<(fs::File, u64)> {
    let path = folder.join(name);
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::model(folder, format!("{name} is missing; copy the bundle again, all files of it"))
        }
        _ => Error::io(&path, error),
    };
    let length = path.metadata().map_err(fail).and_then(|metadata| match metadata.is_file() {
        true => Ok(metadata.len()),
        false => Err(Error::model(folder, format!("{name} is not a regular file; copy the bundle again"))),
    })?;
    Ok((fs::File::open(&path).map_err(fail)?, length))
}

fn contents_of(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let (file, length) = opened(folder, name)?;
    let mut bytes = Vec::new();
    let fits = usize::try_from(length).is_ok_and(|length| bytes.try_reserve_exact(length).is_ok());
    if !fits {
        return Err(Error::model(folder, format!("{name} has {length} bytes, more than there is memory for")));
    }
    file.take(length).read_to_end(&mut bytes).map_err(|error| Error::io(folder.join(name), error))?;
    Ok(bytes)
}

/// A listing must not lead out of the folder.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\']) && name != ".."
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Error::Internal(format!("JSON: {error}")))?;
    text.push(b'\n');
    Ok(text)
}

/// Numbers by the thousand stand on one line instead of one line each.
fn compact_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(value).map_err(|error| Error::Internal(format!("JSON: {error}")))?;
    text.push(b'\n');
    Ok(text)
}

const KIND: FolderKind = FolderKind {
    name: "a model bundle",
    // Other folders have such a list too; a bundle's names the weights.
    is_ours: |folder| {
        let weights = format!("  {WEIGHTS}");
        fs::read_to_string(folder.join(DIGESTS)).is_ok_and(|text| text.lines().any(|line| line.ends_with(&weights)))
    },
    // What a user keeps beside the bundle's files, such as a licence.
    is_kept: |name| !FILES.iter().any(|file| name == *file),
};

pub(super) fn is_at(folder: &Path) -> bool {
    (KIND.is_ours)(folder)
}

pub(super) fn check_place(folder: &Path, force: bool) -> Result<()> {
    WholeFolder::create(folder, force, KIND).map(drop)
}

/// Returns the digest over the written files. `source` is where the model was read from, for errors.
pub(super) fn write(model: &Contents, source: &Path, place: &Path, force: bool) -> Result<String> {
    let folder = WholeFolder::create(place, force, KIND)?;
    let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    files.insert(CONFIG, json(&model.config)?);
    files.insert(WEIGHTS, model.weights.bytes().map_err(|error| Error::model(source, error))?.into_owned());
    files.insert(SELF_CHECK, model.self_check.to_bytes(&model.config.input)?);
    files.insert(METRICS, json(&model.metrics)?);
    if let Some(calibration) = &model.calibration {
        files.insert(CALIBRATION, compact_json(calibration)?);
    }
    // Without a calibration nothing says that features are averages over mirror images.
    if let Some(features) = model.features.as_ref().filter(|_| model.calibration.is_some() || model.tta.is_none()) {
        files.insert(FEATURES, features_file::to_bytes(features)?);
    }
    if let Some(history) = &model.history {
        files.insert(HISTORY, json(&history.epochs)?);
        files.insert(HISTORY_LINES, json_lines(&history.epochs)?.into_bytes());
        if let Some(recipe) = &history.recipe {
            files.insert(RECIPE, json(recipe)?);
        }
        files.insert(HISTORY_CSV, history.to_csv().into_bytes());
        files.insert(HISTORY_CHART, history.chart_svg.clone().into_bytes());
    }
    files.insert(CARD, card::render(model)?.into_bytes());
    let listing: String = files.iter().map(|(name, bytes)| format!("{}  {name}\n", hex_of(bytes))).collect();
    let digest = hex_of(listing.as_bytes());
    files.insert(DIGESTS, listing.into_bytes());

    for (name, bytes) in &files {
        folder.write(name, bytes)?;
    }
    folder.publish()?;
    Ok(digest)
}
