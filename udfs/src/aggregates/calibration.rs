//! Calibration error and Brier score.

use std::mem::size_of_val;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;
use dismax::metrics::ReliabilitySums;

use super::arguments::{column, number};
use crate::models::external;

#[derive(Debug)]
pub(super) struct Ece {
    sums: ReliabilitySums,
    bins: usize,
}

impl Ece {
    pub fn try_new(bins: usize) -> Result<Self> {
        Ok(Self { sums: ReliabilitySums::equal_width(bins).map_err(external)?, bins })
    }
}

impl Accumulator for Ece {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let correct = column(values, 0)?.as_boolean();
        let confidence = number(values, 1, &DataType::Float64)?;
        let confidence = confidence.as_primitive::<Float64Type>();
        for (correct, confidence) in correct.iter().zip(confidence) {
            if let (Some(correct), Some(confidence)) = (correct, confidence) {
                self.sums.add(confidence, correct).map_err(external)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let ece = (self.sums.rows() > 0).then(|| self.sums.finish().ece());
        Ok(ScalarValue::Float64(ece))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bins * 32
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let parts = self.sums.parts();
        let list = |values: Vec<ScalarValue>, data_type| {
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &data_type))
        };
        let whole = |number: u64| ScalarValue::UInt64(Some(number));
        Ok(vec![
            list(parts.iter().map(|part| whole(part.0)).collect(), DataType::UInt64),
            list(parts.iter().map(|part| ScalarValue::Float64(Some(part.1))).collect(), DataType::Float64),
            list(parts.iter().map(|part| whole(part.2)).collect(), DataType::UInt64),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [rows, confidence, correct] = [0, 1, 2].map(|part| column(states, part).map(|part| part.as_list::<i32>()));
        let (rows, confidence, correct) = (rows?, confidence?, correct?);
        for state in (0..rows.len()).filter(|state| rows.is_valid(*state)) {
            let (rows, confidence, correct) = (rows.value(state), confidence.value(state), correct.value(state));
            let whole = |values: &ArrayRef| values.as_primitive::<UInt64Type>().values().to_vec();
            let confidence = confidence.as_primitive::<Float64Type>().values();
            let parts = whole(&rows).into_iter().zip(confidence).zip(whole(&correct));
            let parts: Vec<(u64, f64, u64)> = parts.map(|((rows, sum), correct)| (rows, *sum, correct)).collect();
            self.sums.merge(&parts).map_err(external)?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Brier {
    rows: u64,
    sum: f64,
}

impl Accumulator for Brier {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let positive = column(values, 0)?.as_boolean();
        let probability = number(values, 1, &DataType::Float64)?;
        let probability = probability.as_primitive::<Float64Type>();
        for (positive, probability) in positive.iter().zip(probability) {
            if let (Some(positive), Some(probability)) = (positive, probability) {
                if !(0.0..=1.0).contains(&probability) {
                    return exec_err!("brier: the probability {probability} is not in [0, 1]");
                }
                self.rows += 1;
                self.sum += (probability - f64::from(u8::from(positive))).powi(2);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64((self.rows > 0).then(|| self.sum / self.rows as f64)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::UInt64(Some(self.rows)), ScalarValue::Float64(Some(self.sum))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.rows += column(states, 0)?.as_primitive::<UInt64Type>().iter().flatten().sum::<u64>();
        self.sum += column(states, 1)?.as_primitive::<Float64Type>().iter().flatten().sum::<f64>();
        Ok(())
    }
}
