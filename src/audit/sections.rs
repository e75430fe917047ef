//! From an audit's figures and findings to what the page shows of them.

use std::collections::BTreeSet;

use super::analysis::Analysis;
use super::collect::Collected;
use super::drift::{DriftTest, LARGE_PSI, MODERATE_PSI, Quantity};
use super::findings::{Evidence, Finding, Related};
use super::kind::{Kind, Severity};
use super::labels::{JointCell, LabelFigures};
use super::summary::AuditSummary;
use super::text::{count, counted, p_value, percent, shown};
use super::thumbnails::{Shown, Thumbnails};
use super::view::{Cell, Chart, Detail, HeatCell, Heatmap, Item, ModelView, Picture, Section, Table, Tile, Tone, View};
use crate::calibration::{Calibration, Estimate};
use crate::charts;
use crate::error::Result;

/// Most classes of a heat map; of more, those with the most estimated errors are shown.
const MOST_CLASSES: usize = 20;
/// Most rows of a table.
const MOST_ROWS: usize = 100;
/// Bins of the p-values' histogram.
const P_VALUE_BINS: usize = 20;
/// Bins of the scores' histogram.
const SCORE_BINS: usize = 40;
/// Kinds that the section on files shows.
const FILE_KINDS: [Kind; 10] = [
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
];
/// Most input files that the page lists.
const MOST_INPUTS: usize = 100;
/// Kinds whose image is of no use.
const BROKEN_KINDS: [Kind; 3] = [Kind::Undecodable, Kind::Truncated, Kind::Empty];
/// Kinds that the section on duplicates shows.
const DUPLICATE_KINDS: [Kind; 4] = [Kind::ExactDuplicate, Kind::NearDuplicate, Kind::Leaked, Kind::LeakedNear];

/// What sections are made of.
pub(super) struct Material<'a> {
    pub summary: &'a AuditSummary,
    pub analysis: &'a Analysis,
    pub evidence: Evidence<'a>,
    pub calibration: &'a Calibration,
    pub thumbnails: &'a mut Thumbnails,
    pub reference_thumbnails: Option<&'a mut Thumbnails>,
    /// Most thumbnails of a kind.
    pub top: usize,
    /// Why there are no labels, where none were read.
    pub no_labels: Option<&'a str>,
}

