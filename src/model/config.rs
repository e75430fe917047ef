//! `config.json`: what a model is, apart from its numbers.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::loss::Loss;
use crate::network::Architecture;

/// Version of the bundle's layout that this crate writes. It reads all from 1 on: in version 2 preprocessing may turn and
/// reduce pictures, in version 3 the score may need features, in version 4 there may be examples of unknown images, of
/// which releases before know nothing.
pub const FORMAT_VERSION: u32 = 4;

/// Contents of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Version of the bundle's layout.
    pub format_version: u32,
    /// Network.
    pub architecture: Architecture,
    /// Loss that it was trained with; decides the head.
    pub loss: Loss,
    /// Class names in the order of the logits.
    pub classes: Vec<String>,
    /// From decoded pixels to the network's input.
    pub preprocessing: Preprocessing,
    /// Where the weights come from, in words.
    pub origin: String,
}

impl ModelConfig {
    /// # Errors
    /// [`Error::Config`] for what no model can be: fewer than two classes, equal names, unusable preprocessing.
    pub fn validate(&self) -> Result<()> {
        if self.classes.len() < 2 {
            return Err(Error::Config(format!("{} classes; a model needs at least two", self.classes.len())));
        }
        let mut names: Vec<&str> = self.classes.iter().map(String::as_str).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Config(format!("two classes are called {:?}; names must differ", pair[0])));
        }
        self.preprocessing.validate()?;
        let (height, width) = (self.preprocessing.height, self.preprocessing.width);
        let smallest = self.architecture.smallest_image();
        if height < smallest || width < smallest {
            return Err(Error::Config(format!(
                "{} needs images of at least {smallest}x{smallest} pixels, not {height}x{width}",
                self.architecture
            )));
        }
        Ok(())
    }
}
