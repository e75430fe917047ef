//! Problems of a dataset as a whole.

use std::collections::BTreeMap;

use dismax_audit::{AuditSummary, Kind, Property, Quantity};
use image::ImageFormat;

use super::digits::{Lab, Row, decoded, encoded, png, read};

/// Rows that are left of the class "3".
const RARE: usize = 2;
/// What is added to the light of the class "1".
const LIGHTER: u8 = 60;
/// Broken rows, all from one source.
const BROKEN: usize = 12;
/// Population stability index from which a drift is moderate.
const MODERATE_PSI: f64 = 0.1;

/// The test digits without "7" and nearly without "3"; "1" is lighter, half of "5" is labelled "6", half of the images
/// are JPEG files, and rows of one source are broken.
fn planted() -> Vec<Row> {
    let mut rows = read("test");
    let mut threes = 0;
    rows.retain(|row| {
        threes += usize::from(row.label == "3");
        row.label != "7" && (row.label != "3" || threes <= RARE)
    });
    let (mut fives, mut broken) = (0, 0);
    for (number, row) in rows.iter_mut().enumerate() {
        if row.label == "1" {
            let mut picture = decoded(row);
            picture
                .pixels_mut()
                .flat_map(|pixel| &mut pixel.0)
                .for_each(|value| *value = value.saturating_add(LIGHTER));
            row.image = Some(png(&picture));
        }
        if row.label == "5" {
            fives += 1;
            row.label = if fives % 2 == 0 { "6" } else { "5" }.into();
        }
        if number % 4 < 2 {
            row.image = Some(encoded(&decoded(row), ImageFormat::Jpeg));
            row.name = row.name.replace(".png", ".jpg");
        }
        if row.source == "left" && number % 7 == 0 && broken < BROKEN {
            broken += 1;
            row.image = row.image.as_ref().map(|bytes| bytes.iter().rev().copied().collect());
        }
    }
    assert_eq!(broken, BROKEN);
    rows
}

/// What an audit says of each of these problems.
fn noticed(summary: &AuditSummary) -> BTreeMap<&'static str, bool> {
    let balance = summary.class_balance.as_ref().expect("labels");
    let accuracy = summary.class_accuracy.as_ref().expect("labels and a model");
    let coverage = summary.coverage.as_ref().expect("labels and a model");
    let calibration = summary.calibration.as_ref().expect("labels and a model");
    let correlations = summary.spurious_correlations.as_ref().expect("labels");
    let light = correlations.properties.iter().find(|found| found.property == Property::Light);
    let drift = summary.drift.as_ref().expect("a reference");
    let has_drifted = |quantity: Quantity| {
        let of_all = drift.tests.iter().filter(|test| test.by.is_none() && test.quantity == quantity);
        of_all.into_iter().any(|test| test.significant && test.psi > MODERATE_PSI)
    };
    let group = |by: &Option<String>, value: &Option<String>, expected: (&str, &str)| {
        (by.as_deref(), value.as_deref()) == (Some(expected.0), Some(expected.1))
    };
    BTreeMap::from([
        ("a class is missing", balance.empty == 1),
        ("a class is rare", balance.rare == 1),
        (
            "the model is wrong about a class",
            accuracy.classes.iter().any(|class| class.class == "6" && class.significant),
        ),
        (
            "sets of a class lack the label",
            coverage.coverages.iter().any(|found| found.significant && group(&found.by, &found.value, ("label", "6"))),
        ),
        (
            "a class is overconfident",
            calibration.groups.iter().any(|gap| gap.significant && gap.by == "class" && gap.value == "5"),
        ),
        (
            "light tells a class",
            light.is_some_and(|light| {
                light.significant && light.associations.iter().any(|told| told.class == "1" && told.share.value > 0.9)
            }),
        ),
        ("labels drift", has_drifted(Quantity::Label)),
        ("light drifts", has_drifted(Quantity::Property(Property::Light))),
        ("formats drift", has_drifted(Quantity::Property(Property::Format))),
        (
            "broken images pile up in a source",
            summary.slices.slices.iter().any(|slice| slice.kind == Kind::Undecodable && slice.value == "left"),
        ),
        (
            "the reference lacks a label",
            summary.unseen_labels.as_ref().is_some_and(|labels| labels.not_in_reference > Some(0)),
        ),
    ])
}

/// What is planted is noticed, and nothing of it where nothing is planted.
pub fn check(lab: &Lab) {
    let reference: Vec<Row> = read("train").into_iter().filter(|row| row.label != "4").collect();
    let (summary, _) = lab.audit(&planted(), Some(&reference));
    let noticed_there = noticed(&summary);
    assert!(noticed_there.values().all(|noticed| *noticed), "{noticed_there:#?}");
    let (summary, _) = lab.audit(&read("test"), None);
    let noticed_here = noticed(&summary);
    assert!(noticed_here.values().all(|noticed| !*noticed), "{noticed_here:#?}");
}
