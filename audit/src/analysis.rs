//! From the records of a pass to findings and figures.

use std::collections::HashMap;
use std::sync::Arc;

use super::collect::{Collected, Look, Prediction, Row};
use super::confidence::{self, CalibrationFigures, ConfidenceGap, GapSums, Judged};
use super::drift::{self, DriftFigures, DriftTest, Numbers, Quantity};
use super::duplicates::{self, Digests, DuplicateFigures};
use super::findings::{self, Finding, Related};
use super::kind::{Kind, Severity};
use super::labels::{self, LabelFigures, LabelledRow};
use super::options::AuditOptions;
use super::pictures::Pictures;
use super::quality::{self, QualityFigures};
use super::slices::{self, Division, SliceFigures};
use super::text::{counted, percent};
use super::thumbnails::Thumbnails;
use super::unknown::{self, UnknownFigures};
use dismax::calibration::Calibration;
use dismax::cancel::Cancel;
use dismax::error::{Result, RowErrorCode};
use dismax::metrics::share_interval;

/// Rows that a group has at least to be compared with the reference or to have its calibration looked at.
const LEAST_GROUP: u64 = 30;
/// Most groups of a column that are looked at: the largest.
const MOST_GROUPS: usize = 100;
/// Labels at least, before it is said that they look trained on.
const LEAST_LABELS: u64 = 100;
/// Everything that was found out.
#[derive(Debug)]
pub(super) struct Analysis {
    /// Sorted.
    pub findings: Vec<Finding>,
    pub unknown: UnknownFigures,
    pub labels: Option<LabelFigures>,
    pub calibration: Option<CalibrationFigures>,
    pub drift: Option<DriftFigures>,
    pub quality: QualityFigures,
    pub duplicates: DuplicateFigures,
    pub slices: SliceFigures,
    pub warnings: Vec<String>,
}

/// Rows divided by file, row group or a column.
pub(super) struct OwnDivision {
    pub by: String,
    pub values: Vec<String>,
    pub codes: Vec<u32>,
}

