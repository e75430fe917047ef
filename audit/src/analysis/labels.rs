//! Labels that are probably wrong.

use super::rows::predictions;
use crate::collect::{Collected, Prediction};
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::labels::{self, LabelFigures, LabelledRow};
use dismax::error::Result;

/// Unknown images have no right label among the model's classes, so they are left out.
pub(super) fn find_labels(
    collected: &Collected,
    classes: &[String],
    is_unknown: impl Fn(&Prediction) -> bool,
    findings: &mut Vec<Finding>,
) -> Result<Option<LabelFigures>> {
    let labelled: Vec<LabelledRow> = predictions(collected)
        .filter(|(_, _, prediction)| !is_unknown(prediction))
        .filter_map(|(row, record, prediction)| {
            let (label_probability, top) = (record.label_probability, &prediction.top);
            Some(LabelledRow { row, label: record.label?, label_probability, top })
        })
        .collect();
    let Some((figures, suspects)) = labels::find(&labelled, classes)? else { return Ok(None) };
    findings.extend(suspects.into_iter().map(|suspect| Finding {
        row: suspect.row,
        kind: Kind::LabelIssue,
        severity: match suspect.margin {
            margin if margin >= 0.9 => Severity::High,
            margin if margin >= 0.5 => Severity::Medium,
            _ => Severity::Low,
        },
        score: suspect.margin.into(),
        related: None,
    }));
    Ok(Some(figures))
}