impl Material<'_> {
    /// The whole page.
    pub fn view(&mut self) -> Result<View> {
        let summary = self.summary;
        let sections = vec![
            self.unknown()?,
            self.labels()?,
            self.calibration()?,
            self.drift()?,
            self.files()?,
            self.duplicates()?,
            self.slices(),
        ];
        // Of thousands of files the first must do, or they would be most of the page.
        let all = |names: &[String]| {
            let rest = names.len().saturating_sub(MOST_INPUTS);
            let more = (rest > 0).then(|| format!("and {}", counted(rest as u64, "more file")));
            names.iter().take(MOST_INPUTS).map(|name| shown(name)).chain(more).collect::<Vec<_>>()
        };
        Ok(View {
            title: format!("Audit of {}", title_of(&summary.inputs)),
            version: summary.version.clone(),
            command: shown(&summary.command),
            inputs: all(&summary.inputs),
            reference: summary.reference.as_deref().map(all),
            model: ModelView {
                path: shown(&summary.model.path),
                digest: summary.model.digest.clone(),
                architecture: summary.model.architecture.clone(),
                classes: summary.model.classes.len() as u64,
            },
            rows: summary.rows,
            findings: summary.findings,
            verdict: verdict(summary),
            warnings: summary.warnings.iter().map(|warning| plain(warning)).collect(),
            tiles: tiles(summary, self.odd_rows()),
            sections,
        })
    }

    fn of_kind(&self, kind: Kind) -> &[Finding] {
        let findings = &self.analysis.findings;
        let start = findings.partition_point(|finding| finding.kind < kind);
        let end = findings.partition_point(|finding| finding.kind <= kind);
        findings.get(start..end).unwrap_or_default()
    }

    /// Thumbnails of the first findings of each kind, and how many there are in all.
    fn gallery(&mut self, kinds: &[Kind]) -> Result<(Vec<Item>, u64)> {
        let (mut items, mut all) = (Vec::new(), 0);
        for kind in kinds {
            let findings = self.of_kind(*kind);
            all += findings.len() as u64;
            let first: Vec<Finding> = findings.iter().take(self.top).copied().collect();
            for finding in first {
                items.push(self.item(&finding)?);
            }
        }
        Ok((items, all))
    }

    fn item(&mut self, finding: &Finding) -> Result<Item> {
        let row = self.evidence.row(finding)?;
        let own = self.thumbnails.get(finding.row as usize)?;
        let (file, number) = self.evidence.collected.place(finding.row as usize);
        let prediction = row.prediction;
        let predicted = prediction.map(|prediction| self.evidence.class(prediction.class));
        let label = self.evidence.label(&row);
        let caption = match finding.kind {
            Kind::Unknown => format!("looks like {}", predicted.unwrap_or_default()),
            Kind::LabelIssue => format!("{} or {}", label.unwrap_or_default(), predicted.unwrap_or_default()),
            kind => kind.title().to_owned(),
        };
        let mut details = Vec::new();
        details.extend(label.map(|label| Detail::new("Label", label)));
        details.extend(predicted.map(|class| Detail::new("Predicted", class)));
        details
            .extend(prediction.map(|prediction| Detail::new("Confidence", &format!("{:.3}", prediction.confidence))));
        details.extend(prediction.map(|prediction| Detail::new("p-value", &p_value(prediction.p_value))));
        if finding.kind != Kind::Unknown || self.summary.unknown.rejected > 0 {
            details.push(Detail::new("Severity", finding.severity.name()));
        }
        details.push(Detail { name: "Why", value: self.evidence.sentence(finding)? });
        details.extend(own.name.as_deref().map(|name| Detail::new("Path", name)));
        details.push(Detail::new("File", file));
        details.push(Detail::new("Row", &count(number)));
        let mut images = Vec::new();
        let Some(related) = finding.related else {
            images.push(Picture::new(own.jpeg.as_deref(), ""));
            return Ok(Item { images, caption: shown(&caption), details });
        };
        images.push(Picture::new(own.jpeg.as_deref(), &format!("row {}", count(number))));
        let other = match (related, &mut self.reference_thumbnails) {
            (Related::Audited(row), _) => self.thumbnails.get(row as usize)?,
            (Related::Reference(row), Some(thumbnails)) => thumbnails.get(row as usize)?,
            (Related::Reference(_), None) => Shown::default(),
        };
        if let Some((file, row)) = self.evidence.related(finding) {
            images.push(Picture::new(other.jpeg.as_deref(), &format!("row {}", count(row))));
            details.extend(other.name.as_deref().map(|name| Detail::new("Other path", name)));
            details.push(Detail::new("Other file", file));
            details.push(Detail::new("Other row", &count(row)));
        }
        Ok(Item { images, caption: shown(&caption), details })
    }

    fn unknown(&mut self) -> Result<Section> {
        let figures = &self.summary.unknown;
        let found = figures.rejected;
        let share = figures.out_of_distribution.map(|share| {
            format!(
                " About {} of the rows ({}) are of unknown kinds, found or not.",
                percent(share.value),
                interval(&share)
            )
        });
        let summary = match (figures.tested, found) {
            (0, _) => "No row could be scored, so nothing can be said of unknown images.".to_owned(),
            (_, 0) => format!(
                "No image is clearly unlike those that the model was calibrated on.{}",
                share.unwrap_or_default()
            ),
            _ => format!(
                "{} unlike those that the model was calibrated on; of these, {} are expected to be known after all.{}",
                are(found, "image"),
                percent(figures.fdr),
                share.unwrap_or_default()
            ),
        };
        let tone = if found > 0 { Tone::Warn } else { Tone::Good };
        let how = "Conformal p-values of the model's score against its calibration rows, selected by Benjamini and Hochberg (1995); the \
                   share is 1 minus Storey's estimate (2002) of the share of known images at lambda 0.5, with an interval that allows for the number of calibration rows.";
        let mut section = Section::new("unknown", "Unknown images", tone, summary, how);
        section.count = Some(found);
        if figures.tested > 0 {
            let mut counts = vec![0; P_VALUE_BINS];
            for prediction in self.evidence.collected.rows().filter_map(|row| row.prediction) {
                let bin = (prediction.p_value * P_VALUE_BINS as f64).ceil() as usize;
                if let Some(count) = counts.get_mut(bin.saturating_sub(1)) {
                    *count += 1;
                }
            }
            let first = counts.first().copied().unwrap_or(0) as f64 / figures.tested as f64;
            section.charts.push(Chart {
                title: "P-values".into(),
                svg: charts::p_values(&counts)?,
                alt: format!(
                    "Histogram of p-values. {} of the rows have one of at most 0.05; of rows like the calibration rows, 5 % would.",
                    percent(first)
                ),
            });
        }
        let (gallery, all) = self.gallery(&[Kind::Unknown])?;
        section.more = more(gallery.len(), all);
        section.gallery = gallery;
        if all == 0 {
            section.gallery = self.strangest()?;
            section.more = (!section.gallery.is_empty()).then(|| {
                "Shown are the images that are least like the calibration rows. None of them is a finding: as many as these look so \
                 strange by chance."
                    .into()
            });
        }
        Ok(section)
    }

    /// The images with the lowest scores, where none is unknown: there is something to look at all the same.
    fn strangest(&mut self) -> Result<Vec<Item>> {
        let rows = self.evidence.collected.rows().enumerate();
        let mut rows: Vec<(f64, f32, u32)> = rows
            .filter_map(|(row, record)| {
                let prediction = record.prediction?;
                Some((prediction.p_value, prediction.score, row as u32))
            })
            .collect();
        let order = |a: &(f64, f32, u32), b: &(f64, f32, u32)| {
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
        };
        if self.top > 0 && rows.len() > self.top {
            rows.select_nth_unstable_by(self.top - 1, order);
        }
        rows.truncate(self.top);
        rows.sort_by(order);
        let finding = |(_, score, row): (f64, f32, u32)| Finding {
            row,
            kind: Kind::Unknown,
            severity: Severity::Low,
            score: -f64::from(score),
            related: None,
        };
        rows.into_iter().map(|row| self.item(&finding(row))).collect()
    }

    fn labels(&mut self) -> Result<Section> {
        let how = "Confident learning (Northcutt et al. 2021): rows that are confidently of another class than their label says, as many of \
                   each pair of classes as the calibrated joint estimates. Unknown images are left out.";
        let Some(figures) = &self.summary.labels else {
            let why = match self.no_labels {
                Some(why) => format!("No labels were looked at: {}", plain(why)),
                None => "No row has both a label and a prediction.".into(),
            };
            return Ok(Section::new("labels", "Labels", Tone::Plain, why, how));
        };
        let summary = format!(
            "{} of {} suspected to be labelled wrongly; the joint estimates {}. The model agrees with {} of the labels ({}).",
            are(figures.suspects, "row"),
            count(figures.rows),
            counted(figures.estimated_wrong.round() as u64, "wrong label"),
            percent(figures.accuracy.value),
            interval(&figures.accuracy)
        );
        let tone = if figures.suspects > 0 { Tone::Warn } else { Tone::Good };
        let mut section = Section::new("labels", "Labels", tone, summary, how);
        section.count = Some(figures.suspects);
        section.heatmap = heatmap(figures, &self.summary.model.classes);
        let mut table = Table::new(
            "Noise by label",
            &[
                ("Label", false),
                ("Rows", true),
                ("Suspects", true),
                ("Estimated noise", true),
                ("95 % interval", false),
                ("Threshold", true),
            ],
        );
        for class in figures.classes.iter().take(MOST_ROWS) {
            table.rows.push(vec![
                Cell::text(&class.class),
                number(class.rows),
                number(class.suspects),
                class
                    .noise
                    .map_or_else(|| Cell::text("unknown"), |noise| Cell::number(percent(noise.value), noise.value)),
                Cell::text(&class.noise.as_ref().map(interval).unwrap_or_default()),
                Cell::number(format!("{:.3}", class.threshold), class.threshold),
            ]);
        }
        section.tables.push(table);
        let (gallery, all) = self.gallery(&[Kind::LabelIssue])?;
        section.more = more(gallery.len(), all);
        section.gallery = gallery;
        Ok(section)
    }

    fn calibration(&mut self) -> Result<Section> {
        let how = "Rows in 15 bins of equal width by confidence; ECE is the mean distance between confidence and accuracy, its interval a bootstrap \
                   over rows (95 %). A gap is the mean confidence minus the accuracy, with the accuracy's exact interval.";
        let Some(figures) = &self.summary.calibration else {
            let why = "Without labels nothing can be said of how often confidences are right.".to_owned();
            return Ok(Section::new("calibration", "Calibration on these rows", Tone::Plain, why, how));
        };
        let clear: Vec<_> = figures.groups.iter().filter(|group| group.is_clear()).collect();
        let sure = clear.iter().filter(|group| group.gap.value > 0.0).count() as u64;
        let summary = format!(
            "Confidences are off by {} on average (ECE, {}). Of {} classes and groups the model is clearly too sure of {} and too unsure of {}.",
            percent(figures.ece.value),
            interval(&figures.ece),
            count(figures.groups.len() as u64),
            count(sure),
            count(clear.len() as u64 - sure)
        );
        let tone = if figures.ece.interval.lower > 0.05 { Tone::Warn } else { Tone::Good };
        let mut section = Section::new("calibration", "Calibration on these rows", tone, summary, how);
        section.charts.push(Chart {
            title: "Reliability".into(),
            svg: charts::reliability_bins(&figures.reliability)?,
            alt: format!("Reliability diagram of {}: ECE {:.4}.", counted(figures.rows, "row"), figures.ece.value),
        });
        let mut table = Table::new(
            "By class and group",
            &[
                ("Divided by", false),
                ("Value", false),
                ("Rows", true),
                ("Accuracy", true),
                ("Confidence", true),
                ("Gap", true),
                ("95 % interval", false),
                ("Verdict", false),
            ],
        );
        for group in figures.groups.iter().take(MOST_ROWS) {
            let word = match group.is_clear() {
                true if group.gap.value > 0.0 => "too sure",
                true => "too unsure",
                false => "",
            };
            table.rows.push(vec![
                Cell::text(&group.by),
                Cell::text(&group.value),
                number(group.rows),
                Cell::number(percent(group.accuracy), group.accuracy),
                Cell::number(percent(group.confidence), group.confidence),
                Cell::number(points(group.gap.value), group.gap.value),
                Cell::text(&format!("{} to {}", points(group.gap.interval.lower), points(group.gap.interval.upper))),
                Cell::text(word),
            ]);
        }
        section.tables.push(table);
        Ok(section)
    }

    fn drift(&mut self) -> Result<Section> {
        let how = "Two-sample Kolmogorov-Smirnov tests of scores and confidences, a chi-square test of predicted classes, all tests together under \
                   Benjamini and Hochberg. The population stability index (PSI) says how large a difference is: from 0.1 moderate, from 0.25 large.";
        let Some(figures) = &self.summary.drift else {
            let why = "Too few rows could be scored to compare them with anything.".to_owned();
            return Ok(Section::new("drift", "Drift", Tone::Plain, why, how));
        };
        let against = match figures.against.as_str() {
            "reference" => "the reference",
            _ => "the model's calibration rows, of which only the scores are known",
        };
        let whole: Vec<&DriftTest> = figures.tests.iter().filter(|test| test.by.is_none()).collect();
        let found: Vec<&&DriftTest> = whole.iter().filter(|test| test.significant).collect();
        let worst = whole.iter().filter(|test| test.significant).map(|test| test.psi).fold(0.0, f64::max);
        let words: Vec<String> =
            found.iter().map(|test| format!("{} (PSI {:.3})", test.quantity.name(), test.psi)).collect();
        let groups = figures.tests.iter().filter(|test| test.by.is_some() && test.significant).count() as u64;
        let summary = format!(
            "Against {against}, {}.{}",
            match words.as_slice() {
                [] => "no difference is significant".to_owned(),
                words => format!("these differ significantly: {}", words.join(", ")),
            },
            match groups {
                0 => String::new(),
                groups => format!(" {} in groups are significant.", counted(groups, "difference")),
            }
        );
        let tone = match worst {
            worst if worst >= LARGE_PSI => Tone::Bad,
            worst if worst >= MODERATE_PSI => Tone::Warn,
            _ => Tone::Good,
        };
        let mut section = Section::new("drift", "Drift", tone, summary, how);
        section.charts.push(self.score_chart()?);
        let mut table = Table::new(
            "Comparisons",
            &[
                ("Divided by", false),
                ("Value", false),
                ("Quantity", false),
                ("Rows", true),
                ("Statistic", true),
                ("PSI", true),
                ("p-value", true),
                ("Verdict", false),
            ],
        );
        let mut tests: Vec<&DriftTest> = figures.tests.iter().collect();
        tests.sort_by(|a, b| a.by.is_some().cmp(&b.by.is_some()).then(b.psi.total_cmp(&a.psi)));
        for test in tests.into_iter().take(MOST_ROWS) {
            table.rows.push(vec![
                Cell::text(test.by.as_deref().unwrap_or("all rows")),
                Cell::text(test.value.as_deref().unwrap_or_default()),
                Cell::text(test.quantity.name()),
                number(test.rows),
                Cell::number(format!("{:.3}", test.statistic), test.statistic),
                Cell::number(format!("{:.3}", test.psi), test.psi),
                Cell::number(p_value(test.p_value), test.p_value),
                Cell::text(if test.significant { "significant" } else { "" }),
            ]);
        }
        section.tables.push(table);
        Ok(section)
    }

    fn score_chart(&self) -> Result<Chart> {
        let scores = |collected: &Collected| -> Vec<f32> {
            collected.rows().filter_map(|row| row.prediction).map(|prediction| prediction.score).collect()
        };
        let audited = scores(self.evidence.collected);
        let (reference, name) = match self.evidence.reference {
            Some(reference) => (scores(reference), "reference"),
            None => (self.calibration.scores.all().sorted().to_vec(), "calibration rows"),
        };
        let all = audited.iter().chain(&reference).copied().map(f64::from);
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        let range = match low < high {
            true => low..high,
            false if low.is_finite() => low - 0.5..low + 0.5,
            false => 0.0..1.0,
        };
        let histogram = |scores: &[f32]| {
            let mut counts = vec![0; SCORE_BINS];
            for score in scores {
                let share = (f64::from(*score) - range.start) / (range.end - range.start);
                if let Some(count) = counts.get_mut(((share * SCORE_BINS as f64) as usize).min(SCORE_BINS - 1)) {
                    *count += 1;
                }
            }
            counts
        };
        let score = self.calibration.score.name().to_uppercase();
        let (of_audited, of_reference) = (histogram(&audited), histogram(&reference));
        let x_name = format!("{score} (higher is more in-distribution)");
        let svg =
            charts::score_distributions(&x_name, range.clone(), [&of_audited, &of_reference], ["these rows", name])?;
        let test =
            self.summary.drift.as_ref().and_then(|drift| {
                drift.tests.iter().find(|test| test.by.is_none() && test.quantity == Quantity::Score)
            });
        let distance = test.map_or(String::new(), |test| {
            format!(" Their distributions are {:.3} apart (Kolmogorov-Smirnov).", test.statistic)
        });
        Ok(Chart {
            title: "Scores".into(),
            svg,
            alt: format!("Histograms of the score {score} of these rows and of the {name}.{distance}"),
        })
    }

    /// Rows whose image can be read and is odd.
    fn odd_rows(&self) -> u64 {
        let is_odd = |kind: &Kind| FILE_KINDS.contains(kind) && !BROKEN_KINDS.contains(kind);
        let rows: BTreeSet<u32> =
            self.analysis.findings.iter().filter(|finding| is_odd(&finding.kind)).map(|finding| finding.row).collect();
        rows.len() as u64
    }

    fn files(&mut self) -> Result<Section> {
        let summary = self.summary;
        let broken: u64 = BROKEN_KINDS.iter().map(|kind| summary.of(*kind)).sum();
        let odd = self.odd_rows();
        let text = format!("{} missing or cannot be decoded; {} odd.", are(broken, "image"), are(odd, "other image"));
        let tone = match (broken, odd) {
            (0, 0) => Tone::Good,
            (0, _) => Tone::Warn,
            _ => Tone::Bad,
        };
        let how = "What decoding says; format by the first bytes against the name's extension; size and sharpness (variance of the Laplacian) by robust \
                   deviations of their logarithms (median, median absolute deviation); light by the mean luma and its standard deviation.";
        let mut section = Section::new("files", "Broken and odd files", tone, text, how);
        section.count = Some(FILE_KINDS.iter().map(|kind| summary.of(*kind)).sum());
        let mut table = Table::new("Kinds", &[("Kind", false), ("Findings", true), ("Share of rows", true)]);
        for kind in FILE_KINDS {
            let found = summary.of(kind);
            let share = found as f64 / summary.rows.max(1) as f64;
            table.rows.push(vec![Cell::text(kind.title()), number(found), Cell::number(percent(share), share)]);
        }
        section.tables.push(table);
        let (gallery, all) = self.gallery(&FILE_KINDS)?;
        section.more = more(gallery.len(), all);
        section.gallery = gallery;
        Ok(section)
    }

    fn duplicates(&mut self) -> Result<Section> {
        let summary = self.summary;
        let [exact, near, leaked, leaked_near] = DUPLICATE_KINDS.map(|kind| summary.of(kind));
        let mut text =
            format!("{} an earlier one byte for byte, {} nearly.", repeats(exact, "row"), repeats(near, "row"));
        text.push_str(&match summary.duplicates.reference_images {
            Some(images) => format!(
                " {} in the reference byte for byte and {} nearly ({} compared): the two are not independent where there are any.",
                are(leaked, "row"),
                count(leaked_near),
                counted(images, "row of it")
            ),
            None => " Without --reference, leaks between datasets are not looked for.".to_owned(),
        });
        let tone = match (leaked + leaked_near, exact + near) {
            (0, 0) => Tone::Good,
            (0, _) => Tone::Warn,
            _ => Tone::Bad,
        };
        let how = "Exact duplicates by SHA-256. Near duplicates by a perceptual hash (pHash, 121 bits), found by multi-index hashing (Norouzi et al. 2012) and \
                   checked on small pictures; images of one tone are left out.";
        let mut section = Section::new("duplicates", "Duplicates", tone, text, how);
        section.count = Some(exact + near + leaked + leaked_near);
        let (gallery, all) = self.gallery(&DUPLICATE_KINDS)?;
        section.more = more(gallery.len(), all);
        section.gallery = gallery;
        Ok(section)
    }

    fn slices(&self) -> Section {
        let figures = &self.summary.slices;
        let how = "Each group's share of rows with a finding against that of all other rows: two proportions, or Fisher's exact test where rows are few; all \
                   tests together under Benjamini and Hochberg. Intervals are exact (95 %).";
        let summary = match (figures.by.is_empty(), figures.found) {
            (true, _) => "There is one file with one row group and no column to group by (--group-by, --time), so there is nothing to compare.".to_owned(),
            (_, 0) => format!("Findings pile up in none of the groups, by {}.", shown(&figures.by.join(", "))),
            (_, found) => format!("Findings pile up in {} of a group and a kind.", counted(found, "pair")),
        };
        let tone = if figures.found > 0 { Tone::Warn } else { Tone::Plain };
        let mut section = Section::new("slices", "Where findings pile up", tone, summary, how);
        section.count = None;
        if figures.slices.is_empty() {
            return section;
        }
        let mut table = Table::new(
            "Groups",
            &[
                ("Divided by", false),
                ("Value", false),
                ("Kind", false),
                ("Rows", true),
                ("Findings", true),
                ("Share", true),
                ("95 % interval", false),
                ("Elsewhere", true),
                ("p-value", true),
            ],
        );
        for slice in figures.slices.iter().take(MOST_ROWS) {
            table.rows.push(vec![
                Cell::text(&slice.by),
                Cell::text(&slice.value),
                Cell::text(slice.kind.title()),
                number(slice.rows),
                number(slice.findings),
                Cell::number(percent(slice.rate.value), slice.rate.value),
                Cell::text(&interval(&slice.rate)),
                Cell::number(percent(slice.rate_elsewhere), slice.rate_elsewhere),
                Cell::number(p_value(slice.p_value), slice.p_value),
            ]);
        }
        section.more = (figures.found > table.rows.len() as u64)
            .then(|| format!("{} of {} shown, the clearest.", table.rows.len(), count(figures.found)));
        section.tables.push(table);
        section
    }
}