/// Analyses what a pass collected.
#[expect(clippy::too_many_arguments, reason = "what was collected of both datasets, and what it is judged by")]
pub(super) fn analyse(
    collected: &Collected,
    reference: Option<&Collected>,
    row_groups: &HashMap<Arc<str>, Vec<u64>>,
    classes: &[String],
    calibration: &Calibration,
    options: &AuditOptions,
    thumbnails: &mut Thumbnails,
    reference_thumbnails: Option<&mut Thumbnails>,
    cancel: &Cancel,
) -> Result<Analysis> {
    let mut findings = Vec::new();
    let mut warnings = Vec::new();

    let p_values: Vec<f64> = predictions(collected).map(|(_, _, prediction)| prediction.p_value).collect();
    let unknown = unknown::unknown(&p_values, options.fdr, calibration.rows)?;
    drop(p_values);
    findings.extend(unknown_findings(collected, &unknown));
    let is_unknown = |prediction: &Prediction| unknown.threshold.is_some_and(|most| prediction.p_value <= most);

    let labels = find_labels(collected, classes, is_unknown, &mut findings)?;
    let divisions = divisions(collected, row_groups);
    let calibration_figures = calibrate(collected, classes, &divisions, options.fdr)?;
    if let Some(figures) = &calibration_figures {
        warnings.extend(trained_on(figures, calibration)?);
    }
    let (foreign, example) = &collected.foreign_labels;
    if *foreign > 0 {
        let example = example.as_deref().unwrap_or_default();
        warnings.push(format!(
            "{} with a label that is no class of the model count as unlabelled, the first of them {example}.",
            counted(*foreign, "row")
        ));
    }

    let drift = drift_figures(collected, reference, classes, calibration, &divisions, options.fdr)?;
    findings.extend(broken_findings(collected));
    let (quality, odd) = quality::find(looks(collected));
    findings.extend(odd.into_iter().map(|(row, kind, score)| Finding {
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
    let both = reference.zip(reference_thumbnails);
    let duplicates = duplicate_findings(collected, thumbnails, both, &mut findings, cancel)?;
    findings::sort(&mut findings);

    // Of duplicates the first row counts as well: the later ones pile up towards the end of any dataset.
    let both = findings.iter().flat_map(|finding| {
        let related = match finding.related {
            Some(Related::Audited(row)) => Some((row, finding.kind)),
            _ => None,
        };
        [Some((finding.row, finding.kind)), related].into_iter().flatten()
    });
    let mut pairs: Vec<(u32, Kind)> = both.collect();
    pairs.sort_unstable();
    pairs.dedup();
    let borrowed: Vec<Division> = divisions
        .iter()
        .map(|division| Division { by: &division.by, values: &division.values, codes: &division.codes })
        .collect();
    let slices = slices::find(&borrowed, &pairs, options.fdr)?;
    Ok(Analysis {
        findings,
        unknown,
        labels,
        calibration: calibration_figures,
        drift,
        quality,
        duplicates,
        slices,
        warnings,
    })
}

fn predictions(collected: &Collected) -> impl Iterator<Item = (u32, Row<'_>, &Prediction)> + Clone {
    let rows = collected.rows().enumerate();
    rows.filter_map(|(row, record)| Some((row as u32, record, record.prediction?)))
}

fn looks(collected: &Collected) -> impl Iterator<Item = (u32, &Look)> + Clone {
    collected.rows().enumerate().filter_map(|(row, record)| Some((row as u32, record.look?)))
}

fn unknown_findings(collected: &Collected, unknown: &UnknownFigures) -> Vec<Finding> {
    let Some(most) = unknown.threshold else { return Vec::new() };
    let severity = |p: f64| match p {
        p if p <= most / 4.0 => Severity::High,
        p if p <= most / 2.0 => Severity::Medium,
        _ => Severity::Low,
    };
    predictions(collected)
        .filter(|(_, _, prediction)| prediction.p_value <= most)
        .map(|(row, _, prediction)| Finding {
            row,
            kind: Kind::Unknown,
            severity: severity(prediction.p_value),
            score: -f64::from(prediction.score),
            related: None,
        })
        .collect()
}

/// Unknown images have no right label among the model's classes, so they are left out.
fn find_labels(
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

fn calibrate(
    collected: &Collected,
    classes: &[String],
    divisions: &[OwnDivision],
    fdr: f64,
) -> Result<Option<CalibrationFigures>> {
    let judged = |row: u32, record: Row<'_>, prediction: &Prediction| {
        let label = record.label?;
        let (confidence, correct) = (prediction.confidence, prediction.class == label);
        let judged = Judged { confidence, correct, label_probability: record.label_probability };
        Some((row, prediction.class, judged))
    };
    let labelled =
        || predictions(collected).filter_map(move |(row, record, prediction)| judged(row, record, prediction));
    let rows: Vec<Judged> = labelled().map(|(_, _, judged)| judged).collect();
    let mut groups: Vec<ConfidenceGap> = Vec::new();
    let mut by_class = vec![GapSums::default(); classes.len()];
    // By the predicted class: given the true one, a calibrated model looks too unsure of rare classes.
    for (_, class, judged) in labelled() {
        if let Some(sums) = by_class.get_mut(class as usize) {
            sums.add(&judged);
        }
    }
    for (sums, class) in by_class.iter().zip(classes).filter(|(sums, _)| sums.rows() > 0) {
        groups.push(sums.gap("class", class)?);
    }
    for division in divisions {
        let mut sums = vec![GapSums::default(); division.values.len()];
        for (row, _, judged) in labelled() {
            let code = division.codes.get(row as usize).map(|code| *code as usize);
            if let Some(sums) = code.and_then(|code| sums.get_mut(code)) {
                sums.add(&judged);
            }
        }
        let mut large: Vec<(&GapSums, &String)> =
            sums.iter().zip(&division.values).filter(|(sums, _)| sums.rows() >= LEAST_GROUP).collect();
        large.sort_by_key(|(sums, _)| std::cmp::Reverse(sums.rows()));
        for (sums, value) in large.into_iter().take(MOST_GROUPS) {
            groups.push(sums.gap(&division.by, value)?);
        }
    }
    confidence::figures(&rows, groups, fdr)
}

/// Warns where the labels are predicted so well that the rows were probably trained on: better than the held-out rows by more than
/// chance. Unknown images count too: without them any model looks better.
fn trained_on(figures: &CalibrationFigures, calibration: &Calibration) -> Result<Option<String>> {
    if figures.rows < LEAST_LABELS {
        return Ok(None);
    }
    let held_out = calibration.fit.accuracy;
    let right = (held_out * calibration.rows as f64).round() as u64;
    let expected = share_interval(right.min(calibration.rows), calibration.rows, 0.99)?;
    let found = share_interval(figures.correct, figures.rows, 0.99)?;
    if found.lower <= expected.upper {
        return Ok(None);
    }
    Ok(Some(format!(
        "The model is right on {} of the labelled rows, but on {} of the rows that were held out when it was made. These rows were \
         probably trained on: what it says of their labels and of how well it is calibrated is too good.",
        percent(figures.correct as f64 / figures.rows as f64),
        percent(held_out)
    )))
}

/// Files where there are several, row groups where there are several, and the columns that were asked for.
pub(super) fn divisions(collected: &Collected, row_groups: &HashMap<Arc<str>, Vec<u64>>) -> Vec<OwnDivision> {
    let rows = collected.len();
    let (mut files, mut groups) = (Vec::new(), Vec::new());
    let (mut file_codes, mut group_codes) = (Vec::new(), Vec::new());
    for (number, (file, first)) in collected.files().iter().enumerate() {
        let end = collected.files().get(number + 1).map_or(rows, |(_, next)| *next);
        files.push(file.to_string());
        file_codes.resize(end, number as u32);
        let mut at = *first;
        for (group, count) in row_groups.get(file).into_iter().flatten().enumerate() {
            at = at.saturating_add(usize::try_from(*count).unwrap_or(usize::MAX)).min(end);
            group_codes.resize(at, groups.len() as u32);
            groups.push(format!("{file}, row group {group}"));
        }
        // What no footer tells of is one group.
        if at < end {
            group_codes.resize(end, groups.len() as u32);
            groups.push(file.to_string());
        }
    }
    let mut divisions = Vec::new();
    if groups.len() > files.len() {
        divisions.push(OwnDivision { by: "row group".into(), values: groups, codes: group_codes });
    }
    if files.len() > 1 {
        divisions.insert(0, OwnDivision { by: "file".into(), values: files, codes: file_codes });
    }
    divisions.extend(collected.groups.iter().map(|groups| OwnDivision {
        by: groups.name.clone(),
        values: groups.values.clone(),
        codes: groups.codes.clone(),
    }));
    divisions
}

/// What one set of rows is compared by.
#[derive(Default)]
struct Sample {
    scores: Vec<f32>,
    confidences: Vec<f32>,
    classes: Vec<u64>,
}

impl Sample {
    fn of<'a>(predictions: impl Iterator<Item = &'a Prediction>, classes: usize) -> Self {
        let mut sample = Self { classes: vec![0; classes], ..Self::default() };
        for prediction in predictions {
            sample.scores.push(prediction.score);
            sample.confidences.push(prediction.confidence);
            if let Some(count) = sample.classes.get_mut(prediction.class as usize) {
                *count += 1;
            }
        }
        sample
    }
}

fn drift_figures(
    collected: &Collected,
    reference: Option<&Collected>,
    classes: &[String],
    calibration: &Calibration,
    divisions: &[OwnDivision],
    fdr: f64,
) -> Result<Option<DriftFigures>> {
    let of_reference = match reference {
        Some(reference) => Sample::of(predictions(reference).map(|(_, _, prediction)| prediction), classes.len()),
        // The bundle keeps the calibration rows' scores and nothing else of them.
        None => Sample { scores: calibration.scores.all().sorted().to_vec(), ..Sample::default() },
    };
    let reference_rows = of_reference.scores.len() as u64;
    let scores = Numbers::new(of_reference.scores.iter().copied());
    let confidences = Numbers::new(of_reference.confidences.iter().copied());
    let mut tests = Vec::new();
    let mut compare = |sample: &Sample, by: Option<&str>, value: Option<&str>| -> Result<()> {
        let differences = [
            (Quantity::Score, scores.as_ref().and_then(|all| all.compare(sample.scores.iter().copied()))),
            (
                Quantity::Confidence,
                confidences.as_ref().and_then(|all| all.compare(sample.confidences.iter().copied())),
            ),
            (
                Quantity::Class,
                match of_reference.classes.is_empty() {
                    true => None,
                    false => drift::classes(&of_reference.classes, &sample.classes)?,
                },
            ),
        ];
        tests.extend(differences.into_iter().filter_map(|(quantity, difference)| {
            let difference = difference?;
            Some(DriftTest {
                by: by.map(str::to_owned),
                value: value.map(str::to_owned),
                quantity,
                rows: sample.scores.len() as u64,
                statistic: difference.statistic,
                p_value: difference.p_value,
                psi: difference.psi,
                significant: false,
            })
        }));
        Ok(())
    };
    let all = Sample::of(predictions(collected).map(|(_, _, prediction)| prediction), classes.len());
    compare(&all, None, None)?;
    drop(all);
    for division in divisions {
        let mut counts = vec![0u64; division.values.len()];
        for (row, _, _) in predictions(collected) {
            let code = division.codes.get(row as usize).map(|code| *code as usize);
            if let Some(count) = code.and_then(|code| counts.get_mut(code)) {
                *count += 1;
            }
        }
        let mut large: Vec<(usize, u64)> =
            counts.into_iter().enumerate().filter(|(_, count)| *count >= LEAST_GROUP).collect();
        large.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
        large.truncate(MOST_GROUPS);
        let mut members: HashMap<u32, Vec<&Prediction>> = HashMap::new();
        large.iter().for_each(|(code, count)| {
            members.insert(*code as u32, Vec::with_capacity(*count as usize));
        });
        for (row, _, prediction) in predictions(collected) {
            let code = division.codes.get(row as usize);
            if let Some(members) = code.and_then(|code| members.get_mut(code)) {
                members.push(prediction);
            }
        }
        for (code, _) in large {
            let Some(members) = members.remove(&(code as u32)) else { continue };
            let sample = Sample::of(members.into_iter(), classes.len());
            compare(&sample, Some(&division.by), division.values.get(code).map(String::as_str))?;
        }
    }
    if tests.is_empty() {
        return Ok(None);
    }
    let against = if reference.is_some() { "reference" } else { "calibration" };
    let mut figures = DriftFigures { against: against.into(), reference_rows, tests };
    figures.control(fdr)?;
    Ok(Some(figures))
}

fn broken_findings(collected: &Collected) -> Vec<Finding> {
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

fn duplicate_findings(
    collected: &Collected,
    thumbnails: &mut Thumbnails,
    reference: Option<(&Collected, &mut Thumbnails)>,
    findings: &mut Vec<Finding>,
    cancel: &Cancel,
) -> Result<DuplicateFigures> {
    let record = |row: u32| collected.row(row as usize);
    let images: Vec<_> = looks(collected).filter_map(|(row, _)| Some((row, record(row)?.image))).collect();
    let distinct = duplicates::distinct(images);
    let labels_differ = |one: u32, other: u32| {
        let label = |row: u32| record(row).and_then(|record| record.label);
        label(one).zip(label(other)).is_some_and(|(one, other)| one != other)
    };
    findings.extend(distinct.copies.iter().map(|copy| Finding {
        row: copy.row,
        kind: Kind::ExactDuplicate,
        severity: if labels_differ(copy.row, copy.first) { Severity::High } else { Severity::Medium },
        score: copy.rows.into(),
        related: Some(Related::Audited(copy.first)),
    }));
    let mut repeated: Vec<u32> = distinct.copies.iter().map(|copy| copy.first).collect();
    repeated.sort_unstable();
    repeated.dedup();

    let own = Pictures::of(collected, distinct.first.iter().copied());
    let near = own.near_each_other(thumbnails, cancel)?;
    findings.extend(near.into_iter().map(|(row, other, bits)| Finding {
        row,
        kind: Kind::NearDuplicate,
        severity: if labels_differ(row, other) { Severity::Medium } else { Severity::Low },
        score: bits.into(),
        related: Some(Related::Audited(other)),
    }));
    let mut reference_images = None;
    if let Some((reference, reference_thumbnails)) = reference {
        let digest_of = |row: u32| Some((row, *reference.row(row as usize)?.digest));
        let known = Digests::new(looks(reference).filter_map(|(row, _)| digest_of(row)));
        let mut leaked = Vec::new();
        for (row, _) in looks(collected) {
            if row % 4096 == 0 {
                cancel.check()?;
            }
            let Some((first, count)) = record(row).and_then(|record| known.find(record.digest)) else { continue };
            leaked.push(row);
            findings.push(Finding {
                row,
                kind: Kind::Leaked,
                severity: Severity::High,
                score: count.into(),
                related: Some(Related::Reference(first)),
            });
        }
        let others = distinct.first.iter().copied().filter(|row| leaked.binary_search(row).is_err());
        let asked = Pictures::of(collected, others);
        let images: Vec<_> =
            looks(reference).filter_map(|(row, _)| Some((row, reference.row(row as usize)?.image))).collect();
        let among = Pictures::of(reference, duplicates::distinct(images).first.into_iter());
        let near = asked.near_in(thumbnails, &among, reference_thumbnails, cancel)?;
        findings.extend(near.into_iter().map(|(row, other, bits)| Finding {
            row,
            kind: Kind::LeakedNear,
            severity: Severity::Medium,
            score: bits.into(),
            related: Some(Related::Reference(other)),
        }));
        reference_images = Some(looks(reference).count() as u64);
    }
    Ok(DuplicateFigures {
        images: looks(collected).count() as u64,
        distinct: distinct.first.len() as u64,
        repeated: repeated.len() as u64,
        reference_images,
    })
}
