//! Aggregates against scikit-learn's and the reference's values, and against themselves under other partitionings.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, BooleanArray, Float32Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::execution::config::SessionConfig;
use dismax::metrics::{LabelledLogits, Roc};

use crate::common::golden::{self, assert_close};
use crate::support::Fixture;

/// Rows dealt out to so many partitions, in record batches of an odd size.
async fn table(fixture: &Fixture, name: &str, truth: Vec<Option<bool>>, value: Vec<Option<f32>>, partitions: usize) {
    let group: Int64Array = (0..truth.len() as i64).map(|row| row % 3).collect::<Vec<_>>().into();
    let fields = vec![
        Field::new("truth", DataType::Boolean, true),
        Field::new("value", DataType::Float32, true),
        Field::new("part", DataType::Int64, false),
    ];
    let schema = Arc::new(Schema::new(fields));
    let columns =
        vec![Arc::new(BooleanArray::from(truth)) as _, Arc::new(Float32Array::from(value)) as _, Arc::new(group) as _];
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut dealt = vec![Vec::new(); partitions];
    for (piece, start) in (0..rows.num_rows()).step_by(77).enumerate() {
        dealt[piece % partitions].push(rows.slice(start, 77.min(rows.num_rows() - start)));
    }
    let table = MemTable::try_new(schema, dealt).unwrap();
    fixture.session.deregister_table(name).unwrap();
    fixture.session.register_table(name, Arc::new(table)).unwrap();
}

async fn numbers(fixture: &Fixture, sql: &str) -> Vec<f64> {
    let batches = fixture.run(sql).await;
    let columns = batches.iter().flat_map(|batch| batch.columns().to_vec());
    columns.flat_map(|column| column.as_primitive::<Float64Type>().values().to_vec()).collect()
}

fn scores() -> (Vec<f32>, Vec<f32>) {
    (golden::f32s("ood.id_scores").1, golden::f32s("ood.ood_scores").1)
}

#[tokio::test(flavor = "multi_thread")]
async fn rankings_are_scikit_learns_under_any_partitioning() {
    let (known, unknown) = scores();
    let truth: Vec<_> = known.iter().map(|_| Some(true)).chain(unknown.iter().map(|_| Some(false))).collect();
    let value: Vec<_> = known.iter().chain(&unknown).map(|score| Some(*score)).collect();
    for partitions in [1, 2, 7] {
        let fixture = Fixture::with(&["a"], SessionConfig::new().with_target_partitions(partitions)).await;
        table(&fixture, "t", truth.clone(), value.clone(), partitions).await;
        let found = numbers(
            &fixture,
            "SELECT auroc(truth, value), average_precision(truth, value), average_precision(NOT truth, -value), \
             fpr_at_tpr(truth, value), fpr_at_tpr(truth, value, 0.95) FROM t",
        )
        .await;
        let expected = ["ood.sklearn.auroc", "ood.sklearn.aupr_in", "ood.sklearn.aupr_out"].map(golden::f64);
        for (name, found, expected) in
            [("auroc", 0), ("aupr_in", 1), ("aupr_out", 2)].map(|(n, i)| (n, found[i], expected[i]))
        {
            assert_close(name, found, expected, 1e-12);
        }
        assert_close("fpr95", found[3], 1.0 - golden::f64("ood.reference.TNR"), 1e-12);
        assert_eq!(found[3], found[4]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_those_that_a_filter_gives() {
    let (known, unknown) = scores();
    let truth: Vec<_> = known.iter().map(|_| Some(true)).chain(unknown.iter().map(|_| Some(false))).collect();
    let value: Vec<_> = known.iter().chain(&unknown).map(|score| Some(*score)).collect();
    let fixture = Fixture::new().await;
    table(&fixture, "t", truth.clone(), value.clone(), 4).await;
    let grouped = numbers(&fixture, "SELECT auroc(truth, value) FROM t GROUP BY part ORDER BY part").await;
    for (part, found) in grouped.into_iter().enumerate() {
        let of = |kind: bool| -> Vec<f32> {
            let rows = truth
                .iter()
                .zip(&value)
                .enumerate()
                .filter(|(row, (truth, _))| row % 3 == part && **truth == Some(kind));
            rows.map(|(_, (_, value))| value.unwrap()).collect()
        };
        assert_close("auroc of a group", found, Roc::of_scores(&of(true), &of(false)).unwrap().auroc(), 1e-12);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calibration_errors_are_the_references_under_any_partitioning() {
    let (shape, logits) = golden::f32s("calibration.logits");
    let (_, labels) = golden::i64s("calibration.labels");
    let rows = LabelledLogits::try_new(&logits, shape[1], &labels).unwrap();
    let confidence =
        rows.probabilities(1.0).chunks(shape[1]).map(|row| row.iter().copied().fold(0.0, f32::max)).collect::<Vec<_>>();
    let correct = rows.correct();
    let brier = confidence.iter().zip(&correct).map(|(p, hit)| (f64::from(*p) - f64::from(u8::from(*hit))).powi(2));
    let brier = brier.sum::<f64>() / correct.len() as f64;
    for partitions in [1, 3] {
        let fixture = Fixture::with(&["a"], SessionConfig::new().with_target_partitions(partitions)).await;
        let truth = correct.iter().map(|hit| Some(*hit)).collect();
        table(&fixture, "t", truth, confidence.iter().map(|p| Some(*p)).collect(), partitions).await;
        let found = numbers(
            &fixture,
            "SELECT ece(truth, value), ece(truth, value, 15), ece(truth, value, 1), brier(truth, value) FROM t",
        )
        .await;
        assert_close("ECE", found[0], golden::f64("calibration.ECELoss.T1"), 1e-6);
        assert_eq!(found[0], found[1]);
        let mean = confidence.iter().map(|p| f64::from(*p)).sum::<f64>() / confidence.len() as f64;
        assert_close("ECE of one bin", found[2], (mean - golden::f64("calibration.accuracy")).abs(), 1e-9);
        assert_close("Brier", found[3], brier, 1e-9);
    }
}
