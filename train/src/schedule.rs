//! Learning rates over a training.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use dismax::error::{Error, Result};

/// How the learning rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The reference's: a tenth of it after 1/2, 2/3 and 5/6 of the epochs (150, 200, 250 of 300).
    MultiStep,
    /// Half a cosine from the peak to 0 (arXiv 1608.03983 without restarts).
    Cosine,
    /// Up in a straight line for the first quarter, then half a cosine to 0: short trainings (arXiv 1708.07120).
    OneCycle,
}

/// Share of the steps in which [`Schedule::OneCycle`] rises.
const WARM_UP: f64 = 0.25;

impl Schedule {
    /// All schedules.
    pub const ALL: [Self; 3] = [Self::MultiStep, Self::Cosine, Self::OneCycle];

    /// Name in configurations and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MultiStep => "multi-step",
            Self::Cosine => "cosine",
            Self::OneCycle => "one-cycle",
        }
    }

    /// Learning rate of step `step` of `steps` (from 0), as a share of the peak, in `[0, 1]`.
    pub fn factor(self, step: usize, steps: usize) -> f64 {
        let done = step as f64 / steps.max(1) as f64;
        let falling = |share: f64| 0.5 * (1.0 + (PI * share).cos());
        match self {
            Self::MultiStep => {
                let drops = [1.0 / 2.0, 2.0 / 3.0, 5.0 / 6.0].iter().filter(|&&at| done >= at).count();
                0.1f64.powi(drops as i32)
            }
            Self::Cosine => falling(done),
            // The first step is already above 0: a step with rate 0 would be lost.
            Self::OneCycle if done < WARM_UP => ((step + 1) as f64 / (WARM_UP * steps as f64)).min(1.0),
            Self::OneCycle => falling((done - WARM_UP) / (1.0 - WARM_UP)),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|schedule| schedule.name() == text).ok_or_else(|| {
            Error::Config(format!("unknown schedule {text:?}; choose one of multi-step, cosine, one-cycle"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multi_step_is_the_references() {
        let at = |epoch: usize| Schedule::MultiStep.factor(epoch * 100, 300 * 100);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(at(0), 1.0) && close(at(149), 1.0));
        assert!(close(at(150), 0.1) && close(at(199), 0.1));
        assert!(close(at(200), 0.01) && close(at(250), 0.001) && close(at(299), 0.001));
    }

    #[test]
    fn one_cycle_rises_peaks_once_and_falls_to_nothing() {
        let factors: Vec<f64> = (0..1000).map(|step| Schedule::OneCycle.factor(step, 1000)).collect();
        assert!(factors[0] > 0.0 && factors[0] < 0.01);
        assert!((factors[249] - 1.0).abs() < 1e-9);
        assert!(factors[..250].windows(2).all(|pair| pair[0] < pair[1]));
        assert!(factors[250..].windows(2).all(|pair| pair[0] > pair[1]));
        assert!(factors[999] < 1e-4);
    }

    #[test]
    fn every_step_of_a_short_run_has_a_rate() {
        for schedule in Schedule::ALL {
            for steps in 1..6 {
                assert!((0..steps).all(|step| (0.0..=1.0).contains(&schedule.factor(step, steps))));
                assert!(schedule.factor(0, steps) > 0.0, "{schedule} with {steps} steps");
            }
        }
    }
}
