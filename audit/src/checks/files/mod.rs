//! Images that cannot be read or are odd.

mod broken;
mod odd;

use std::collections::BTreeSet;

pub use self::odd::{QualityFigures, RobustScale};
use super::check::{About, Check, Found};
use super::inputs::Inputs;
use super::rows::looks;
use crate::evidence::{Description, Evidence};
use crate::findings::Finding;
use crate::kind::{Kind, Severity};
use crate::sections::Material;
use crate::sections::words::{are, number};
use crate::text::{count, percent};
use crate::view::{Cell, Section, Table, Tile, Tone};
use dismax::error::Result;

/// The check.
pub(super) struct Files;

const ABOUT: About = About {
    id: "files",
    title: "Broken and odd files",
    question: "Which images cannot be used, and which look odd among the others?",
    how: "What decoding says; format by the first bytes against the name's extension; size and sharpness (variance of \
          the Laplacian, Pech-Pacheco et al. 2000) by robust deviations of their logarithms (median, median absolute \
          deviation); light by the mean luma and its standard deviation; colour by the mean difference of the largest \
          and the smallest channel, where most images have some.",
    needs: &[],
    kinds: &[
        Kind::Undecodable,
        Kind::Truncated,
        Kind::Empty,
        Kind::MislabelledFormat,
        Kind::NearBlack,
        Kind::NearWhite,
        Kind::NearUniform,
        Kind::Blurred,
        Kind::ExtremeSize,
        Kind::ExtremeAspect,
        Kind::Grey,
    ],
};

impl Check for Files {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn look(&self, inputs: &mut Inputs<'_>, found: &mut Found) -> Result<()> {
        found.looked_for.extend(ABOUT.kinds);
        found.findings.extend(broken::findings(inputs.collected));
        let (figures, odd) = odd::find(looks(inputs.collected));
        found.findings.extend(odd.into_iter().map(|(row, kind, score)| Finding {
            row,
            kind,
            severity: match kind {
                Kind::NearBlack | Kind::NearWhite => Severity::High,
                Kind::NearUniform => Severity::Medium,
                _ => Severity::Low,
            },
            score,
            related: None,
        }));
        found.figures.insert(figures);
        Ok(())
    }

    fn describe(&self, finding: &Finding, evidence: &Evidence<'_>) -> Description {
        let sentence = match finding.kind {
            Kind::Truncated | Kind::Empty | Kind::Undecodable | Kind::MislabelledFormat => {
                broken::sentence(finding, evidence)
            }
            _ => odd::sentence(finding, evidence),
        };
        Description::new(finding.kind, sentence)
    }

    fn section(&self, material: &mut Material<'_>) -> Result<Option<Section>> {
        let broken: u64 = Kind::BROKEN.iter().map(|kind| material.of(*kind)).sum();
        let odd = odd_rows(material);
        let text = format!("{} missing or cannot be decoded; {} odd.", are(broken, "image"), are(odd, "other image"));
        let tone = match (broken, odd) {
            (0, 0) => Tone::Good,
            (0, _) => Tone::Warn,
            _ => Tone::Bad,
        };
        let mut section = ABOUT.section(tone, text);
        section.count = Some(ABOUT.kinds.iter().map(|kind| material.of(*kind)).sum());
        let rows = material.evidence.collected.len().max(1) as f64;
        let mut table = Table::new("Kinds", &[("Kind", false), ("Findings", true), ("Share of rows", true)]);
        for kind in ABOUT.kinds {
            let found = material.of(*kind);
            let share = found as f64 / rows;
            table.rows.push(vec![Cell::text(kind.title()), number(found), Cell::number(percent(share), share)]);
        }
        section.tables.push(table);
        material.show(&mut section, ABOUT.kinds)?;
        Ok(Some(section))
    }

    fn tiles(&self, material: &Material<'_>) -> Vec<Tile> {
        let broken: u64 = Kind::BROKEN.iter().map(|kind| material.of(*kind)).sum();
        let tone = if broken > 0 { Tone::Bad } else { Tone::Good };
        let note = format!("{} odd", are(odd_rows(material), "other image"));
        vec![Tile::new("Broken files", count(broken), note, tone)]
    }
}

/// Rows whose image can be read and is odd.
fn odd_rows(material: &Material<'_>) -> u64 {
    let is_odd = |kind: &Kind| ABOUT.kinds.contains(kind) && !Kind::BROKEN.contains(kind);
    let odd = material.findings.iter().filter(|finding| is_odd(&finding.kind));
    odd.map(|finding| finding.row).collect::<BTreeSet<u32>>().len() as u64
}
