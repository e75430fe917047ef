use half::f16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::*;
use crate::novelty::{Background, FeatureWriter};
use dismax::calibration::{CalibrationFeatures, CalibrationRow, ConformalScores, FeatureMoments, FeatureStatistics};
use dismax::score::RowOutput;

const STAGES: [usize; 3] = [4, 4, 8];
const WIDTH: usize = 16;
const CLASSES: usize = 4;
const CALIBRATION_ROWS: usize = 1000;

/// Rows of Gaussian classes, of which a model sees the last stage.
struct World {
    means: Vec<[f32; WIDTH]>,
    random: ChaCha8Rng,
    statistics: FeatureStatistics,
    scores: ConformalScores,
}

struct Row {
    features: Vec<f32>,
    logits: Vec<f32>,
}

impl Row {
    fn class(&self) -> usize {
        (0..CLASSES).max_by(|a, b| self.logits[*a].total_cmp(&self.logits[*b])).expect("classes")
    }

    fn score(&self) -> f32 {
        self.logits[self.class()]
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let means: Vec<[f32; WIDTH]> =
            (0..CLASSES).map(|_| std::array::from_fn(|_| random.sample::<f32, _>(StandardNormal) * 1.5)).collect();
        let mut moments = FeatureMoments::new(&STAGES, CLASSES);
        for _ in 0..8000 {
            let row = known(&means, &mut random, [1.0; CLASSES]);
            moments.add(RowOutput { logits: &row.logits, features: Some(&row.features) });
        }
        let mut statistics = moments.finish().expect("rows");
        let mut calibration = CalibrationFeatures::new(WIDTH);
        let mut scores = Vec::new();
        for _ in 0..CALIBRATION_ROWS {
            let row = known(&means, &mut random, [1.0; CLASSES]);
            let features: Vec<f16> = row.features.iter().map(|value| f16::from_f32(*value)).collect();
            calibration.push(&features, CalibrationRow { class: row.class(), score: row.score() });
            scores.push(row.score());
        }
        statistics.set_calibration(calibration);
        Self { means, random, statistics, scores: ConformalScores::try_new(scores).expect("finite") }
    }

    fn known(&mut self, shares: [f64; CLASSES]) -> Row {
        known(&self.means, &mut self.random, shares)
    }

    /// A row of a class, and by so much of another kind.
    fn unknown(&mut self, by: f32) -> Row {
        let mut row = self.known([1.0; CLASSES]);
        for (at, value) in row.features.iter_mut().enumerate() {
            *value += if at % 3 == 0 { by } else { -by / 2.0 };
        }
        seen(&self.means, row.features)
    }

    fn detect(&self, rows: &[Row], known: Option<Scatter>, marks: &[(usize, Mark)]) -> Detection {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = FeatureWriter::create(folder.path(), WIDTH).expect("a file");
        rows.iter().for_each(|row| writer.push(&row.features).expect("written"));
        let mut audited = writer.finish().expect("written");
        let scores: Vec<f32> = rows.iter().map(Row::score).collect();
        let p_values: Vec<f64> = scores.iter().map(|score| self.scores.p_value(*score).expect("finite")).collect();
        let judged = Judged {
            classes: &rows.iter().map(|row| row.class() as u32).collect::<Vec<_>>(),
            scores: &scores,
            p_values: &p_values,
            calibration_rows: CALIBRATION_ROWS as u64,
            score_has_early: false,
        };
        let background = Background::of(&self.statistics).expect("calibration rows");
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let features = Features { background, audited: &mut audited, rows: &all, known };
        detect(&judged, Some(features), marks).expect("a file")
    }
}

fn known(means: &[[f32; WIDTH]], random: &mut ChaCha8Rng, shares: [f64; CLASSES]) -> Row {
    let mut at = random.random_range(0.0..shares.iter().sum());
    let class = shares.iter().position(|share| {
        at -= share;
        at < 0.0
    });
    let mean = means[class.unwrap_or(0)];
    seen(means, mean.iter().map(|mean| mean + random.sample::<f32, _>(StandardNormal)).collect())
}

/// Logits are minus the distances to the classes' means in the last stage.
fn seen(means: &[[f32; WIDTH]], features: Vec<f32>) -> Row {
    let distance = |mean: &[f32; WIDTH]| {
        let last = features.iter().zip(mean).skip(STAGES[0] + STAGES[1]);
        -last.map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
    };
    Row { logits: means.iter().map(distance).collect(), features }
}

/// Share of the unknown rows that are found, and of known ones among what is found.
fn outcome(detection: &Detection, is_unknown: &[bool], q: f32) -> (f64, f64) {
    let found: Vec<bool> =
        detection.q_values.iter().zip(is_unknown).filter(|(found, _)| **found <= q).map(|(_, is)| *is).collect();
    let right = found.iter().filter(|is_unknown| **is_unknown).count() as f64;
    let all = is_unknown.iter().filter(|is_unknown| **is_unknown).count().max(1) as f64;
    (right / all, (found.len() as f64 - right) / found.len().max(1) as f64)
}

