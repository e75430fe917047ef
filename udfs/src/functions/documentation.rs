//! What `SHOW FUNCTIONS` and `information_schema.routines` say.

use std::sync::LazyLock;

use datafusion::logical_expr::{DocSection, Documentation};

use crate::function::{Function, Takes};

const SECTION: DocSection = DocSection {
    include: true,
    label: "Image Scoring Functions",
    description: Some("Score images with DisMax networks: calibrated probabilities and out-of-distribution flags."),
};

/// Of functions that need no model.
pub(super) const IMAGES: DocSection =
    DocSection { include: true, label: "Image Functions", description: Some("Look at images without a model.") };

/// What functions of an image take.
pub(super) const IMAGE: &str = "Encoded images (binary, binary view, large binary), the struct {bytes, path} of Hugging \
                                Face, arrow.fixed_shape_tensor of uint8 or nested lists of uint8.";

static ALL: LazyLock<Vec<(Function, Documentation)>> =
    LazyLock::new(|| Function::ALL.into_iter().map(|function| (function, documentation(function))).collect());

pub(super) fn of(function: Function) -> Option<&'static Documentation> {
    ALL.iter().find(|(documented, _)| *documented == function).map(|(_, documentation)| documentation)
}

fn documentation(function: Function) -> Documentation {
    let name = function.name();
    let (options, example) = match function.takes() {
        Takes::Nothing => ("[, model]", "img"),
        Takes::AlphaOrNothing => ("[, alpha] [, model]", "img"),
        Takes::Alpha => (", alpha [, model]", "img, 0.05"),
        Takes::Count => (", k [, model]", "img, 5"),
    };
    let mut builder = Documentation::builder(SECTION, description(function), format!("{name}(image{options})"))
        .with_argument("image", IMAGE);
    let parameter = match function.takes() {
        Takes::Nothing => None,
        Takes::AlphaOrNothing => Some((
            "alpha",
            "Share of in-distribution images that may be flagged, between 0 and 1; the model's own where it is left out.",
        )),
        Takes::Alpha => {
            Some(("alpha", "Share of the images of each class whose set may lack that class, between 0 and 1."))
        }
        Takes::Count => Some(("k", "How many classes, at least 1.")),
    };
    if let Some((parameter, meaning)) = parameter {
        builder = builder.with_argument(parameter, meaning);
    }
    builder = builder.with_argument("model", "Name of a registered model; needed only where several are registered.");
    builder = builder.with_sql_example(format!("SELECT {name}({example}) FROM 'photos.parquet';"));
    for related in Function::ALL.into_iter().filter(|related| *related != function) {
        builder = builder.with_related_udf(related.name());
    }
    builder.build()
}

fn description(function: Function) -> &'static str {
    match function {
        Function::All => {
            "Returns a struct of prediction, confidence, probabilities, ood_score, ood_p_value, is_ood and error for an image."
        }
        Function::Prediction => "Returns the name of the most probable class, NULL where the image cannot be scored.",
        Function::Confidence => "Returns the calibrated probability of the predicted class, in (0, 1].",
        Function::Probabilities => "Returns the calibrated probability of every class, in the model's order.",
        Function::TopK => {
            "Returns the k most probable classes with their calibrated probabilities, the most probable first."
        }
        Function::PredictionSet => {
            "Returns the classes that the image may be of: of the images of each class at most a share of alpha lacks it. An \
             empty list where no class is plausible."
        }
        Function::Embedding => {
            "Returns what the network's last stage gives, averaged over the picture: numbers in which pictures of one class are \
             alike. How many there are depends on the architecture."
        }
        Function::OodScore => "Returns the out-of-distribution score: higher is more out-of-distribution.",
        Function::OodPValue => "Returns the conformal p-value, in (0, 1]: small is out-of-distribution.",
        Function::IsOod => "Returns whether the image's conformal p-value is at most alpha.",
        Function::Error => "Returns why an image could not be scored, NULL where it was.",
    }
}
