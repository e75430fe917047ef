//! Decodes and images through the network are counted, not assumed: one for each row that cheap predicates leave.

use crate::shapes::{SHAPES, Shape, TABLES, is_open};
use crate::support::Fixture;

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    for table in TABLES {
        fixture.run(table).await;
    }
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn every_image_is_scored_once() {
    let fixture = fixture().await;
    // The scalar functions alone, which score wherever they are mentioned.
    let plain = self::fixture().await;
    assert!(plain.session.remove_optimizer_rule("dismax_score_once"));
    let mut wrong = Vec::new();
    for Shape(sql, nodes, rows) in SHAPES {
        let plan = fixture.plan(sql).await;
        let found = plan.matches("ScoreExec").count();
        let [work, _] = fixture.work_of(sql).await;
        let expected = fixture.number(rows).await;
        if (found, work.decoded) != (*nodes, expected) || work.scored > expected {
            wrong.push(format!("{sql}\n{found} nodes, {work:?}, expected {nodes} nodes and {expected} rows\n{plan}"));
        }
        if !is_open(sql) && fixture.rows(sql).await != plain.rows(sql).await {
            wrong.push(format!("{sql}\ngives another answer than the scalar functions\n{plan}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} shapes:\n{}", wrong.len(), SHAPES.len(), wrong.join("\n\n"));
}
