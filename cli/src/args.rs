//! Flags that several commands share, and the text forms of their values.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use dismax::calibration::{CalibrationOptions, Objective};
use dismax::cancel::Cancel;
use dismax::dataset::{BadFile, LoadOptions, OnBadFile, OpenOptions};
use dismax::embedding::EmbeddingHead;
use dismax::image::Limits;
use dismax::loss::Loss;
use dismax::network::Architecture;
use dismax::score::Score;
use dismax::stage::StageOptions;
use dismax::text::harmless;
use dismax::tta::Tta;
use dismax::{Device, Error, Result};

/// Where images are and what they may cost.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Images")]
pub struct ImageArgs {
    /// Column of the images. Needed only if several columns fit.
    ///
    /// Binary columns of encoded images, Hugging Face's struct {bytes, path}, tensors and nested lists of uint8 are
    /// found without this flag. A text column of file paths must be named here and allowed with --read-paths.
    #[arg(long, value_name = "COLUMN")]
    pub image: Option<String>,

    /// Column of embeddings, for a model of embeddings. Needed only if several columns fit.
    ///
    /// Lists of float16, float32 or float64, of fixed size or not. `dismax train --embedding` makes such a model.
    #[arg(long, value_name = "COLUMN", conflicts_with = "image")]
    pub embedding: Option<String>,

    /// Reject images with more pixels than this before they are decoded.
    #[arg(long, value_name = "PIXELS", default_value_t = Limits::default().max_pixels)]
    pub max_pixels: u64,

    /// Open the image files that rows name. Relative paths start in the dataset's folder.
    ///
    /// Off by default: a dataset from elsewhere could name any file of this machine.
    #[arg(long)]
    pub read_paths: bool,
}

impl ImageArgs {
    /// The column that was named.
    pub fn column(&self) -> Option<&str> {
        self.image.as_deref().or(self.embedding.as_deref())
    }

    /// As the library takes it.
    pub fn load(&self) -> LoadOptions {
        LoadOptions {
            limits: Limits { max_pixels: self.max_pixels },
            read_paths: self.read_paths,
            ..LoadOptions::default()
        }
    }
}

/// How inputs are read.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Inputs")]
pub struct InputArgs {
    /// What happens to input files that are damaged or cannot be read.
    ///
    /// With skip, the rows of a damaged file are left out from the damage on (in a training all of its rows), and the
    /// file is listed.
    #[arg(long, value_enum, default_value_t = OnBadFileArg::Fail)]
    pub on_bad_file: OnBadFileArg,
}

/// What happens to damaged files.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OnBadFileArg {
    /// Stop.
    Fail,
    /// Go on without them.
    Skip,
}

impl InputArgs {
    /// As the library takes it.
    pub fn options(&self, cancel: &Cancel) -> OpenOptions {
        OpenOptions { cancel: cancel.clone(), on_bad_file: self.on_bad_file() }
    }

    /// As the trainer takes it.
    pub fn on_bad_file(&self) -> OnBadFile {
        match self.on_bad_file {
            OnBadFileArg::Fail => OnBadFile::Fail,
            OnBadFileArg::Skip => OnBadFile::Skip,
        }
    }
}

/// Damaged files that are left out, with the reason of each.
pub fn reasons(bad_files: &[BadFile]) -> BTreeMap<String, String> {
    bad_files.iter().map(|bad| (bad.file.to_string(), bad.reason.clone())).collect()
}

/// Where labels are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Images")]
pub struct LabelArgs {
    /// Column of the labels. Needed only if several columns fit or its name is unusual.
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
}

/// How the scoring stage runs. Only the device changes scores: a GPU computes in f16.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Machine")]
pub struct StageArgs {
    /// Where the network runs: auto, cpu, cuda, cuda:N or cuda:all.
    ///
    /// auto uses the first GPU if there is one; cuda:all uses every GPU.
    #[arg(long, env = "DISMAX_DEVICE", hide_env_values = true, default_value_t = Device::Auto)]
    pub device: Device,

    /// Images per forward pass. Does not change scores [default: 8 or 32 on a CPU, depending on the network; 1,024 on a
    /// GPU].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub batch_size: Option<usize>,

    /// Threads that decode and, on a CPU, run the network [default: one per core].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub workers: Option<usize>,
}

impl StageArgs {
    /// As the library takes it.
    pub fn options(&self, image: &ImageArgs) -> StageOptions {
        StageOptions {
            device: self.device,
            batch_rows: self.batch_size.unwrap_or(0),
            workers: self.workers.unwrap_or(0),
            column: image.column().map(str::to_owned),
            load: image.load(),
        }
    }
}

/// How thresholds are chosen.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Calibration")]
pub struct CalibrationArgs {
    /// Accepted share of false alarms among known images [default: 0.05].
    ///
    /// The threshold flags this share of the held-out images. A smaller share misses more unknown images.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub alpha: Option<f64>,

    /// Score that separates known from unknown images [default: mmles].
    ///
    /// mmles suits most cases. mds+early finds images from other sources better and new classes from the same source
    /// worse. mds+unknown and mds+early+unknown need examples of unknown images. `dismax evaluate` compares all on your
    /// images.
    #[arg(long, value_parser = named::<Score, _>(Score::ALL.map(Score::name)))]
    pub score: Option<Score>,

    /// Use a separate threshold for each predicted class.
    ///
    /// --alpha then holds within each class, not only overall. A class needs 5 / alpha held-out images (100 at 0.05);
    /// classes with fewer share one threshold.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub per_class: Option<bool>,

