//! The six scores against the reference's, on logits that its head computed (`score.*` in `tests/golden`).

mod common;

use common::golden;
use dismax::score::{Score, row};

#[test]
fn scores_match_the_reference() {
    let (shape, logits) = golden::f32s("logits.dismax");
    let classes = shape[1];
    for score in Score::OF_LOGITS {
        let (_, expected) = golden::f32s(&format!("score.{}", score.name().to_uppercase()));
        assert_eq!(expected.len(), shape[0]);
        for (logits, expected) in logits.chunks_exact(classes).zip(expected) {
            let got = score.of_logits(logits);
            // float32 sums over 10 classes in another order: a few ulp of values around 10.
            golden::assert_close(score.name(), f64::from(got), f64::from(expected), 5e-6);
            assert_eq!(row(logits, 0.3, score, &mut vec![0.0; classes]).score, got);
        }
    }
}
