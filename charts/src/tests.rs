use super::*;
use dismax::calibration::Estimate;
use dismax::evaluate::{Evaluation, Flagged, InDistFigures, OodFigures, ScoreHistogram};
use dismax::metrics::{ClassificationMetrics, Interval, LabelledLogits, Reliability};
use dismax::model::EpochRecord;
use dismax::score::Score;

/// A spread of made-up values in [0, 1), the same in every run.
fn noise(count: usize, seed: u64) -> impl Iterator<Item = f32> {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(move |_| rng.random())
}

fn records(epochs: usize) -> Vec<EpochRecord> {
    let record = |(index, noise): (usize, f32)| {
        let progress = (index + 1) as f64 / epochs as f64;
        let nll = 2.2 * (-3.0 * progress).exp() + 0.1 * f64::from(noise);
        EpochRecord {
            epoch: index + 1,
            learning_rate: 0.1,
            train_objective: nll,
            train_nll: nll,
            train_accuracy: 1.0 - 0.3 * nll,
            validation_nll: nll + 0.2 * progress,
            validation_accuracy: 0.95 - 0.3 * nll,
            images_per_second: 400.0,
            seconds: 60.0,
        }
    };
    noise(epochs, 1).enumerate().map(record).collect()
}

/// An evaluation of made-up rows with these OOD sets.
fn evaluation(rows: usize, names: &[&str], threshold: Option<f32>) -> Evaluation {
    let margins: Vec<f32> = noise(rows, 2).collect();
    let labels: Vec<i64> = noise(rows, 3).zip(&margins).map(|(luck, margin)| i64::from(luck * 0.8 > *margin)).collect();
    let logits: Vec<f32> = margins.iter().flat_map(|margin| [6.0 * margin, 0.0]).collect();
    let labelled = LabelledLogits::try_new(&logits, 2, &labels).unwrap();
    let interval = Interval { lower: 0.0, upper: 1.0, level: 0.95 };
    let bins =
        |temperature| Reliability::equal_width(&labelled.confidences(temperature), &labelled.correct(), 15).unwrap();
    let flagged = |share| Flagged { rows: (share * rows as f64) as u64, share, interval };
    let sum = |seed: u64, shift: f32| -> Vec<f32> {
        let parts = (0..6).map(|part| noise(rows, seed + part).collect::<Vec<_>>());
        parts.fold(vec![shift; rows], |sums, part| sums.iter().zip(part).map(|(a, b)| a + b).collect())
    };
    let ood: Vec<Vec<f32>> = (0..names.len()).map(|set| sum(20 + 7 * set as u64, 1.0 + 0.4 * set as f32)).collect();
    Evaluation {
        model_digest: String::new(),
        temperature: 2.0,
        score: Score::Mmles,
        alpha: 0.05,
        ood_score_threshold: threshold,
        in_dist: InDistFigures {
            rows: rows as u64,
            scored: rows as u64,
            failed: 0,
            errors: Default::default(),
            unlabelled: 0,
            accuracy: Estimate { value: 0.8, interval },
            ece: Estimate { value: 0.01, interval },
            before: ClassificationMetrics::of(&labelled, 1.0).unwrap(),
            after: ClassificationMetrics::of(&labelled, 2.0).unwrap(),
            flagged: flagged(0.05),
            reliability_before: bins(1.0),
            reliability_after: bins(2.0),
        },
        ood_score_histogram: ScoreHistogram::of(&sum(10, 0.0), &ood, threshold),
        ood: names
            .iter()
            .map(|name| OodFigures {
                name: (*name).to_owned(),
                rows: rows as u64,
                scored: rows as u64,
                failed: 0,
                errors: Default::default(),
                flagged: flagged(0.678),
                scores: Default::default(),
            })
            .collect(),
    }
}

