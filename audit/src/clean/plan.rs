//! Which rows are removed, by the findings alone.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::copies::sets;
use super::options::{CleanFigures, CleanOptions};
use super::outputs::Outputs;
use super::removal::Removal;
use crate::error::AuditError;
use crate::kind::Kind;
use crate::review::{ReviewOptions, Reviewer};
use crate::revisit::{Files, Place, Revisit};
use crate::stored;
use crate::summary::AuditSummary;
use dismax::cancel::Cancel;
use dismax::error::{Error, Result};
use dismax::run::{Progress, Run};

/// A decision about each row of an audit.
#[derive(Debug)]
pub struct Cleaning {
    folder: PathBuf,
    summary: AuditSummary,
    options: CleanOptions,
    removed: HashMap<Place, Removal>,
    sets: u64,
}

impl Cleaning {
    /// Decides from the findings of the audit in `folder`; the audited files are not read yet.
    ///
    /// # Errors
    /// A folder that is no audit of this version, findings that it did not look for, a table that cannot be read, a
    /// kind that does not say which rows are copies of which.
    pub fn plan(folder: &Path, options: &CleanOptions, cancel: &Cancel) -> Result<Self> {
        if let Some(kind) = options.keep_one.iter().find(|kind| !Kind::COPIES.contains(kind)) {
            return Err(AuditError::NoCopies { kind: *kind }.into());
        }
        let summary = AuditSummary::read(folder)?;
        let looked_for = |kind| summary.looked_for(kind);
        options.drop.iter().try_for_each(|selection| selection.require(looked_for))?;
        let files = Files::of(folder, &summary);
        let review = ReviewOptions { baseline: None, accepted: options.accepted.clone() };
        let mut reviewer = Reviewer::open(&review, cancel)?;
        let mut removed: HashMap<Place, Removal> = HashMap::new();
        let mut copies: HashMap<Place, Removal> = HashMap::new();
        let mut pairs = Vec::new();
        stored::visit(folder, cancel, |finding| {
            if reviewer.of_stored(finding).accepted.is_some() {
                return Ok(());
            }
            let place = files.place(finding.file, finding.row)?;
            let because = |removals: &mut HashMap<Place, Removal>| {
                let removal = removals.entry(place).or_default();
                removal.digest = Some(finding.digest);
                removal.findings.push((finding.kind, finding.evidence.to_owned()));
            };
            if options.drop.iter().any(|selection| selection.has(finding.kind, finding.severity)) {
                because(&mut removed);
            } else if let (true, Some((file, row))) = (options.keep_one.contains(&finding.kind), finding.related) {
                pairs.push((place, files.place(file, row)?));
                because(&mut copies);
            }
            Ok(())
        })?;
        let mut with_one_kept = 0;
        for set in sets(&pairs) {
            let rest: Vec<Place> = set.into_iter().filter(|place| !removed.contains_key(place)).collect();
            let Some((first, others)) = rest.split_first() else { continue };
            with_one_kept += u64::from(!others.is_empty());
            for place in others {
                let copy = copies.remove(place).unwrap_or_default();
                removed.insert(*place, Removal { kept: Some(*first), ..copy });
            }
        }
        Ok(Self { folder: folder.to_path_buf(), summary, options: options.clone(), removed, sets: with_one_kept })
    }

    /// What will be kept and removed.
    pub fn figures(&self) -> CleanFigures {
        let mut by_kind = BTreeMap::new();
        for removal in self.removed.values() {
            let mut kinds: Vec<Kind> = removal.findings.iter().map(|(kind, _)| *kind).collect();
            kinds.dedup();
            kinds.into_iter().for_each(|kind| *by_kind.entry(kind).or_default() += 1);
        }
        let (rows, removed) = (self.summary.rows, self.removed.len() as u64);
        CleanFigures { rows, kept: rows.saturating_sub(removed), removed, by_kind, sets: self.sets }
    }

    /// Writes the rows that are kept to `kept` and the others to `removed`, in their order and with their columns;
    /// behind those of the removed rows stand columns that say why. Both files appear whole and together, or neither
    /// does.
    ///
    /// # Errors
    /// Rows that are not the audited ones any more, by their number or, for removed rows, their images; outputs that
    /// cannot be written; columns whose names are taken; [`Error::Cancelled`].
    pub fn write(&self, kept: &str, removed: &str, run: &mut Run<'_>) -> Result<CleanFigures> {
        let revisit = Revisit::open(&self.folder, &self.summary, &self.options.revisit)?;
        let mut outputs = Outputs::create(&revisit.dataset, (kept, removed), &self.options, &self.summary.inputs)?;
        let (mut rows, mut met) = (0, 0);
        for read in revisit.read(false)? {
            let (start, chunk, images) = read?;
            let count = chunk.record_batch.num_rows();
            let removals: Vec<Option<&Removal>> = (0..count as u64)
                .map(|row| self.removed.get(&Place { file: start.file, row: start.row + row }))
                .collect();
            for (row, removal) in removals.iter().enumerate() {
                let Some(removal) = removal else { continue };
                met += 1;
                removal.digest.as_ref().map_or(Ok(()), |digest| revisit.require_image(&chunk, &images, row, digest))?;
            }
            outputs.write(&chunk.record_batch, &removals)?;
            rows += count as u64;
            run.report(Progress { task: "cleaning", rows, of: Some(self.summary.rows), failed: 0 })?;
        }
        revisit.require_rows(rows)?;
        if met != self.removed.len() {
            let missing = self.removed.len() - met;
            let message = format!("{missing} of its findings are about rows that are not there; audit again");
            return Err(Error::data(self.folder.display(), message));
        }
        outputs.finish()?;
        Ok(self.figures())
    }
}