    /// Average what the network gives for each image [default: none, or as the model was calibrated].
    ///
    /// flip averages the logits and features of an image and its mirror image. It takes twice as long, and belongs to
    /// the model: whatever scores with it does the same. Not for digits, text or anything that has a left and a right.
    #[arg(long, value_parser = named::<Tta, _>(Tta::ALL.map(Tta::name)))]
    pub tta: Option<Tta>,

    /// What the temperature minimises [default: ece].
    ///
    /// ece matches confidences to accuracy; nll fits probabilities to the labels.
    #[arg(long, value_parser = PossibleValuesParser::new(["ece", "nll"]).map(objective))]
    pub objective: Option<Objective>,
}

impl CalibrationArgs {
    /// `base` with what was asked for.
    pub fn options(&self, base: CalibrationOptions) -> CalibrationOptions {
        let mut options = base;
        options.alpha = self.alpha.unwrap_or(options.alpha);
        options.score = self.score.unwrap_or(options.score);
        options.per_class = self.per_class.unwrap_or(options.per_class);
        options.tta = self.tta.unwrap_or(options.tta);
        options.search.objective = self.objective.unwrap_or(options.search.objective);
        options
    }
}

fn objective(name: String) -> Objective {
    if name == "nll" { Objective::Nll } else { Objective::Ece }
}

/// A value that has a name, with the names in the help and in messages.
pub fn named<T, const N: usize>(names: [&'static str; N]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = Error> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// Names of the networks.
pub fn architectures() -> impl TypedValueParser<Value = Architecture> {
    named(Architecture::ALL.map(Architecture::name))
}

/// Names of the heads on embeddings.
pub fn heads() -> impl TypedValueParser<Value = EmbeddingHead> {
    named(EmbeddingHead::ALL.map(EmbeddingHead::name))
}

/// Names of the losses.
pub fn losses() -> impl TypedValueParser<Value = Loss> {
    named(Loss::ALL.map(Loss::name))
}

/// A whole number from 1.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "give a whole number from 1".into())
}

/// A share between 0 and 1, both excluded.
pub fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "give a share between 0 and 1, for example 0.05".into())
}

/// A number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "give a number above 0, for example 0.1".into())
}

/// Bytes: `8GiB`, `500MB`, `1000000`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no amount of memory; write for example 8GiB, 500MB or a number of bytes");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0f64.powi(2),
        "g" | "gib" => 1024.0f64.powi(3),
        "t" | "tib" => 1024.0f64.powi(4),
        _ => return Err(refuse()),
    };
    let bytes = number.parse::<f64>().map_err(|_| refuse())? * factor;
    if bytes >= 1.0 && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(refuse()) }
}

/// Height and width: `32` or `24x32`.
pub fn size(text: &str) -> Result<(u32, u32), String> {
    let (height, width) = text.split_once(['x', 'X']).unwrap_or((text, text));
    let side = |text: &str| text.trim().parse().ok().filter(|&side: &u32| side > 0);
    let refuse = || format!("{text:?} is no image size; write 32 for 32 x 32 pixels or HEIGHTxWIDTH such as 24x32");
    side(height).zip(side(width)).ok_or_else(refuse)
}

/// Three numbers for red, green and blue: `0.49,0.48,0.45`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rgb(pub [f32; 3]);

impl FromStr for Rgb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("{text:?} are not three numbers for red, green and blue from 0 to 1, such as 0.491,0.482,0.446");
        let numbers: Vec<f32> =
            text.split(',').map(|number| number.trim().parse()).collect::<Result<_, _>>().map_err(|_| refuse())?;
        let numbers: [f32; 3] = numbers.try_into().map_err(|_| refuse())?;
        if numbers.iter().all(|number| (0.0..=1.0).contains(number)) { Ok(Self(numbers)) } else { Err(refuse()) }
    }
}

/// Names as one line without control characters, cut if the list would bury the message.
pub fn listing<T: Display>(items: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut items = items.into_iter();
    let mut shown: Vec<String> = items.by_ref().take(most).map(|item| harmless(&item.to_string())).collect();
    match items.count() {
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory() {
        assert_eq!(bytes("8GiB"), Ok(8 << 30));
        assert_eq!(bytes("500MB"), Ok(500_000_000));
        assert_eq!(bytes("1.5 k"), Ok(1536));
        assert_eq!(bytes("4096"), Ok(4096));
        for text in ["", "GiB", "-1", "8 bananas", "0", "1e99TiB", "1.2.3"] {
            assert!(bytes(text).is_err_and(|message| message.contains("8GiB")), "{text}");
        }
    }

    #[test]
    fn sizes_and_colours() {
        assert_eq!(size("32"), Ok((32, 32)));
        assert_eq!(size("24x32"), Ok((24, 32)));
        assert!(["", "x", "0", "3x", "-1x3", "axb"].iter().all(|text| size(text).is_err()));
        assert_eq!("0.5, 0.25,1".parse(), Ok(Rgb([0.5, 0.25, 1.0])));
        assert!(["", "1,2", "0.1,0.2,0.3,0.4", "a,b,c", "125,123,114"].iter().all(|t| t.parse::<Rgb>().is_err()));
    }

    #[test]
    fn shares_exclude_their_ends() {
        assert_eq!(share("0.05"), Ok(0.05));
        assert!(["0", "1", "5%", "NaN", ""].iter().all(|text| share(text).is_err()));
        assert!(["0", "-1", "inf"].iter().all(|text| positive(text).is_err()));
        assert!(["0", "1.5"].iter().all(|text| at_least_one(text).is_err()));
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(listing(["a", "b", "c"], 2), "a, b, and 1 more");
        assert_eq!(listing(["a"], 2), "a");
        assert_eq!(listing(["a\nb\u{1b}[2J"], 2), "a\u{FFFD}b\u{FFFD}[2J");
    }
}
