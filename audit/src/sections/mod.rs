//! From an audit's figures and findings to what the page shows of them.

mod material;
mod verdict;
pub(super) mod words;

pub(super) use self::material::{MAX_ROWS, Material};
use self::verdict::verdict;
use self::words::plain;
use super::checks;
use super::history::History;
use super::kind::Kind;
use super::summary::AuditSummary;
use super::text::{counted, shown};
use super::trend::{self, PastAudit};
use super::view::{ModelView, View};
use dismax::error::Result;

/// Most input files that the page lists.
const MAX_INPUTS: usize = 100;

/// The whole page; `history` ends with this audit.
pub(super) fn view(summary: &AuditSummary, material: &mut Material<'_>, history: Option<&History>) -> Result<View> {
    let mut sections = checks::sections(material)?;
    sections.extend(history.and_then(|history| trend::section(&past(history))));
    // Of thousands of files the first must do, or they would be most of the page.
    let all = |names: &[String]| {
        let rest = names.len().saturating_sub(MAX_INPUTS);
        let more = (rest > 0).then(|| format!("and {}", counted(rest as u64, "more file")));
        names.iter().take(MAX_INPUTS).map(|name| shown(name)).chain(more).collect::<Vec<_>>()
    };
    Ok(View {
        title: format!("Audit of {}", title_of(&summary.inputs)),
        version: summary.version.clone(),
        command: shown(&summary.command),
        inputs: all(&summary.inputs),
        reference: summary.reference.as_deref().map(all),
        model: summary.model.as_ref().map(ModelView::of),
        rows: summary.rows,
        findings: summary.findings,
        verdict: verdict(summary),
        warnings: summary.warnings.iter().map(|warning| plain(warning)).collect(),
        tiles: checks::tiles(material),
        sections,
    })
}

fn past(history: &History) -> Vec<PastAudit> {
    let audits = history.entries.iter().map(|entry| PastAudit {
        // The day will do.
        when: entry.time.chars().take_while(|c| *c != 'T').collect(),
        kinds: Kind::ALL.into_iter().filter_map(|kind| Some((kind, entry.of_kind(kind)?))).collect(),
    });
    audits.collect()
}

fn title_of(inputs: &[String]) -> String {
    match inputs {
        [] => "nothing".into(),
        [only] => shown(only),
        [first, rest @ ..] => format!("{} and {}", shown(first), counted(rest.len() as u64, "more file")),
    }
}
