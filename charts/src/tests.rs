use crate::draw::MAX_NAME;
use crate::*;

/// A spread of made-up values in [0, 1), the same in every run.
fn noise(count: usize, seed: u64) -> impl Iterator<Item = f64> {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(move |_| rng.random())
}

fn epochs(count: usize) -> Vec<Epoch> {
    let epoch = |(index, noise): (usize, f64)| {
        let progress = (index + 1) as f64 / count as f64;
        let nll = 2.2 * (-3.0 * progress).exp() + 0.1 * noise;
        Epoch {
            number: index + 1,
            learning_rate: 0.1,
            train_nll: nll,
            train_accuracy: 1.0 - 0.3 * nll,
            validation_nll: nll + 0.2 * progress,
            validation_accuracy: 0.95 - 0.3 * nll,
            images_per_second: 400.0,
        }
    };
    noise(count, 1).enumerate().map(epoch).collect()
}

/// Bins of equal width over [0, 1] with made-up rows; every third is empty, confidence lies on both sides of the
/// accuracy.
fn bins(rows: u64) -> Vec<Bin> {
    let bin = |(index, noise): (usize, f64)| {
        let (lower, upper) = (index as f64 / 15.0, (index + 1) as f64 / 15.0);
        let (count, confidence) = if index % 3 == 1 { (0, 0.0) } else { (rows, (lower + upper) / 2.0) };
        Bin { lower, upper, count, confidence, accuracy: if count == 0 { 0.0 } else { noise } }
    };
    noise(15, 2).enumerate().map(bin).collect()
}

/// The histogram of made-up scores with these OOD sets.
fn histogram(names: &[&str], threshold: Option<f64>) -> String {
    let counts: Vec<u64> = noise(40, 3).map(|share| (100.0 * share) as u64).collect();
    let set = |name, flagged| ScoreSet { name, rows: 2000, flagged, counts: &counts };
    score_histogram(&ScoreHistogram {
        score: "ood_score (minus MMLES)",
        lower: -1.5,
        upper: 4.0,
        threshold,
        in_dist: set("in-distribution test set", 0.05),
        ood: names.iter().map(|name| set(name, 0.678)).collect(),
    })
}

/// Fails unless the tags of `svg` nest, its text has no bare `<` or `&` and no number in it is NaN or infinite. Where
/// the environment names a folder, the picture is kept there for people to look at.
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
    for count in [0, 1, 3, 30, 300] {
        let svg = training(&epochs(count));
        check(&format!("training-{count}"), &svg);
        assert!(svg.contains("Negative log-likelihood (nats)") && svg.contains("held-out rows"));
    }
    let mut broken = epochs(3);
    broken[1].train_nll = f64::NAN;
    broken[2].validation_nll = f64::INFINITY;
    check("training-not-finite", &training(&broken));
}

#[test]
fn reliability_says_both_eces() {
    for rows in [0, 1, 5000] {
        let bins = bins(rows);
        let panel = |name, ece| ReliabilityPanel { name, ece, bins: &bins };
        let svg = reliability([panel("Temperature 1", 0.12345), panel("Temperature 2.000", 0.01)]);
        check(&format!("reliability-{rows}"), &svg);
        assert!(svg.contains("Temperature 1: ECE 0.1235") && svg.contains("Temperature 2.000: ECE 0.0100"));
    }
}

#[test]
fn score_histogram_of_none_to_many_sets() {
    let many = ["svhn", "lsun-resize", "tiny-imagenet-resize", "textures", "places", "noise", "cifar100"];
    for (sets, threshold) in [(0, Some(3.5)), (1, Some(3.5)), (3, None), (7, Some(-1.0))] {
        let svg = histogram(&many[..sets], threshold);
        check(&format!("scores-{sets}"), &svg);
        assert!(svg.contains("minus MMLES") && svg.contains("in-distribution test set: 2000 rows, 5.0 % flagged"));
        assert_eq!(svg.matches("2000 rows, 67.8 % flagged").count(), sets);
        assert_eq!(svg.contains("threshold 3.5000"), threshold == Some(3.5));
    }
}

#[test]
fn names_from_outside_stay_text() {
    let long = "a".repeat(500);
    let svg = histogram(&["</text><script>&\"'", "line\nbreak\u{0}\u{1b}", &long], None);
    check("names", &svg);
    assert!(svg.contains("&lt;/text&gt;&lt;script&gt;&amp;&quot;&apos;: 2000 rows"), "{svg}");
    assert!(svg.contains("line break  : 2000 rows"));
    assert!(svg.contains(&format!("…{}:", "a".repeat(MAX_NAME - 1))));
}

#[test]
fn charts_of_an_audit() {
    for counts in [vec![0; 20], vec![5; 20], (0..20).collect()] {
        let svg = p_values(&counts);
        check("audit-p-values", &svg);
        assert!(svg.contains("these rows") && !svg.contains("#FFFFFF"), "no background: {svg}");
    }
    check("audit-reliability", &reliability_bins(&bins(500)));
    let svg = score_distributions("<score>", -2.0..3.5, [&[1, 2, 3], &[0, 0, 0]], ["a & b", "calibration rows"]);
    check("audit-scores", &svg);
    assert!(svg.contains("&lt;score&gt;") && svg.contains("a &amp; b"));
}

#[test]
fn bars_are_as_long_as_their_share() {
    let length = |share: f64| {
        let svg = bar(share);
        check("bar", &svg);
        let blue = svg.lines().find(|line| line.contains("#0072B2")).expect("a bar").to_owned();
        let width = blue.split("width=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a width");
        width.parse::<u32>().expect("a number")
    };
    assert_eq!([0.5, 1.0, 7.0].map(length), [28, 56, 56]);
    assert_eq!([0.0, -1.0, f64::NAN].map(length), [0, 0, 0]);
    assert_eq!(length(1e-6), 1, "more than nothing is seen");
}

#[test]
fn sparklines_have_gaps_where_values_are_missing() {
    let lines = |values: &[Option<f64>]| {
        let svg = sparkline(values);
        check(&format!("sparkline-{}", values.len()), &svg);
        (svg.matches("<polyline").count(), svg.matches("<circle").count())
    };
    assert_eq!(lines(&[]), (0, 0));
    assert_eq!(lines(&[Some(5.0)]), (0, 2), "one value is a dot");
    assert_eq!(lines(&[Some(1.0), Some(3.0), Some(2.0)]), (1, 1));
    assert_eq!(lines(&[Some(0.0), Some(0.0)]), (1, 1), "no division by a range of 0");
    assert_eq!(lines(&[Some(1.0), Some(2.0), None, Some(f64::NAN), Some(4.0), Some(3.0)]), (2, 1));
    assert_eq!(lines(&[Some(1.0), Some(2.0), None]), (1, 0), "without a last value there is no last dot");
    let svg = sparkline(&[Some(0.0), Some(10.0)]);
    assert!(svg.contains("3,21 117,3"), "from the bottom left to the top right: {svg}");
}
