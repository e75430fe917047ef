//! Files that cannot be used, and images that look odd.

use super::rows::looks;
use crate::collect::Collected;
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::quality::{self, QualityFigures};
use dismax::error::RowErrorCode;

pub(super) fn broken_findings(collected: &Collected) -> Vec<Finding> {
    let rows = collected.rows().enumerate();
    rows.filter_map(|(row, record)| {
        let (kind, severity) = match record.error {
            Some(RowErrorCode::NullImage | RowErrorCode::EmptyImage) => (Kind::Empty, Severity::High),
            Some(_) if record.cut_off => (Kind::Truncated, Severity::High),
            Some(_) => (Kind::Undecodable, Severity::High),
            None => {
                let format = record.look?.format;
                record.promised.zip(format).filter(|(promised, format)| promised != format)?;
                (Kind::MislabelledFormat, Severity::Low)
            }
        };
        Some(Finding { row: row as u32, kind, severity, score: 1.0, related: None })
    })
    .collect()
}

/// Images whose size, tone or sharpness is far from what the others have.
pub(super) fn odd_findings(collected: &Collected) -> (QualityFigures, impl Iterator<Item = Finding>) {
    let (figures, odd) = quality::find(looks(collected));
    let finding = |(row, kind, score)| Finding {
        row,
        kind,
        severity: match kind {
            Kind::NearBlack | Kind::NearWhite => Severity::High,
            Kind::NearUniform => Severity::Medium,
            _ => Severity::Low,
        },
        score,
        related: None,
    };
    (figures, odd.into_iter().map(finding))
}
