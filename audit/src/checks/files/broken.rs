//! Images that cannot be used, and files that are not what their names say.

use crate::collect::Collected;
use crate::evidence::Evidence;
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::text::shown;
use dismax::error::RowErrorCode;

pub(super) fn findings(collected: &Collected) -> Vec<Finding> {
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

/// What speaks for such a finding.
pub(super) fn sentence(finding: &Finding, evidence: &Evidence<'_>) -> String {
    let row = evidence.row(finding);
    let message = shown(evidence.collected.message(finding.row as usize));
    match finding.kind {
        Kind::Truncated => format!("The bytes end before the image does: {message}."),
        Kind::Empty if row.error == Some(RowErrorCode::NullImage) => "The image is null.".into(),
        Kind::Empty => "The image has no bytes.".into(),
        Kind::MislabelledFormat => {
            let found = row.look.and_then(|look| look.format).expect("formats of bytes are compared");
            let promised = row.promised.expect("with those of names");
            format!("The bytes are {}, the name says {}.", found.name(), promised.name())
        }
        _ => {
            let code = row.error.expect("an image that cannot be used has an error").as_str();
            let colon = if message.is_empty() { "" } else { ": " };
            format!("The image cannot be used ({code}){colon}{message}.")
        }
    }
}