/// A text that holds shown parts already: only cut where it is very long.
fn plain(text: &str) -> String {
    super::text::harmless(&super::text::clipped(text, 1000))
}

fn title_of(inputs: &[String]) -> String {
    match inputs {
        [] => "nothing".into(),
        [only] => shown(only),
        [first, rest @ ..] => format!("{} and {}", shown(first), counted(rest.len() as u64, "more file")),
    }
}

fn heatmap(figures: &LabelFigures, classes: &[String]) -> Option<Heatmap> {
    let wrong = |class: &str| -> f64 {
        let touches = |cell: &&JointCell| (cell.label == class) != (cell.class == class);
        figures.confusion.iter().filter(touches).map(|cell| cell.rows).sum()
    };
    let mut shown_classes: Vec<&String> = classes.iter().collect();
    if classes.len() > MOST_CLASSES {
        let mut by_errors: Vec<(&String, f64)> = classes.iter().map(|class| (class, wrong(class))).collect();
        by_errors.sort_by(|a, b| b.1.total_cmp(&a.1));
        let kept: std::collections::HashSet<&String> =
            by_errors.into_iter().take(MOST_CLASSES).map(|(class, _)| class).collect();
        shown_classes.retain(|class| kept.contains(class));
    }
    let counts: std::collections::HashMap<(&str, &str), f64> =
        figures.confusion.iter().map(|cell| ((cell.label.as_str(), cell.class.as_str()), cell.rows)).collect();
    let cells = shown_classes.iter().map(|label| {
        let total: f64 = figures.confusion.iter().filter(|cell| cell.label == **label).map(|cell| cell.rows).sum();
        let cell = |class: &&String| {
            let rows = counts.get(&(label.as_str(), class.as_str())).copied().unwrap_or(0.0);
            let share = if total > 0.0 { rows / total } else { 0.0 };
            HeatCell {
                text: count(rows as u64),
                heat: share,
                tip: format!(
                    "{} of the rows labelled {} are predicted as {}",
                    percent(share),
                    shown(label),
                    shown(class)
                ),
            }
        };
        shown_classes.iter().map(cell).collect()
    });
    let names = || shown_classes.iter().map(|class| shown(class)).collect();
    Some(Heatmap {
        title: match shown_classes.len() < classes.len() {
            true => format!(
                "Labels and predictions ({} of {} classes: those with the most differences)",
                shown_classes.len(),
                classes.len()
            ),
            false => "Labels and predictions".into(),
        },
        row_title: "label".into(),
        column_title: "predicted".into(),
        cells: cells.collect(),
        rows: names(),
        columns: names(),
    })
}

