//! Calibration metrics and the temperature against the reference's numbers (`calibration.*` in `tests/golden`).

mod common;

use common::golden::{self, assert_close};
use dismax::calibration::{Objective, TemperatureSearch, fit_temperature};
use dismax::metrics::{ClassificationMetrics, LabelledLogits, Reliability};
use dismax::metrics::{class_wise_ece, ece};

/// float32 softmax and sums over 4,000 rows in the reference, f64 here.
const TOLERANCE: f64 = 1e-6;

fn rows<T>(test: impl FnOnce(&LabelledLogits) -> T) -> T {
    let (shape, logits) = golden::f32s("calibration.logits");
    let (_, labels) = golden::i64s("calibration.labels");
    test(&LabelledLogits::try_new(&logits, shape[1], &labels).expect("golden logits are whole"))
}

#[test]
fn metrics_match_the_reference() {
    let metrics = rows(|rows| ClassificationMetrics::of(rows, 1.0)).unwrap();
    assert_eq!(metrics.rows, 4000);
    assert_close("ECE", metrics.ece, golden::f64("calibration.ECELoss.T1"), TOLERANCE);
    assert_close("MCE", metrics.mce, golden::f64("calibration.MCELoss.T1"), TOLERANCE);
    assert_close("OE", metrics.over_confidence, golden::f64("calibration.OELoss.T1"), 1e-9);
    assert_close("NLL", metrics.nll, golden::f64("calibration.nll.T1"), TOLERANCE);
    assert_close("Brier", metrics.brier, golden::f64("calibration.brier.T1"), TOLERANCE);
    assert_close("accuracy", metrics.accuracy, golden::f64("calibration.accuracy"), 1e-12);
}

/// The reference's class-wise errors ask another question than ours: "do label and prediction agree about this class?",
/// which is true for nearly every pair of row and class, where the definition asks "is this class the label?". Hence
/// its SCE of 0.80 on rows whose class-wise error is 0.05. Asked the same question, our bins give its numbers.
#[test]
fn class_wise_errors_of_the_reference_are_explained() {
    rows(|rows| {
        let classes = rows.classes();
        let probabilities = rows.probabilities(1.0);
        let agrees = |class: usize| -> Vec<bool> {
            let predicted = probabilities.chunks_exact(classes).map(|row| {
                row.iter().enumerate().fold(0, |best, (class, p)| if *p > row[best] { class } else { best })
            });
            rows.iter().zip(predicted).map(|((_, label), predicted)| (predicted == class) == (label == class)).collect()
        };
        let of_class =
            |class: usize| -> Vec<f32> { probabilities.iter().skip(class).step_by(classes).copied().collect() };
        let mean = |error: &dyn Fn(&[f32], &[bool]) -> f64| -> f64 {
            (0..classes).map(|class| error(&of_class(class), &agrees(class))).sum::<f64>() / classes as f64
        };

        let sce = mean(&|p, hit| ece(p, hit).unwrap());
        assert_close("SCE", sce, golden::f64("calibration.SCELoss.T1"), TOLERANCE);

        // Its adaptive bins are cut at every 266th of the 4,000 sorted values, open below and closed above: bin k holds
        // the ranks 266 k + 1 to 266 (k + 1), the last one the rest, and the smallest value is in none. No probability
        // here is below TACE's threshold of 0.01, so its TACE is its ACE.
        let ace = mean(&|p, hit| {
            let mut ranked: Vec<(f32, bool)> = p.iter().copied().zip(hit.iter().copied()).collect();
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
            let width = ranked.len() / 15;
            let gaps = (0..15).map(|bin| {
                let end = if bin == 14 { ranked.len() } else { width * (bin + 1) + 1 };
                let (p, hit): (Vec<f32>, Vec<bool>) = ranked[width * bin + 1..end].iter().copied().unzip();
                Reliability::equal_count(&p, &hit, 1).unwrap().ece() * p.len() as f64
            });
            gaps.sum::<f64>() / ranked.len() as f64
        });
        assert_close("ACE", ace, golden::f64("calibration.ACELoss.T1"), TOLERANCE);
        assert_close("TACE", ace, golden::f64("calibration.TACELoss.T1"), TOLERANCE);

        let ours = ClassificationMetrics::of(rows, 1.0).unwrap();
        assert_close("class-wise ECE", ours.class_wise_ece, 0.053_940_9, TOLERANCE);
        assert_close("class-wise ECE", class_wise_ece(rows, 1.0, 15).unwrap(), ours.class_wise_ece, 0.0);
        // Equal-count bins by rank instead of by value: near the 0.0602 that the reference's cuts give for the same
        // question.
        assert_close("ACE", ours.ace, 0.060_193, 1e-3);
        assert_close("TACE", ours.tace, ours.ace, 0.0);
    });
}

#[test]
fn temperature_is_never_worse_than_the_grid() {
    rows(|rows| {
        let fit = fit_temperature(rows, &TemperatureSearch::default()).unwrap();
        println!("{fit:?}");
        assert!(fit.ece_after <= golden::f64("calibration.grid.min_ece"), "{fit:?}");
        assert!(fit.ece_after <= golden::f64("calibration.reference.min_ece"), "{fit:?}");
        assert_close("ECE before", fit.ece_before, golden::f64("calibration.ECELoss.T1"), TOLERANCE);
        // What it promises is what the metrics then measure.
        let measured = ClassificationMetrics::of(rows, fit.temperature).unwrap();
        assert_close("ECE after", measured.ece, fit.ece_after, 1e-12);
        assert_eq!(measured.accuracy, fit.accuracy);

        let nll = TemperatureSearch { objective: Objective::Nll, ..TemperatureSearch::default() };
        let by_nll = fit_temperature(rows, &nll).unwrap();
        assert!(by_nll.nll_after <= fit.nll_after && fit.ece_after <= by_nll.ece_after);
    });
}

/// The grid's own point gives the grid's own number, so that the comparison above compares the same function.
#[test]
fn ece_at_the_grid_minimum_matches() {
    for name in ["grid", "reference"] {
        let temperature = golden::f64(&format!("calibration.{name}.temperature")) as f32;
        let measured = rows(|rows| ece(&rows.confidences(temperature), &rows.correct()).unwrap());
        assert_close(name, measured, golden::f64(&format!("calibration.{name}.min_ece")), TOLERANCE);
    }
}