/// Fails unless the tags of `svg` nest, its text has no bare `<` or `&` and no number in it is NaN or infinite. Where the
/// environment names a folder, the picture is kept there for people to look at.
fn check(name: &str, svg: &str) {
    if let Some(folder) = std::env::var_os("DISMAX_KEEP_CHARTS") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.svg")), svg).unwrap();
    }
    let mut open: Vec<&str> = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        assert_text(name, &rest[..start]);
        let end = start + rest[start..].find('>').unwrap_or_else(|| panic!("{name}: a tag does not end"));
        let tag = &rest[start + 1..end];
        assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "{name}: <{tag}>");
        assert!(!tag.contains("NaN") && !tag.contains("inf"), "{name}: <{tag}>");
        match (tag.strip_prefix('/'), tag.strip_suffix('/')) {
            (Some(closed), _) => assert_eq!(open.pop(), Some(closed), "{name}"),
            (None, Some(_)) => assert!(!open.is_empty(), "{name}: outside the picture"),
            (None, None) => open.push(tag.split(' ').next().unwrap()),
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty() && svg.starts_with("<svg "), "{name}");
}

fn assert_text(name: &str, text: &str) {
    for (at, _) in text.match_indices('&') {
        let entity = ["&lt;", "&gt;", "&amp;", "&quot;", "&apos;"].iter().any(|entity| text[at..].starts_with(entity));
        assert!(entity, "{name}: {text}");
    }
    assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{name}: {text:?}");
}

#[test]
fn training_of_few_and_many_epochs() {
    for epochs in [0, 1, 3, 30, 300] {
        let svg = training(&records(epochs)).unwrap();
        check(&format!("training-{epochs}"), &svg);
        assert!(svg.contains("Negative log-likelihood (nats)") && svg.contains("held-out rows"));
    }
    let mut broken = records(3);
    broken[1].train_nll = f64::NAN;
    broken[2].validation_nll = f64::INFINITY;
    check("training-not-finite", &training(&broken).unwrap());
}

#[test]
fn reliability_says_both_eces() {
    for rows in [1, 30, 5000] {
        let evaluation = evaluation(rows, &[], None);
        let svg = reliability(&evaluation).unwrap();
        check(&format!("reliability-{rows}"), &svg);
        assert!(svg.contains(&format!("Temperature 1: ECE {:.4}", evaluation.in_dist.before.ece)));
        assert!(svg.contains(&format!("Temperature 2.000: ECE {:.4}", evaluation.in_dist.after.ece)));
    }
}

#[test]
fn score_histogram_of_none_to_many_sets() {
    let many = ["svhn", "lsun-resize", "tiny-imagenet-resize", "textures", "places", "noise", "cifar100"];
    for (sets, threshold) in [(0, Some(3.5)), (1, Some(3.5)), (3, None), (7, Some(-f32::MAX))] {
        let svg = score_histogram(&evaluation(2000, &many[..sets], threshold)).unwrap();
        check(&format!("scores-{sets}"), &svg);
        assert!(svg.contains("minus MMLES") && svg.contains("in-distribution test set: 2000 rows, 5.0 % flagged"));
        assert_eq!(svg.matches("2000 rows, 67.8 % flagged").count(), sets);
        assert_eq!(svg.contains("threshold 3.5000"), threshold == Some(3.5));
    }
}

#[test]
fn names_from_outside_stay_text() {
    let long = "a".repeat(500);
    let svg =
        score_histogram(&evaluation(10, &["</text><script>&\"'", "line\nbreak\u{0}\u{1b}", &long], None)).unwrap();
    check("names", &svg);
    assert!(svg.contains("&lt;/text&gt;&lt;script&gt;&amp;&quot;&apos;: 10 rows"), "{svg}");
    assert!(svg.contains("line break  : 10 rows"));
    assert!(svg.contains(&format!("…{}:", "a".repeat(LONGEST_NAME - 1))));
}

#[test]
fn charts_of_an_audit() {
    for counts in [vec![0; 20], vec![5; 20], (0..20).collect()] {
        let svg = p_values(&counts).unwrap();
        check("audit-p-values", &svg);
        assert!(svg.contains("these rows") && !svg.contains("#FFFFFF"), "no background: {svg}");
    }
    let confidences: Vec<f32> = noise(500, 4).collect();
    let correct: Vec<bool> = noise(500, 5).zip(&confidences).map(|(luck, p)| luck < *p).collect();
    let svg = reliability_bins(&Reliability::equal_width(&confidences, &correct, 15).unwrap()).unwrap();
    check("audit-reliability", &svg);
    let svg =
        score_distributions("<score>", -2.0..3.5, [&[1, 2, 3], &[0, 0, 0]], ["a & b", "calibration rows"]).unwrap();
    check("audit-scores", &svg);
    assert!(svg.contains("&lt;score&gt;") && svg.contains("a &amp; b"));
}
