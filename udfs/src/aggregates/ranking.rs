//! Figures of how a score ranks rows. They are exact, so all scores are kept: 8 bytes for each row.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;
use dismax::metrics::Roc;

use super::arguments::{column, number};
use crate::models::external;

#[derive(Debug, Clone, Copy)]
pub(super) enum Figure {
    Auroc,
    AveragePrecision,
    FprAtTpr(f64),
}

#[derive(Debug)]
pub(super) struct Ranking {
    figure: Figure,
    positive: Vec<f64>,
    negative: Vec<f64>,
}

impl Ranking {
    pub fn new(figure: Figure) -> Self {
        Self { figure, positive: Vec::new(), negative: Vec::new() }
    }
}

impl Accumulator for Ranking {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let positive = column(values, 0)?.as_boolean();
        let score = number(values, 1, &DataType::Float64)?;
        let score = score.as_primitive::<Float64Type>();
        for (positive, score) in positive.iter().zip(score) {
            match (positive, score) {
                (_, Some(score)) if score.is_nan() => {
                    return exec_err!(
                        "a score is NaN, which has no rank; leave such rows out with WHERE NOT isnan(score)"
                    );
                }
                (Some(true), Some(score)) => self.positive.push(score),
                (Some(false), Some(score)) => self.negative.push(score),
                _ => {}
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.positive.is_empty() || self.negative.is_empty() {
            return Ok(ScalarValue::Float64(None));
        }
        let roc = Roc::of_scores(&self.positive, &self.negative).map_err(external)?;
        Ok(ScalarValue::Float64(Some(match self.figure {
            Figure::Auroc => roc.auroc(),
            Figure::AveragePrecision => roc.average_precision(),
            Figure::FprAtTpr(tpr) => roc.fpr_at_tpr(tpr),
        })))
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.positive.capacity() + self.negative.capacity()) * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |scores: &mut Vec<f64>| -> Result<ScalarValue> {
            let values: ArrayRef = Arc::new(Float64Array::from(std::mem::take(scores)));
            let item = Arc::new(Field::new_list_field(DataType::Float64, true));
            let offsets = OffsetBuffer::from_lengths([values.len()]);
            Ok(ScalarValue::List(Arc::new(ListArray::try_new(item, offsets, values, None)?)))
        };
        Ok(vec![list(&mut self.positive)?, list(&mut self.negative)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (part, scores) in [&mut self.positive, &mut self.negative].into_iter().enumerate() {
            for list in column(states, part)?.as_list::<i32>().iter().flatten() {
                scores.extend(list.as_primitive::<Float64Type>().values());
            }
        }
        Ok(())
    }
}
