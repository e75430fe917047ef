//! From logits and features to the columns that scoring appends.

use dismax::calibration::{Calibration, CalibrationScores, ConformalScores, EarlyScore, LogRanks};
use dismax::score::Score;
use dismax::{Error, Result};

use crate::nodes::{Name, Nodes};
use crate::proto::{Attribute, Element};

/// In-distribution score `[N]`, f32, at temperature 1; higher is more in-distribution. `features [N, F]` are the pooled
/// ones of all stages, where the score needs them.
///
/// # Errors
/// [`Error::Config`] for a score that no ONNX graph computes.
pub fn score(nodes: &mut Nodes, score: Score, logits: &Name, early: Option<(&EarlyScore, &Name)>) -> Result<Name> {
    let max = |nodes: &mut Nodes| nodes.over_last("ReduceMax", logits, false);
    let entropy = |nodes: &mut Nodes| {
        let logs = log_softmax(nodes, logits);
        let shares = nodes.op("Exp", &[&logs]);
        let terms = nodes.op("Mul", &[&shares, &logs]);
        nodes.over_last("ReduceSum", &terms, false)
    };
    let confidence = |nodes: &mut Nodes| {
        let shares = softmax(nodes, logits);
        nodes.over_last("ReduceMax", &shares, false)
    };
    let max_plus_mean = |nodes: &mut Nodes| {
        let (max, mean) = (max(nodes), nodes.over_last("ReduceMean", logits, false));
        nodes.op("Add", &[&max, &mean])
    };
    Ok(match score {
        Score::Mps => confidence(nodes),
        Score::Es => entropy(nodes),
        Score::Mds => max(nodes),
        Score::Mmls => max_plus_mean(nodes),
        Score::Mmles => {
            let (sum, entropy) = (max_plus_mean(nodes), entropy(nodes));
            nodes.op("Add", &[&sum, &entropy])
        }
        Score::Mmleps => {
            let (sum, entropy, confidence) = (max_plus_mean(nodes), entropy(nodes), confidence(nodes));
            let sum = nodes.op("Add", &[&sum, &entropy]);
            nodes.op("Add", &[&sum, &confidence])
        }
        Score::MdsEarly => {
            let (early, features) = early.ok_or_else(|| Error::Internal(format!("{score} without features")))?;
            let distance = max(nodes);
            let distance = nodes.cast(&distance, Element::Double);
            let mut sum = log_rank(nodes, early.mds_ranks(), &distance);
            // Embeddings have no early features.
            if let Some(usual) = usualness(nodes, early, features) {
                let usual = log_rank(nodes, early.early_ranks(), &usual);
                sum = nodes.op("Add", &[&sum, &usual]);
            }
            nodes.cast(&sum, Element::Float)
        }
        Score::MdsUnknown | Score::MdsEarlyUnknown => {
            return Err(Error::Config(format!(
                "the score {score} needs logarithms of the normal distribution's tail, which ONNX cannot compute; \
                 calibrate the model with another score first"
            )));
        }
    })
}

/// `[N, C]` along the classes.
pub fn softmax(nodes: &mut Nodes, logits: &Name) -> Name {
    nodes.node("Softmax", &[logits], vec![Attribute::int("axis", -1)])
}

fn log_softmax(nodes: &mut Nodes, logits: &Name) -> Name {
    nodes.node("LogSoftmax", &[logits], vec![Attribute::int("axis", -1)])
}

/// The values `[N]`, or `[N, W]` where they are `wide`, but NaN in the rows of `inputs [N, D]` that hold a number which is
/// not finite. ONNX does not say what maxima and softmax make of these.
pub fn unless_broken(nodes: &mut Nodes, inputs: &Name, values: &Name, wide: bool) -> Name {
    let zero = nodes.float(0.0);
    // Nothing times a number that is not finite is NaN, and so is a sum with NaN.
    let zeros = nodes.op("Mul", &[inputs, &zero]);
    let sums = nodes.over_last("ReduceSum", &zeros, wide);
    let broken = nodes.op("IsNaN", &[&sums]);
    let nan = nodes.float(f32::NAN);
    nodes.op("Where", &[&broken, &nan, values])
}

/// Minus half the squared Mahalanobis distance `[N]`, f64, of the early ones of the features `[N, F]`; none where no
/// feature is an early one.
fn usualness(nodes: &mut Nodes, early: &EarlyScore, features: &Name) -> Option<Name> {
    let (mean, inverse) = early.whitening();
    let width = mean.len();
    if width == 0 {
        return None;
    }
    let transposed: Vec<f64> =
        (0..width).flat_map(|column| inverse.iter().skip(column).step_by(width).copied()).collect();
    let features = nodes.columns(features, 0..width);
    let features = nodes.cast(&features, Element::Double);
    let mean = nodes.doubles(mean, &[width as i64]);
    let apart = nodes.op("Sub", &[&features, &mean]);
    let matrix = nodes.doubles(&transposed, &[width as i64; 2]);
    let whitened = nodes.op("MatMul", &[&apart, &matrix]);
    let squared = nodes.over_last("ReduceSumSquare", &whitened, false);
    let factor = nodes.double(-0.5);
    Some(nodes.op("Mul", &[&squared, &factor]))
}