fn verdict(summary: &AuditSummary) -> [String; 3] {
    let rows = summary.rows.max(1) as f64;
    let high = summary.severities.get(&Severity::High).copied().unwrap_or(0);
    let first = match summary.findings {
        0 => format!("Nothing was found in {}.", counted(summary.rows, "row")),
        _ => format!(
            "{} of {} ({}) have a finding; of {}, {} {} serious.",
            count(summary.rows_with_findings),
            counted(summary.rows, "row"),
            percent(summary.rows_with_findings as f64 / rows),
            counted(summary.findings, "finding"),
            count(high),
            if high == 1 { "is" } else { "are" }
        ),
    };
    let broken: u64 = BROKEN_KINDS.iter().map(|kind| summary.of(*kind)).sum();
    let copies = summary.of(Kind::ExactDuplicate) + summary.of(Kind::NearDuplicate);
    let leaked = summary.of(Kind::Leaked) + summary.of(Kind::LeakedNear);
    let unknown = match summary.unknown.out_of_distribution {
        Some(share) => format!(
            "About {} of the images are of kinds that the model does not know ({})",
            percent(share.value),
            interval(&share)
        ),
        None => "Nothing can be said of unknown images".into(),
    };
    let leaks = if leaked > 0 { format!(", {} also in the reference", are(leaked, "image")) } else { String::new() };
    let second = format!(
        "{unknown}; {} broken or missing, {} an earlier one{leaks}.",
        are(broken, "image"),
        repeats(copies, "row")
    );
    let labels = match (&summary.labels, &summary.calibration) {
        (Some(labels), Some(calibration)) => format!(
            "About {} of the labels are wrong by estimate, and confidences are off by {}",
            percent(labels.estimated_wrong / labels.rows.max(1) as f64),
            percent(calibration.ece.value)
        ),
        _ => "There are no labels to check".into(),
    };
    let drift = match &summary.drift {
        Some(drift) => match drift.tests.iter().find(|test| test.by.is_none() && test.quantity == Quantity::Score) {
            Some(test) if test.significant && test.psi >= LARGE_PSI => "; the scores have drifted far",
            Some(test) if test.significant && test.psi >= MODERATE_PSI => "; the scores have drifted",
            Some(test) if test.significant => "; the scores have drifted a little",
            _ => "; the scores have not drifted",
        },
        None => "",
    };
    [first, second, format!("{labels}{drift}.")]
}

