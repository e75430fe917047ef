//! From features to logits.

use dismax::embedding::EmbeddingHead;
use dismax::network::graph::{Array, HeadNumbers, WhitenedNumbers};

use crate::network::array;
use crate::nodes::{Name, Nodes};
use crate::proto::Element;

/// Lengths below this count as this, as in the network.
const MIN_LENGTH: f64 = 1e-12;

/// Embeddings `[N, D]` at length 1, as scoring takes them. Those that scoring refuses, all zeros or with a number that
/// is not finite, become NaN.
pub fn embeddings_at_unit_length(nodes: &mut Nodes, embeddings: &Name) -> Name {
    // Squares of very large and very small numbers leave the range.
    let sizes = nodes.op("Abs", &[embeddings]);
    let largest = nodes.over_last("ReduceMax", &sizes, true);
    let scaled = nodes.op("Div", &[embeddings, &largest]);
    let lengths = nodes.over_last("ReduceL2", &scaled, true);
    nodes.op("Div", &[&scaled, &lengths])
}

/// Features `[N, D]` to logits `[N, C]`, before temperature.
pub fn logits(nodes: &mut Nodes, features: &Name, head: &HeadNumbers) -> Name {
    match head {
        HeadNumbers::Linear { weight, bias } => {
            let (products, bias) = (products(nodes, features, weight), array(nodes, bias));
            nodes.op("Add", &[&products, &bias])
        }
        HeadNumbers::Distances { prototypes, scale, adds_mean } => {
            let features = match scale {
                Some(_) => to_unit_length(nodes, features),
                None => features.clone(),
            };
            let mut distances = distances(nodes, &features, prototypes);
            if let Some(scale) = scale {
                let scale = nodes.float(*scale);
                distances = nodes.op("Mul", &[&distances, &scale]);
            }
            if *adds_mean {
                distances = plus_mean(nodes, &distances);
            }
            nodes.op("Neg", &[&distances])
        }
        HeadNumbers::Whitened(numbers) => whitened(nodes, features, numbers),
    }
}

/// Rows at length 1.
fn to_unit_length(nodes: &mut Nodes, rows: &Name) -> Name {
    let lengths = nodes.over_last("ReduceL2", rows, true);
    let least = nodes.float(MIN_LENGTH as f32);
    let lengths = nodes.op("Max", &[&lengths, &least]);
    nodes.op("Div", &[rows, &lengths])
}

/// `[N, D]` times the transpose of `rows [K, D]`: `[N, K]`.
fn products(nodes: &mut Nodes, features: &Name, rows: &Array) -> Name {
    let [count, width] = [rows.shape[0], rows.shape[1]].map(|size| size as usize);
    let transposed: Vec<f32> =
        (0..width).flat_map(|column| (0..count).map(move |row| rows.values[row * width + column])).collect();
    let matrix = nodes.floats(&transposed, &[width as i64, count as i64]);
    nodes.op("MatMul", &[features, &matrix])
}

/// Distances `[N, C]` from differences: products of rows lose half of the digits near zero.
fn distances(nodes: &mut Nodes, features: &Name, prototypes: &Array) -> Name {
    let features = nodes.as_column(features);
    let prototypes = array(nodes, prototypes);
    let apart = nodes.op("Sub", &[&features, &prototypes]);
    nodes.over_last("ReduceL2", &apart, false)
}

fn plus_mean(nodes: &mut Nodes, distances: &Name) -> Name {
    let mean = nodes.over_last("ReduceMean", distances, true);
    nodes.op("Add", &[distances, &mean])
}

/// As [`dismax::embedding`] computes it. Differences of squares are taken in double precision there too.
fn whitened(nodes: &mut Nodes, features: &Name, numbers: &WhitenedNumbers) -> Name {
    let wide = |nodes: &mut Nodes, value: &Name| nodes.cast(value, Element::Double);
    let unit = to_unit_length(nodes, features);
    let centre = array(nodes, &numbers.centre);
    let centred = nodes.op("Sub", &[&unit, &centre]);

    let wide_centred = wide(nodes, &centred);
    let squares = nodes.over_last("ReduceSumSquare", &wide_centred, true);
    let rest = f64::from(numbers.rest_variance);
    let variance = nodes.double(rest);
    let mut squared = nodes.op("Div", &[&squares, &variance]);
    if !numbers.variances.values.is_empty() {
        let along = products(nodes, &centred, &numbers.directions);
        let along = wide(nodes, &along);
        let weights: Vec<f64> =
            numbers.variances.values.iter().map(|&own| rest.recip() - f64::from(own).recip()).collect();
        let weights = nodes.doubles(&weights, &[weights.len() as i64]);
        let along = nodes.op("Mul", &[&along, &along]);
        let along = nodes.op("Mul", &[&along, &weights]);
        let own = nodes.over_last("ReduceSum", &along, true);
        squared = nodes.op("Sub", &[&squared, &own]);
    }
    let zero = nodes.double(0.0);
    // `[N, 1]`: squared distance from the centre in units of the spread within classes.
    let squared = nodes.op("Max", &[&squared, &zero]);
    let products = products(nodes, &centred, &numbers.prototypes);
    let products = wide(nodes, &products);
    let lengths: Vec<f64> = numbers.lengths.values.iter().map(|&length| f64::from(length)).collect();
    let logits = match numbers.head {
        EmbeddingHead::Dismax => {
            let least = nodes.double(MIN_LENGTH);
            let length = nodes.op("Sqrt", &[&squared]);
            let length = nodes.op("Max", &[&length, &least]);
            let lengths: Vec<f64> = lengths.iter().map(|length| length.max(MIN_LENGTH)).collect();
            let lengths = nodes.doubles(&lengths, &[lengths.len() as i64]);
            let lengths = nodes.op("Mul", &[&length, &lengths]);
            let cosines = nodes.op("Div", &[&products, &lengths]);
            // |a - b| / sqrt(2) of vectors of length 1.
            let one = nodes.double(1.0);
            let halves = nodes.op("Sub", &[&one, &cosines]);
            let halves = nodes.op("Max", &[&halves, &zero]);
            let distances = nodes.op("Sqrt", &[&halves]);
            let scale = nodes.double(f64::from(numbers.distance_scale));
            let distances = nodes.op("Mul", &[&distances, &scale]);
            let distances = plus_mean(nodes, &distances);
            nodes.op("Neg", &[&distances])
        }
        EmbeddingHead::Mahalanobis => {
            let twice = nodes.double(2.0);
            let twice = nodes.op("Mul", &[&products, &twice]);
            let squares: Vec<f64> = lengths.iter().map(|length| length * length).collect();
            let squares = nodes.doubles(&squares, &[squares.len() as i64]);
            let squared = nodes.op("Sub", &[&squared, &twice]);
            let squared = nodes.op("Add", &[&squared, &squares]);
            let squared = nodes.op("Max", &[&squared, &zero]);
            let factor = nodes.double(-0.5);
            nodes.op("Mul", &[&squared, &factor])
        }
    };
    nodes.cast(&logits, Element::Float)
}
