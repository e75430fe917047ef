//! One temperature for all rows, by a global search.
//!
//! ECE as a function of the temperature is smooth only between the points where a row changes its bin: it has thousands
//! of small jumps and many local minima, and a descent stops at whichever it meets. So the search looks everywhere on a
//! coarse grid in log T, again finely around the best points, and keeps the best of all it saw. Every candidate is
//! judged with the confidences that the scoring stage will compute ([`crate::score::row`]), rounding included, so that
//! a minimum beside a jump is real.

use argmin::core::{CostFunction, Executor};
use argmin::solver::brent::BrentOpt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metrics::{DEFAULT_BINS, LabelledLogits, Sums, bin_of, equal_width_edges, proper};
use crate::score;

/// What the temperature minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Expected calibration error of the confidence, equal-width bins.
    #[default]
    Ece,
    /// Negative log-likelihood of the labels: smooth, with one minimum.
    Nll,
}

/// How to search. The default is the reference's objective and range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TemperatureSearch {
    /// What to minimise.
    pub objective: Objective,
    /// Lowest temperature, > 0.
    pub lowest: f32,
    /// Highest temperature.
    pub highest: f32,
    /// Equal-width bins of the ECE.
    pub bins: usize,
}

impl Default for TemperatureSearch {
    fn default() -> Self {
        Self { objective: Objective::Ece, lowest: 0.001, highest: 100.0, bins: DEFAULT_BINS }
    }
}

/// By which rule the temperature was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// It minimises the objective.
    Minimum,
    /// Every row was predicted correctly, so that the objective only asks for more confidence without end. The
    /// temperature, at most 1, is the one whose mean confidence is `(n + 1) / (n + 2)`, the rule of succession: no
    /// surer than n rows can make one.
    AllRowsRight,
}

/// A fitted temperature and what it does to the rows it was fitted on. Report calibration on other rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TemperatureFit {
    /// Divide logits by this before the softmax; > 0.
    pub temperature: f32,
    /// What was minimised.
    pub objective: Objective,
    /// How it was chosen.
    pub selection: Selection,
    /// Rows it was fitted on.
    pub rows: u64,
    /// Share of these rows predicted correctly; no temperature changes it.
    pub accuracy: f64,
    /// ECE at temperature 1.
    pub ece_before: f64,
    /// ECE at the fitted temperature; with [`Objective::Ece`] never above `ece_before`.
    pub ece_after: f64,
    /// NLL in nats at temperature 1.
    pub nll_before: f64,
    /// NLL in nats at the fitted temperature; with [`Objective::Nll`] never above `nll_before`.
    pub nll_after: f64,
}

/// Fits one temperature to held-out rows.
///
/// Only the confidence depends on the temperature, never the predicted class, so a candidate costs one softmax sum per
/// row. About 1,100 candidates are tried, on all cores.
///
/// # Errors
/// [`Error::Config`] where the range or the bins cannot be used, and where the best temperature lies on an end of the
/// range: then no temperature calibrates this network and the message says what to look at.
pub fn fit_temperature(rows: &LabelledLogits, search: &TemperatureSearch) -> Result<TemperatureFit> {
    check(search)?;
    let eces = EceOf::new(rows, search.bins);
    let accuracy = proper::accuracy(rows);
    let (temperature, selection) = if accuracy == 1.0 {
        (succession(rows, search), Selection::AllRowsRight)
    } else {
        let temperature = match search.objective {
            Objective::Ece => minimum_of_ece(rows, &eces, search),
            Objective::Nll => minimum_of_nll(rows, search)?,
        };
        (temperature, Selection::Minimum)
    };
    refuse_ends(temperature, accuracy, search)?;
    Ok(TemperatureFit {
        temperature,
        objective: search.objective,
        selection,
        rows: rows.rows() as u64,
        accuracy,
        ece_before: eces.at(1.0),
        ece_after: eces.at(temperature),
        nll_before: proper::nll(rows, 1.0),
        nll_after: proper::nll(rows, temperature),
    })
}

fn check(search: &TemperatureSearch) -> Result<()> {
    let TemperatureSearch { objective: _, lowest, highest, bins } = *search;
    if !(lowest > 0.0 && lowest < 1.0 && highest > 1.0 && highest.is_finite()) {
        return Err(Error::Config(format!(
            "temperature range {lowest} to {highest}: give a positive range with 1 inside, for example 0.001 to 100"
        )));
    }
    if bins == 0 {
        return Err(Error::Config("calibration bins: at least 1 is needed, 15 is usual".into()));
    }
    Ok(())
}

/// The global minimum of the ECE over every temperature tried, 1 among them.
fn minimum_of_ece(rows: &LabelledLogits, eces: &EceOf, search: &TemperatureSearch) -> f32 {
    let (low, high) = (f64::from(search.lowest).ln(), f64::from(search.highest).ln());
    // Steps in log T over the default range: 2.9 %, then 0.09 % in the 16 best cells, then 0.006 % in the 8 best of
    // those.
    const COARSE: usize = 400;
    const ROUNDS: [(usize, usize); 2] = [(16, 32), (8, 16)];

    let mut step = (high - low) / (COARSE - 1) as f64;
    let coarse = (0..COARSE).map(|point| low + step * point as f64);
    let mut tried = eces.at_all(coarse.chain([0.0]), search);
    for (best, points) in ROUNDS {
        let fine = step / points as f64;
        let around = best_of(&tried, best).into_iter().flat_map(|(_, centre)| {
            let centre = f64::from(centre).ln();
            (0..=points).map(move |point| centre - 0.5 * step + fine * point as f64)
        });
        let around: Vec<f64> = around.collect();
        tried.extend(eces.at_all(around, search));
        step = fine;
    }
    // Equal ECE to nine digits is a tie: the lower NLL wins, then the temperature nearest to 1.
    let least = tried.iter().map(|&(ece, _)| ece).fold(f64::INFINITY, f64::min);
    let mut ties: Vec<f32> = tried.into_iter().filter(|&(ece, _)| ece <= least + 1e-9).map(|(_, t)| t).collect();
    ties.sort_by(|a, b| a.ln().abs().total_cmp(&b.ln().abs()));
    ties.dedup();
    if let [only] = ties[..] {
        return only;
    }
    let with_nll = ties.into_iter().map(|temperature| (proper::nll(rows, temperature), temperature));
    // On a plateau of the NLL too, `reduce` keeps the earlier one, nearer to 1.
    with_nll.reduce(|a, b| if b.0 < a.0 - 1e-9 { b } else { a }).map_or(1.0, |(_, temperature)| temperature)
}

