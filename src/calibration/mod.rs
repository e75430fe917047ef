//! What is fitted on held-out in-distribution rows after training: the temperature and the thresholds. Pure arithmetic
//! on slices.
//!
//! - [`temperature`]: one scalar that makes the probabilities honest ([`fit_temperature`]).
//! - [`conformal`]: p-values and thresholds from the calibration rows' scores ([`ConformalScores`]).
//! - [`mondrian`]: the same per predicted class ([`MondrianScores`]).
//! - [`fdr`]: which of many p-values to reject ([`benjamini_hochberg`]).
//!
//! Scores are in-distribution scores at temperature 1 ([`crate::score`]), so the fitted temperature never moves a
//! threshold.

pub mod conformal;
pub mod fdr;
pub mod mondrian;
pub mod record;
pub mod temperature;

pub use conformal::{ConformalScores, Verdict, rows_to_flag};
pub use fdr::benjamini_hochberg;
pub use mondrian::MondrianScores;
pub use record::{Calibrated, Calibration, CalibrationOptions, CalibrationScores, Estimate};
pub use temperature::{Objective, Selection, TemperatureFit, TemperatureSearch, fit_temperature};
