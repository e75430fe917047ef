//! What `SHOW FUNCTIONS` and `information_schema.routines` say.

use std::sync::LazyLock;

use datafusion::logical_expr::{DocSection, Documentation};

use crate::output::Output;

const SECTION: DocSection = DocSection {
    include: true,
    label: "Image Scoring Functions",
    description: Some("Score images with DisMax networks: calibrated probabilities and out-of-distribution flags."),
};

static ALL: LazyLock<Vec<(Output, Documentation)>> =
    LazyLock::new(|| Output::ALL.into_iter().map(|output| (output, documentation(output))).collect());

pub(super) fn of(output: Output) -> Option<&'static Documentation> {
    ALL.iter().find(|(documented, _)| *documented == output).map(|(_, documentation)| documentation)
}

fn documentation(output: Output) -> Documentation {
    let name = output.function();
    let (options, alpha) = match output {
        Output::IsOod => ("[, alpha] [, model]", true),
        _ => ("[, model]", false),
    };
    let mut builder = Documentation::builder(SECTION, description(output), format!("{name}(image{options})"))
        .with_argument(
            "image",
            "Encoded images (binary, binary view, large binary), the struct {bytes, path} of Hugging Face, \
             arrow.fixed_shape_tensor of uint8 or nested lists of uint8.",
        );
    if alpha {
        builder = builder.with_argument(
            "alpha",
            "Share of in-distribution images that may be flagged, between 0 and 1; the model's own where it is left out.",
        );
    }
    builder = builder.with_argument("model", "Name of a registered model; needed only where several are registered.");
    builder = builder.with_sql_example(format!("SELECT {name}(img) FROM 'photos.parquet';"));
    for related in Output::ALL.into_iter().filter(|related| *related != output) {
        builder = builder.with_related_udf(related.function());
    }
    builder.build()
}

fn description(output: Output) -> &'static str {
    match output {
        Output::All => {
            "Returns a struct of prediction, confidence, probabilities, ood_score, ood_p_value, is_ood and error for an image."
        }
        Output::Prediction => "Returns the name of the most probable class, NULL where the image cannot be scored.",
        Output::Confidence => "Returns the calibrated probability of the predicted class, in (0, 1].",
        Output::Probabilities => "Returns the calibrated probability of every class, in the model's order.",
        Output::OodScore => "Returns the out-of-distribution score: higher is more out-of-distribution.",
        Output::OodPValue => "Returns the conformal p-value, in (0, 1]: small is out-of-distribution.",
        Output::IsOod | Output::IsOodAt(_) => "Returns whether the image's conformal p-value is at most alpha.",
        Output::Error => "Returns why an image could not be scored, NULL where it was.",
    }
}
