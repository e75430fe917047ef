//! A recipe as people write it: in a file, or as flags, with what they left out left open.

use std::path::Path;

use dismax::error::{Error, Result};
use dismax::loss::Loss;
use dismax::network::Architecture;
use serde::{Deserialize, Serialize};

use super::class_weights::ClassWeights;
use super::error::TrainError;
use super::flip::Flip;
use super::keep::Keep;
use super::options::TrainOptions;
use super::padding::Padding;
use super::recipe::Recipe;
use super::schedule::Schedule;

/// Everything that a recipe says, each of it optional. Fields are the keys of a recipe file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeFile {
    /// Network.
    pub arch: Option<Architecture>,
    /// Loss.
    pub loss: Option<Loss>,
    /// Passes over the training rows.
    pub epochs: Option<usize>,
    /// Rows of a step.
    pub batch_size: Option<usize>,
    /// Peak learning rate.
    pub lr: Option<f64>,
    /// Share of the learning rate below the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone_rate: Option<f64>,
    /// L2 penalty.
    pub weight_decay: Option<f64>,
    /// Learning rate over time.
    pub schedule: Option<Schedule>,
    /// Weight of the fractional probability term.
    pub fractional_probability_weight: Option<f64>,
    /// How much rows count, by their class.
    pub class_weights: Option<ClassWeights>,
    /// Which epoch's weights become the model.
    pub keep: Option<Keep>,
    /// Decay of averaged weights, 0 for none.
    pub ema: Option<f64>,
    /// Share of each target that is spread over all classes.
    pub label_smoothing: Option<f64>,
    /// Share of each batch that is mixed.
    pub mosaic_share: Option<f64>,
    /// Share of the epochs in which batches are mixed.
    pub mosaic_epochs: Option<f64>,
    /// Whether the first convolution begins with filters that whiten patches.
    pub whitening: Option<bool>,
    /// Height and width of the network's input.
    pub image_size: Option<(u32, u32)>,
    /// Whether images are cropped at random.
    pub crop: Option<bool>,
    /// When images are mirrored.
    pub flip: Option<Flip>,
    /// What lies beyond the edge of an image that is cropped at random.
    pub padding: Option<Padding>,
    /// Side of a black square at a random place of each image, in pixels; 0 for none.
    pub cutout: Option<u32>,
    /// Channel means from 0 to 1.
    pub mean: Option<[f32; 3]>,
    /// Channel standard deviations from 0 to 1.
    pub std: Option<[f32; 3]>,
    /// Fixes every random choice.
    pub seed: Option<u64>,
}