/// [`LogRanks::of`] of values `[N]` f64.
fn log_rank(nodes: &mut Nodes, ranks: &LogRanks, values: &Name) -> Name {
    let known: Vec<f64> = ranks.sorted().iter().map(|&value| f64::from(value)).collect();
    let count = known.len();
    let at = |rank: usize| ((rank as f64 + 1.0) / (count as f64 + 1.0)).ln();
    let logs: Vec<f64> = (1..=count).map(at).collect();

    let table = nodes.doubles(&known, &[count as i64]);
    let below = count_below(nodes, &table, values, Element::Double);
    let one = nodes.double(1.0);
    let zero = nodes.double(0.0);
    let last = nodes.double(count as f64 - 1.0);
    // Places of the known values on both sides. Beyond both ends the result is taken from elsewhere.
    let low = nodes.op("Sub", &[&below, &one]);
    let low = nodes.op("Max", &[&low, &zero]);
    let high = nodes.op("Min", &[&below, &last]);
    let [low, high] = [low, high].map(|place| nodes.cast(&place, Element::Int64));
    let heights = nodes.doubles(&logs, &[count as i64]);
    let (from, to) = (nodes.lookup(&table, &low), nodes.lookup(&table, &high));
    let (start, end) = (nodes.lookup(&heights, &low), nodes.lookup(&heights, &high));
    let way = nodes.op("Sub", &[values, &from]);
    let whole = nodes.op("Sub", &[&to, &from]);
    let share = nodes.op("Div", &[&way, &whole]);
    let rise = nodes.op("Sub", &[&end, &start]);
    let rise = nodes.op("Mul", &[&share, &rise]);
    let between = nodes.op("Add", &[&start, &rise]);

    let slope = nodes.double(ranks.slope());
    let lowest = nodes.double(known[0]);
    let short = nodes.op("Sub", &[&lowest, values]);
    let fall = nodes.op("Mul", &[&short, &slope]);
    let first = nodes.double(at(1));
    let tail = nodes.op("Sub", &[&first, &fall]);

    let is_lowest = nodes.op("Less", &[values, &lowest]);
    let is_highest = nodes.op("Greater", &[&below, &last]);
    let inside = nodes.op("Where", &[&is_highest, &zero, &between]);
    nodes.op("Where", &[&is_lowest, &tail, &inside])
}

/// How many of `table [K]`, or of each row of `table [N, K]`, are at most the values `[N]`, as `element`.
fn count_below(nodes: &mut Nodes, table: &Name, values: &Name, element: Element) -> Name {
    let column = nodes.as_column(values);
    let below = nodes.op("LessOrEqual", &[table, &column]);
    let below = nodes.cast(&below, element);
    nodes.over_last("ReduceSum", &below, false)
}

/// What is said of rows.
#[derive(Debug)]
pub struct Verdicts {
    /// Conformal p-values `[N]`, f32.
    pub p_values: Name,
    /// `[N]`, whether the p-value is at most alpha.
    pub is_ood: Name,
}

/// P-values and flags of in-distribution scores `[N]`, for rows of the predicted classes `[N]`.
pub fn verdicts(
    nodes: &mut Nodes,
    calibration: &Calibration,
    classes: usize,
    predicted: &Name,
    scores: &Name,
) -> Verdicts {
    let threshold = |known: &ConformalScores| known.threshold(calibration.alpha).unwrap_or(f32::NEG_INFINITY);
    let rows = |known: &ConformalScores| known.rows() as f32 + 1.0;
    let (table, rows, threshold) = match &calibration.scores {
        CalibrationScores::AllRows(known) => {
            let table = nodes.floats(known.sorted(), &[known.rows() as i64]);
            (table, nodes.float(rows(known)), nodes.float(threshold(known)))
        }
        CalibrationScores::PerClass(by_class) => {
            let own: Vec<&ConformalScores> = (0..classes).map(|class| by_class.of_class(class)).collect();
            let width = own.iter().map(|known| known.rows()).max().unwrap_or(0);
            // Beyond its scores a class has some that no row's score reaches.
            let padded = |known: &&ConformalScores| {
                let mut scores = known.sorted().to_vec();
                scores.resize(width, f32::INFINITY);
                scores
            };
            let table: Vec<f32> = own.iter().flat_map(padded).collect();
            let table = nodes.floats(&table, &[classes as i64, width as i64]);
            let each = |nodes: &mut Nodes, number: &dyn Fn(&ConformalScores) -> f32| {
                let numbers: Vec<f32> = own.iter().map(|known| number(known)).collect();
                let numbers = nodes.floats(&numbers, &[classes as i64]);
                nodes.lookup(&numbers, predicted)
            };
            let (rows, threshold) = (each(nodes, &rows), each(nodes, &threshold));
            (nodes.lookup(&table, predicted), rows, threshold)
        }
    };
    // NaN is not above any score, so that its rank is the lowest.
    let below = count_below(nodes, &table, scores, Element::Float);
    let one = nodes.float(1.0);
    let ranks = nodes.op("Add", &[&below, &one]);
    let p_values = nodes.op("Div", &[&ranks, &rows]);
    // Not "at most the threshold": a score that is no number must not pass as in-distribution.
    let known = nodes.op("Greater", &[scores, &threshold]);
    let is_ood = nodes.op("Not", &[&known]);
    Verdicts { p_values, is_ood }
}
