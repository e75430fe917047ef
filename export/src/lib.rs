//! Writes a model as ONNX: what scoring appends to a row, in one graph that any runtime of ONNX computes.
//!
//! Pixels go in as scoring prepares them: decoded, brought to the network's size, u8. Out come logits, calibrated
//! probabilities, the score, p-value and flag. Decoding and resizing stay outside; the file's metadata says what they
//! have to do.

mod head;
mod network;
mod nodes;
mod proto;
mod scores;

use std::collections::HashMap;
use std::path::Path;

use dismax::calibration::{Calibration, EarlyScore};
use dismax::disk::TextFile;
use dismax::model::{Model, ModelInput};
use dismax::network::graph::{Graph, HeadNumbers};
use dismax::{Error, Result};
use prost::Message;

use crate::nodes::{Name, Nodes};
use crate::proto::{Attribute, Element, ValueInfo};

/// The set of operators: that of ONNX 1.13, of December 2022.
const OPERATORS: i64 = 18;
/// The version of the file format that belongs to it.
const IR_VERSION: i64 = 8;

/// Writes a calibrated model as ONNX.
///
/// The input is `pixels`, u8 `[rows, height, width, 3]`, or `embeddings`, f32 `[rows, dimensions]`. The outputs are
///
/// - `logits`, f32 `[rows, classes]`: at temperature 1;
/// - `probabilities`, f32 `[rows, classes]`: calibrated;
/// - `prediction`, i64 `[rows]`: number of the most probable class;
/// - `confidence`, f32 `[rows]`: its calibrated probability, in (0, 1];
/// - `ood_score`, f32 `[rows]`: higher is more out-of-distribution;
/// - `ood_p_value`, f32 `[rows]`: conformal p-value, in (0, 1];
/// - `is_ood`, bool `[rows]`: whether the p-value is at most alpha.
///
/// They are those of scoring in single precision, so that a value may differ in its last digits, and a flag where a
/// score lies that close to the threshold. A row that scoring refuses, because an embedding or a score is not finite or
/// an embedding is all zeros, is flagged here; its score is NaN.
///
/// # Errors
/// [`Error::NotCalibrated`]; [`Error::Config`] for a score that no ONNX graph computes; [`Error::Model`] for weights that
/// can no longer be read; [`Error::OutputExists`] where `path` exists and `overwrite` is not given; [`Error::Io`] where
/// the file cannot be written.
pub fn export_onnx(model: &Model, path: &Path, overwrite: bool) -> Result<()> {
    let mut file = TextFile::create(path, overwrite)?;
    file.write(to_onnx(model)?)?;
    file.finish()
}

/// The file's bytes.
fn to_onnx(model: &Model) -> Result<Vec<u8>> {
    let calibration = model.require_calibration()?;
    let (graph, head) = model.graph()?;
    let mut nodes = Nodes::default();
    let input = input(model);
    let output = values(&mut nodes, model, graph.as_ref(), &head)?;
    outputs(&mut nodes, model, calibration, &output)?;

    let classes = model.classes().len() as i64;
    let output = [
        ("logits", Element::Float, &[classes][..]),
        ("probabilities", Element::Float, &[classes]),
        ("prediction", Element::Int64, &[]),
        ("confidence", Element::Float, &[]),
        ("ood_score", Element::Float, &[]),
        ("ood_p_value", Element::Float, &[]),
        ("is_ood", Element::Bool, &[]),
    ];
    let output = output.map(|(name, element, shape)| ValueInfo::rows(name, element, shape)).to_vec();
    let file = proto::Model {
        ir_version: IR_VERSION,
        producer_name: "dismax".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: "Calibrated probabilities and out-of-distribution flags".to_owned(),
        graph: Some(nodes.finish("dismax", input, output)),
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: OPERATORS }],
        metadata_props: metadata(model, calibration)?,
    };
    Ok(file.encode_to_vec())
}

const PIXELS: &str = "pixels";
const EMBEDDINGS: &str = "embeddings";