impl RecipeFile {
    /// Reads a TOML file, or a JSON file by its ending `.json`.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read, [`TrainError::RecipeFile`] for one that is no recipe: unknown
    /// keys, for example, are refused.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        let parsed = match is_json {
            true => serde_json::from_str(&text).map_err(|error| error.to_string()),
            false => toml::from_str(&text).map_err(|error| error.to_string()),
        };
        parsed.map_err(|reason| {
            let (path, reason) = (path.to_path_buf(), reason.trim_end().to_owned());
            TrainError::RecipeFile { path, reason }.into()
        })
    }

    /// What this one says, and where it says nothing, what `other` does.
    pub fn or(self, other: Self) -> Self {
        Self {
            arch: self.arch.or(other.arch),
            loss: self.loss.or(other.loss),
            epochs: self.epochs.or(other.epochs),
            batch_size: self.batch_size.or(other.batch_size),
            lr: self.lr.or(other.lr),
            backbone_rate: self.backbone_rate.or(other.backbone_rate),
            weight_decay: self.weight_decay.or(other.weight_decay),
            schedule: self.schedule.or(other.schedule),
            fractional_probability_weight: self.fractional_probability_weight.or(other.fractional_probability_weight),
            class_weights: self.class_weights.or(other.class_weights),
            keep: self.keep.or(other.keep),
            ema: self.ema.or(other.ema),
            label_smoothing: self.label_smoothing.or(other.label_smoothing),
            mosaic_share: self.mosaic_share.or(other.mosaic_share),
            mosaic_epochs: self.mosaic_epochs.or(other.mosaic_epochs),
            whitening: self.whitening.or(other.whitening),
            image_size: self.image_size.or(other.image_size),
            crop: self.crop.or(other.crop),
            flip: self.flip.or(other.flip),
            padding: self.padding.or(other.padding),
            cutout: self.cutout.or(other.cutout),
            mean: self.mean.or(other.mean),
            std: self.std.or(other.std),
            seed: self.seed.or(other.seed),
        }
    }

    /// The recipe, with defaults where nothing is said. How many replicas compute is the machine's matter.
    ///
    /// # Errors
    /// [`TrainError::Options`] for means without standard deviations, or the other way round.
    pub fn recipe(self) -> Result<Recipe> {
        if self.mean.is_some() != self.std.is_some() {
            return Err(TrainError::Options("mean and std belong together".into()).into());
        }
        let defaults = Recipe::new(self.arch.unwrap_or(Architecture::Resnet20), self.loss.unwrap_or(Loss::Dismax));
        Ok(Recipe {
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.lr,
            backbone_rate: self.backbone_rate,
            weight_decay: self.weight_decay,
            schedule: self.schedule,
            fractional_probability_weight: self
                .fractional_probability_weight
                .unwrap_or(defaults.fractional_probability_weight),
            class_weights: self.class_weights.unwrap_or(defaults.class_weights),
            keep: self.keep.unwrap_or(defaults.keep),
            ema: self.ema.filter(|&decay| decay != 0.0),
            label_smoothing: self.label_smoothing.unwrap_or(defaults.label_smoothing),
            mosaic_share: self.mosaic_share.unwrap_or(defaults.mosaic_share),
            mosaic_epochs: self.mosaic_epochs.unwrap_or(defaults.mosaic_epochs),
            whitening: self.whitening.unwrap_or(defaults.whitening),
            size: self.image_size,
            crop: self.crop.unwrap_or(defaults.crop),
            flip: self.flip.unwrap_or(defaults.flip),
            padding: self.padding.unwrap_or(defaults.padding),
            cutout: self.cutout.unwrap_or(defaults.cutout),
            normalization: self.mean.zip(self.std),
            seed: self.seed.unwrap_or(defaults.seed),
            ..defaults
        })
    }

    /// The recipe that a training with these options follows, with nothing left open.
    pub(super) fn of(recipe: &Recipe, options: &TrainOptions) -> Self {
        Self {
            arch: Some(options.architecture),
            loss: Some(options.loss),
            epochs: Some(options.epochs),
            batch_size: Some(options.batch_size),
            lr: Some(options.sgd.learning_rate),
            backbone_rate: recipe.backbone_rate,
            weight_decay: Some(options.sgd.weight_decay),
            schedule: Some(options.schedule),
            fractional_probability_weight: Some(options.fractional_probability_weight),
            class_weights: Some(options.class_weights),
            keep: Some(options.keep),
            ema: Some(options.ema.unwrap_or(0.0)),
            label_smoothing: Some(options.label_smoothing),
            mosaic_share: Some(options.mosaic_share),
            mosaic_epochs: Some(options.mosaic_epochs),
            whitening: Some(options.whitening),
            image_size: Some(options.size),
            crop: Some(recipe.crop),
            flip: Some(recipe.flip),
            padding: Some(recipe.padding),
            cutout: Some(recipe.cutout),
            mean: Some(options.mean),
            std: Some(options.std),
            seed: Some(options.seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<RecipeFile> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        RecipeFile::read(&path)
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = "loss = \"elogitnorm\"\nepochs = 40\nlr = 0.05\nflip = false\nimage_size = [32, 24]\nema = 0.999\n";
        let json =
            r#"{"loss": "elogitnorm", "epochs": 40, "lr": 0.05, "flip": "none", "image_size": [32, 24], "ema": 0.999}"#;
        let recipe = read("recipe.toml", toml).expect("a recipe");
        assert_eq!(recipe, read("recipe.json", json).expect("a recipe"));
        let recipe = recipe.recipe().expect("a recipe");
        assert_eq!((recipe.loss, recipe.epochs, recipe.size), (Loss::ELogitNorm, Some(40), Some((32, 24))));
        assert_eq!((recipe.flip, recipe.ema, recipe.batch_size), (Flip::None, Some(0.999), None));
    }

    #[test]
    fn what_is_no_recipe_is_named_with_its_file() {
        for (name, text, part) in [
            ("r.toml", "epoch = 40\n", "unknown field `epoch`"),
            ("r.json", "{\"epochs\": 40, \"rate\": 1}", "unknown field `rate`"),
            ("r.toml", "loss = \"crossentropy\"\n", "crossentropy"),
            ("r.toml", "epochs = -1\n", "-1"),
            ("r.toml", "flip = \"sometimes\"\n", "none, random, alternating"),
        ] {
            let message = read(name, text).expect_err("a refusal").to_string();
            assert!(message.contains(name) && message.contains(part), "{message}");
        }
        let alone = RecipeFile { mean: Some([0.5; 3]), ..RecipeFile::default() };
        assert!(alone.recipe().expect_err("a refusal").to_string().contains("belong together"));
    }

    #[test]
    fn the_first_goes_before_the_second() {
        let flags = RecipeFile { epochs: Some(3), ema: Some(0.0), ..RecipeFile::default() };
        let file = RecipeFile { epochs: Some(9), ema: Some(0.99), lr: Some(0.2), ..RecipeFile::default() };
        let recipe = flags.or(file).recipe().expect("a recipe");
        assert_eq!((recipe.epochs, recipe.ema, recipe.learning_rate), (Some(3), None, Some(0.2)));
    }
}