/// Means over several worlds, with `unknown` of 1,000 rows that are so far off.
fn outcomes(worlds: u64, unknown: usize, by: f32, shares: [f64; CLASSES], q: f32) -> (f64, f64, f64) {
    let (mut power, mut false_share, mut score_power) = (0.0, 0.0, 0.0);
    for seed in 0..worlds {
        let mut world = World::new(seed);
        let rows: Vec<Row> =
            (0..1000).map(|row| if row < unknown { world.unknown(by) } else { world.known(shares) }).collect();
        let is_unknown: Vec<bool> = (0..1000).map(|row| row < unknown).collect();
        let detection = world.detect(&rows, None, &[]);
        assert_eq!(detection.method, UnknownMethod::Adadetect, "seed {seed}");
        let (found, wrong) = outcome(&detection, &is_unknown, q);
        power += found / worlds as f64;
        false_share += wrong / worlds as f64;
        let by_score: Vec<f64> = rows.iter().map(|row| world.scores.p_value(row.score()).expect("finite")).collect();
        let by_score = q_values(&by_score).expect("p-values");
        score_power += by_score[..unknown].iter().filter(|found| **found <= f64::from(q)).count() as f64
            / (unknown.max(1) as u64 * worlds) as f64;
    }
    (power, false_share, score_power)
}

#[test]
fn a_new_kind_is_found_and_false_ones_are_as_rare_as_asked() {
    let (power, false_share, score_power) = outcomes(12, 100, 1.6, [1.0; CLASSES], 0.1);
    assert!(power > 0.5 && power > score_power + 0.2, "{power} {score_power}");
    assert!(false_share < 0.13, "{false_share}");
}

#[test]
fn other_shares_of_classes_are_not_new() {
    let (power, false_share, _) = outcomes(12, 100, 1.6, [4.0, 1.0, 1.0, 0.25], 0.1);
    assert!(power > 0.4 && false_share < 0.13, "{power} {false_share}");
}

#[test]
fn where_nothing_is_new_little_is_found() {
    // The false share of an audit that finds something is 1.
    let (_, runs, _) = outcomes(40, 0, 0.0, [1.0; CLASSES], 0.1);
    assert!(runs <= 0.2, "{runs} of the audits found something, 0.1 are allowed in the mean");
}

#[test]
fn a_shift_of_all_rows_is_drift() {
    let mut world = World::new(1);
    let rows: Vec<Row> = (0..1000)
        .map(|_| {
            let mut features = world.known([1.0; CLASSES]).features;
            features[..8].iter_mut().for_each(|value| *value += 0.8);
            seen(&world.means, features)
        })
        .collect();
    let detection = world.detect(&rows, None, &[]);
    assert!(detection.has_drifted);
    assert_eq!(detection.method, UnknownMethod::Score, "the early features have drifted too");
    let found = detection.q_values.iter().filter(|q_value| **q_value <= 0.1).count();
    assert!(found < 20, "{found} of 1000");
}

#[test]
fn known_unknown_rows_help_with_few_others_of_their_kind() {
    let (mut without, mut with, mut false_share) = (0.0, 0.0, 0.0);
    for seed in 0..10 {
        let mut world = World::new(seed);
        let mut known = Scatter::new(WIDTH);
        (0..50).for_each(|_| known.add(&world.unknown(1.6).features));
        let rows: Vec<Row> =
            (0..1000).map(|row| if row < 15 { world.unknown(1.6) } else { world.known([1.0; CLASSES]) }).collect();
        let is_unknown: Vec<bool> = (0..1000).map(|row| row < 15).collect();
        without += outcome(&world.detect(&rows, None, &[]), &is_unknown, 0.2).0 / 10.0;
        let detection = world.detect(&rows, Some(known), &[]);
        assert_eq!(detection.known, 50);
        let (found, wrong) = outcome(&detection, &is_unknown, 0.2);
        with += found / 10.0;
        false_share += wrong / 10.0;
    }
    assert!(with > without + 0.2, "{with} {without}");
    assert!(false_share < 0.27, "{false_share}");
}

#[test]
fn reviewed_rows_are_left_out_and_what_is_new_keeps_its_rate() {
    let (mut found, mut wrong) = (0.0, 0.0);
    for seed in 0..10 {
        let mut world = World::new(seed);
        let rows: Vec<Row> =
            (0..1000).map(|row| if row < 60 { world.unknown(1.6) } else { world.known([1.0; CLASSES]) }).collect();
        let is_unknown: Vec<bool> = (0..1000).map(|row| row < 60).collect();
        let first = world.detect(&rows, None, &[]);
        let mut order: Vec<usize> = (0..1000).collect();
        order.sort_by(|a, b| first.scores[*a].total_cmp(&first.scores[*b]));
        let mark = |row: &usize| (*row, if is_unknown[*row] { Mark::Unknown } else { Mark::Known });
        let marks: Vec<(usize, Mark)> = order[..30].iter().map(mark).collect();
        let second = world.detect(&rows, None, &marks);
        assert!(marks.iter().all(|(row, _)| second.q_values[*row].is_nan() && second.scores[*row].is_infinite()));
        assert_eq!(second.p_values.len(), 970);
        let (newly_found, newly_wrong) = outcome(&second, &is_unknown, 0.2);
        found += newly_found / 10.0;
        wrong += newly_wrong / 10.0;
    }
    assert!(found > 0.1, "{found}");
    assert!(wrong < 0.27, "{wrong}");
}

#[test]
fn without_features_the_models_score_must_do() {
    let judged = Judged {
        classes: &[0, 0, 0],
        scores: &[1.0, 2.0, 0.5],
        p_values: &[0.5, 1.0, 0.01],
        calibration_rows: 99,
        score_has_early: false,
    };
    let found = detect(&judged, None, &[(1, Mark::Known)]).expect("p-values");
    assert_eq!((found.method, found.has_drifted, found.known), (UnknownMethod::Score, false, 0));
    assert_eq!(found.p_values, [0.01, 0.5]);
    assert!((found.q_values[2] - 0.03).abs() < 1e-6 && found.q_values[1].is_nan(), "{:?}", found.q_values);
    assert_eq!(found.scores, [1.0, f32::INFINITY, 0.5]);
}