fn tiles(summary: &AuditSummary, odd: u64) -> Vec<Tile> {
    let tile = |name: &str, value: String, note: String, tone: Tone| Tile { name: name.into(), value, note, tone };
    let mut tiles = Vec::new();
    if let Some(share) = summary.unknown.out_of_distribution {
        let tone = if summary.unknown.rejected > 0 { Tone::Warn } else { Tone::Good };
        let note = format!("{} found, 95 %: {}", count(summary.unknown.rejected), interval(&share));
        tiles.push(tile("Unknown images", percent(share.value), note, tone));
    }
    if let Some(labels) = &summary.labels {
        let tone = if labels.suspects > 0 { Tone::Warn } else { Tone::Good };
        let share = percent(labels.estimated_wrong / labels.rows.max(1) as f64);
        tiles.push(tile("Wrong labels", share, counted(labels.suspects, "suspect"), tone));
    }
    if let Some(calibration) = &summary.calibration {
        let tone = if calibration.ece.interval.lower > 0.05 { Tone::Warn } else { Tone::Good };
        let note = format!("95 %: {}", interval(&calibration.ece));
        tiles.push(tile("Calibration error", percent(calibration.ece.value), note, tone));
    }
    let broken: u64 = BROKEN_KINDS.iter().map(|kind| summary.of(*kind)).sum();
    let tone = if broken > 0 { Tone::Bad } else { Tone::Good };
    tiles.push(tile("Broken files", count(broken), format!("{} odd", are(odd, "other image")), tone));
    let exact = summary.of(Kind::ExactDuplicate);
    let tone = if exact > 0 { Tone::Warn } else { Tone::Good };
    let near = format!("and {} nearly", count(summary.of(Kind::NearDuplicate)));
    tiles.push(tile("Repeated rows", count(exact), near, tone));
    if summary.duplicates.reference_images.is_some() {
        let leaked = summary.of(Kind::Leaked);
        let near = summary.of(Kind::LeakedNear);
        let tone = if leaked + near > 0 { Tone::Bad } else { Tone::Good };
        tiles.push(tile("Leaked images", count(leaked), format!("and {} nearly", count(near)), tone));
    }
    if let Some(test) = summary.drift.iter().flat_map(|drift| &drift.tests).find(|test| test.by.is_none()) {
        let tone = match (test.significant, test.psi) {
            (true, psi) if psi >= LARGE_PSI => Tone::Bad,
            (true, psi) if psi >= MODERATE_PSI => Tone::Warn,
            _ => Tone::Good,
        };
        let note = format!("PSI of the {}, p-value {}", test.quantity.name(), p_value(test.p_value));
        tiles.push(tile("Drift", format!("{:.3}", test.psi), note, tone));
    }
    tiles
}

fn interval(estimate: &Estimate) -> String {
    format!("{} to {}", percent(estimate.interval.lower), percent(estimate.interval.upper))
}

/// A difference of shares in percentage points.
fn points(difference: f64) -> String {
    format!("{:+.1}", 100.0 * difference)
}

fn number(value: u64) -> Cell {
    Cell::number(count(value), value as f64)
}

/// `1 image is`, `3 images are`.
fn are(number: u64, thing: &str) -> String {
    format!("{} {}", counted(number, thing), if number == 1 { "is" } else { "are" })
}

/// `1 row repeats`, `3 rows repeat`.
fn repeats(number: u64, thing: &str) -> String {
    format!("{} {}", counted(number, thing), if number == 1 { "repeats" } else { "repeat" })
}

fn more(shown: usize, all: u64) -> Option<String> {
    (all > shown as u64)
        .then(|| format!("{} of {} shown; all stand in findings.parquet.", count(shown as u64), count(all)))
}