fn input(model: &Model) -> ValueInfo {
    match model.input() {
        ModelInput::Images(images) => {
            let [height, width] = [images.preprocessing.height, images.preprocessing.width].map(i64::from);
            ValueInfo::rows(PIXELS, Element::Uint8, &[height, width, 3])
        }
        ModelInput::Embeddings(embeddings) => {
            ValueInfo::rows(EMBEDDINGS, Element::Float, &[embeddings.dimensions as i64])
        }
    }
}

/// What the network gives for a row, averaged over mirror images where the model says so.
struct Output {
    logits: Name,
    /// `[N, F]`, where the model's score needs them.
    features: Option<Name>,
}

fn values(nodes: &mut Nodes, model: &Model, graph: Option<&Graph>, head: &HeadNumbers) -> Result<Output> {
    let Some((graph, input)) = graph.zip(model.input().images()) else {
        let embeddings = EMBEDDINGS.to_owned();
        let unit = head::embeddings_at_unit_length(nodes, &embeddings);
        let logits = head::logits(nodes, &unit, head);
        // A maximum may turn NaN into a number.
        let logits = scores::unless_broken(nodes, &unit, &logits, true);
        let features = model.needs_features().then_some(unit);
        return Ok(Output { logits, features });
    };
    let mut images = network::images(nodes, &PIXELS.to_owned(), &input.preprocessing);
    let mirrors = !model.tta().is_none();
    if mirrors {
        images = network::with_mirror_images(nodes, &images);
    }
    let pooled = network::pooled(nodes, images, graph);
    let mut logits = head::logits(nodes, &pooled.features, head);
    let mut features = model.needs_features().then(|| {
        let stages: Vec<&Name> = pooled.early.iter().chain([&pooled.features]).collect();
        nodes.node("Concat", &stages, vec![Attribute::int("axis", 1)])
    });
    if mirrors {
        logits = network::mean_of_mirror_images(nodes, &logits, model.classes().len());
        features = features.map(|rows| network::mean_of_mirror_images(nodes, &rows, model.feature_width()));
    }
    Ok(Output { logits, features })
}

fn outputs(nodes: &mut Nodes, model: &Model, calibration: &Calibration, output: &Output) -> Result<()> {
    let logits = &output.logits;
    nodes.name(logits, "logits");
    let temperature = nodes.float(calibration.temperature);
    let divided = nodes.op("Div", &[logits, &temperature]);
    let probabilities = scores::softmax(nodes, &divided);
    nodes.name(&probabilities, "probabilities");
    let axes = vec![Attribute::int("axis", -1), Attribute::int("keepdims", 0)];
    let predicted = nodes.node("ArgMax", &[logits], axes);
    nodes.name(&predicted, "prediction");
    let confidence = nodes.over_last("ReduceMax", &probabilities, false);
    nodes.name(&confidence, "confidence");

    let feature_score = model.feature_score(calibration.score)?;
    let early: Option<&EarlyScore> = feature_score.as_ref().map(|score| score.early());
    let score = scores::score(nodes, calibration.score, logits, early.zip(output.features.as_ref()))?;
    let score = scores::unless_broken(nodes, logits, &score, false);
    let negative = nodes.op("Neg", &[&score]);
    nodes.name(&negative, "ood_score");
    let verdicts = scores::verdicts(nodes, calibration, model.classes().len(), &predicted, &score);
    nodes.name(&verdicts.p_values, "ood_p_value");
    nodes.name(&verdicts.is_ood, "is_ood");
    Ok(())
}

/// What a program has to know besides the graph.
fn metadata(model: &Model, calibration: &Calibration) -> Result<Vec<proto::Entry>> {
    let fault = |error: serde_json::Error| Error::Internal(format!("JSON: {error}"));
    let mut pairs = HashMap::from([
        ("dismax.model_digest", model.digest().to_owned()),
        ("dismax.classes", serde_json::to_string(model.classes()).map_err(fault)?),
        ("dismax.temperature", calibration.temperature.to_string()),
        ("dismax.score", calibration.score.to_string()),
        ("dismax.alpha", calibration.alpha.to_string()),
    ]);
    if let Some(images) = model.input().images() {
        pairs.insert("dismax.preprocessing", serde_json::to_string(&images.preprocessing).map_err(fault)?);
    }
    Ok(proto::entries(pairs))
}
