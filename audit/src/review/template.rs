//! A file of acceptances to begin with.

use std::collections::HashSet;
use std::path::Path;

use super::reviewer::{ReviewOptions, Reviewer};
use crate::text::shown;
use crate::{digest, stored};
use dismax::cancel::Cancel;
use dismax::error::{Error, Result};

/// The findings of the audit in `folder` that count, as a file of [`Acceptances`](crate::Acceptances) to be edited:
/// each finding once, without who, why and until. Where `review` says nothing about an earlier audit or about
/// acceptances, those count with which the audit was made.
///
/// # Errors
/// A table that cannot be read, [`Error::Cancelled`].
pub fn acceptance_template(folder: &Path, review: &ReviewOptions, cancel: &Cancel) -> Result<String> {
    let fault = |error: String| Error::Internal(format!("a file of acceptances: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let columns = ["image_digest", "kind", "file", "row", "who", "why", "until", "evidence"];
    writer.write_record(columns).map_err(|error| fault(error.to_string()))?;
    let mut reviewer = Reviewer::open(review, cancel)?;
    let mut seen = HashSet::new();
    stored::visit(folder, cancel, |finding| {
        if reviewer.of_stored(finding).counts() && seen.insert((finding.kind, finding.digest)) {
            let (digest, row) = (digest::hex(&finding.digest), finding.row.to_string());
            let fields = [&digest, finding.kind.name(), &shown(finding.file), &row, "", "", "", finding.evidence];
            writer.write_record(fields).map_err(|error| fault(error.to_string()))?;
        }
        Ok(())
    })?;
    let bytes = writer.into_inner().map_err(|error| fault(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| fault(error.to_string()))
}
