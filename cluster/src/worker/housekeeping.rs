//! Letting go of queries that have ended.

use std::time::Duration;

use datafusion_distributed::{ExecuteTaskRequest, ProducerHead, TaskKey, Worker};
use uuid::Uuid;

/// How long the plan of a query may live on behind it.
const EVERY: Duration = Duration::from_millis(300);

/// Never ends. datafusion-distributed keeps plans in a cache, and takes the plan of a query that ended or was given up
/// out of it. But the cache drops what was taken out only when somebody uses it the next time; until then the plan
/// would go on to decode and score images for nobody. So it is used, with a key that no query has.
pub(super) async fn run(worker: Worker) {
    let task_key = TaskKey { query_id: Uuid::nil(), stage_id: 0, task_number: 0 };
    loop {
        tokio::time::sleep(EVERY).await;
        let request = ExecuteTaskRequest {
            task_key,
            target_partition_start: 0,
            target_partition_end: 0,
            producer_head: ProducerHead::None,
        };
        // It would wait for the plan of that key, which never comes.
        drop(tokio::time::timeout(Duration::from_millis(1), worker.execute_task(request)).await);
    }
}