/// The `count` lowest of (ECE, temperature).
fn best_of(tried: &[(f64, f32)], count: usize) -> Vec<(f64, f32)> {
    let mut best = tried.to_vec();
    best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    best.dedup_by_key(|(_, temperature)| *temperature);
    best.truncate(count);
    best
}

/// ECE of fixed rows at any temperature.
struct EceOf<'a> {
    rows: LabelledLogits<'a>,
    correct: Vec<bool>,
    edges: Vec<f32>,
}

impl<'a> EceOf<'a> {
    fn new(rows: &LabelledLogits<'a>, bins: usize) -> Self {
        Self { rows: *rows, correct: rows.correct(), edges: equal_width_edges(bins) }
    }

    fn at(&self, temperature: f32) -> f64 {
        let mut sums = vec![Sums::default(); self.edges.len() - 1];
        for ((logits, _), &correct) in self.rows.iter().zip(&self.correct) {
            let (_, confidence) = score::class_and_confidence(logits, temperature);
            // `bin_of` gives an index below the number of bins for every value.
            if let Some(sums) = sums.get_mut(bin_of(&self.edges, confidence)) {
                sums.add(f64::from(confidence), correct);
            }
        }
        sums.iter().map(Sums::weighted_gap).sum::<f64>() / self.rows.rows() as f64
    }

    /// (ECE, temperature) at each of `log_temperatures`, moved into the range of `search`, on all cores.
    fn at_all(&self, log_temperatures: impl IntoIterator<Item = f64>, search: &TemperatureSearch) -> Vec<(f64, f32)> {
        let into_range = |log: f64| (log.exp() as f32).clamp(search.lowest, search.highest);
        let mut tried: Vec<(f64, f32)> = log_temperatures.into_iter().map(|log| (f64::NAN, into_range(log))).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let per_thread = tried.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            for part in tried.chunks_mut(per_thread) {
                scope.spawn(move || part.iter_mut().for_each(|(ece, temperature)| *ece = self.at(*temperature)));
            }
        });
        tried
    }
}

/// NLL over log T, which falls and then rises.
struct NllOf<'a>(LabelledLogits<'a>);

impl CostFunction for NllOf<'_> {
    type Param = f64;
    type Output = f64;

    fn cost(&self, log_temperature: &f64) -> Result<f64, argmin::core::Error> {
        Ok(proper::nll(&self.0, log_temperature.exp() as f32))
    }
}

fn minimum_of_nll(rows: &LabelledLogits, search: &TemperatureSearch) -> Result<f32> {
    let (low, high) = (f64::from(search.lowest).ln(), f64::from(search.highest).ln());
    let run = Executor::new(NllOf(*rows), BrentOpt::new(low, high)).configure(|state| state.max_iters(200)).run();
    let run = run.map_err(|error| Error::Internal(format!("search for the temperature: {error}")))?;
    let found = run.state.best_param.map_or(1.0, |log| log.exp() as f32);
    let candidates = [1.0, search.lowest, search.highest, found.clamp(search.lowest, search.highest)];
    let with_nll = candidates.map(|temperature| (proper::nll(rows, temperature), temperature));
    Ok(with_nll.into_iter().reduce(|a, b| if b.0 < a.0 { b } else { a }).map_or(1.0, |(_, temperature)| temperature))
}

/// The highest temperature up to 1 whose mean confidence reaches `(n + 1) / (n + 2)`. The mean falls as the temperature
/// rises.
fn succession(rows: &LabelledLogits, search: &TemperatureSearch) -> f32 {
    let n = rows.rows() as f64;
    let wanted = (n + 1.0) / (n + 2.0);
    let sure = |log: f64| {
        let sum: f64 = rows.confidences(log.exp() as f32).into_iter().map(f64::from).sum();
        sum / n >= wanted
    };
    let (mut low, mut high) = (f64::from(search.lowest).ln(), 0.0);
    if sure(high) {
        return 1.0;
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if sure(middle) { low = middle } else { high = middle }
    }
    (low.exp() as f32).clamp(search.lowest, 1.0)
}

/// A temperature at an end of its range is not a minimum.
fn refuse_ends(temperature: f32, accuracy: f64, search: &TemperatureSearch) -> Result<()> {
    let percent = 100.0 * accuracy;
    let advice = if temperature <= search.lowest * 1.001 {
        "the network is still too unsure there: check that the logits are those of temperature 1 and that training converged"
    } else if temperature >= search.highest * 0.999 {
        "the network is still too sure there: check that labels and classes belong together and that these rows are like the training rows"
    } else {
        return Ok(());
    };
    Err(Error::Config(format!(
        "no temperature between {} and {} calibrates this network: the best is the end {temperature} (accuracy {percent:.1} %); {advice}",
        search.lowest, search.highest
    )))
}

#[cfg(test)]
#[path = "temperature_tests.rs"]
mod tests;
