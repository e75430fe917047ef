//! Connections to workers, from coordinators and from other workers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::common::{DataFusionError, Result as PlanResult};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    SetPlanRequest, WorkerChannel, WorkerToCoordinatorMsg,
};
use dismax_udfs::models_of;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::HeaderMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::ServiceExt;
use url::Url;

use crate::error::{Error, Result};
use crate::query::Query;
use crate::security::Security;

/// How long a machine may take to take a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that carries nothing is asked whether the other side lives so often,
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// and is given up when it has not answered for so long.
const NO_ANSWER: Duration = Duration::from_secs(5);
/// Bytes that a worker may send before they are taken.
const WINDOW: u32 = 4 << 20;
/// Stands before a worker's address in the context of its errors.
const ON: &str = "on worker ";

/// Connections by address. Each is made when it is first used, and made again when it was lost.
#[derive(Debug)]
pub struct Channels {
    security: Security,
    channels: Mutex<HashMap<Url, Channel>>,
    /// Whether a worker was lost since somebody asked.
    lost: Arc<AtomicBool>,
}

impl Channels {
    /// No connections yet.
    pub fn new(security: Security) -> Self {
        Self { security, channels: Mutex::default(), lost: Arc::default() }
    }

    fn channel(&self, worker: &Url) -> Result<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(worker) {
            return Ok(channel.clone());
        }
        let wrong = |error: tonic::transport::Error| Error::Config(format!("{worker}: {}", whole(&error)));
        let mut endpoint = Endpoint::from_shared(worker.to_string()).map_err(wrong)?;
        if let Some(tls) = self.security.tls_for(worker)? {
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        let channel = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(NO_ANSWER)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .tcp_nodelay(true)
            .connect_lazy();
        channels.insert(worker.clone(), channel.clone());
        Ok(channel)
    }

    /// What speaks to a worker. Its errors name the worker.
    pub(crate) fn client(&self, worker: &Url) -> Result<Box<dyn WorkerChannel>> {
        let (channel, token) = (self.channel(worker)?, self.security.token.clone());
        let authorised = channel.map_request(move |mut request: http::Request<tonic::body::Body>| {
            if let Some(token) = &token {
                token.add_to(request.headers_mut());
            }
            request
        });
        let client = create_worker_client(BoxCloneSyncChannel::new(authorised));
        Ok(Box::new(NamedWorker { worker: worker.clone(), client, lost: Arc::clone(&self.lost) }))
    }

    /// Whether a worker was lost since this was asked before.
    pub(crate) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }
}

/// The connections as datafusion-distributed takes them.
#[derive(Debug, Clone)]
pub(crate) struct SharedChannels(pub Arc<Channels>);

#[async_trait]
impl ChannelResolver for SharedChannels {
    async fn get_worker_client_for_url(&self, worker: &Url) -> PlanResult<Box<dyn WorkerChannel>> {
        Ok(self.0.client(worker)?)
    }
}

/// A worker whose errors say which it is, and which is told what a query is called and which models its functions mean.
struct NamedWorker {
    worker: Url,
    client: Box<dyn WorkerChannel>,
    lost: Arc<AtomicBool>,
}

impl NamedWorker {
    fn named(&self) -> impl Fn(DataFusionError) -> DataFusionError + Send + Sync + use<> {
        let (worker, lost) = (self.worker.clone(), Arc::clone(&self.lost));
        move |error| {
            let error = named(&worker, error);
            lost.fetch_or(is_lost(&error), Ordering::Relaxed);
            error
        }
    }
}

#[async_trait]
impl WorkerChannel for NamedWorker {
    async fn coordinator_channel(
        &mut self,
        mut headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> PlanResult<BoxStream<'static, PlanResult<WorkerToCoordinatorMsg>>> {
        let query = Query { id: request.task_key.query_id.to_string(), models: models_of(context.scalar_functions()) };
        query.add_to(&mut headers)?;
        let named = self.named();
        let answers = self.client.coordinator_channel(headers, request, messages, metrics, context).await;
        Ok(answers.map_err(&named)?.map(move |answer| answer.map_err(&named)).boxed())
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> PlanResult<Vec<BoxStream<'static, PlanResult<RecordBatch>>>> {
        let named = self.named();
        let streams = self.client.execute_task(headers, request, metrics, context).await.map_err(&named)?;
        let named = Arc::new(named);
        let of_worker = |stream: BoxStream<'static, PlanResult<RecordBatch>>| {
            let named = Arc::clone(&named);
            stream.map(move |batch| batch.map_err(&*named)).boxed()
        };
        Ok(streams.into_iter().map(of_worker).collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> PlanResult<GetWorkerInfoResponse> {
        self.client.get_worker_info(request).await.map_err(self.named())
    }
}

/// An error that a worker sent, or that stands for its silence.
fn named(worker: &Url, error: DataFusionError) -> DataFusionError {
    let worker = shown(worker);
    let status = match error.find_root() {
        DataFusionError::External(inner) => inner.downcast_ref::<Status>(),
        _ => None,
    };
    match status {
        Some(status) if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => {
            Error::Refused { worker, reason: status.message().to_owned() }.into()
        }
        Some(status) => Error::Lost { worker, reason: whole(status) }.into(),
        None => DataFusionError::Context(format!("{ON}{worker}"), Box::new(error)),
    }
}

/// The worker on which an error came about, where one says so.
pub fn worker_of(error: &DataFusionError) -> Option<&str> {
    match error {
        // What a worker heard from another one came about there.
        DataFusionError::Context(context, inner) => worker_of(inner).or_else(|| context.strip_prefix(ON)),
        DataFusionError::Shared(inner) => worker_of(inner),
        _ => None,
    }
}

/// Whether a worker did not answer.
pub(crate) fn is_lost(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::External(inner) => matches!(inner.downcast_ref(), Some(Error::Lost { .. })),
        _ => false,
    }
}

/// What a worker said, or its silence, without its address.
pub(crate) fn told(error: &Error) -> String {
    let of_worker = |error: &Error| match error {
        Error::Lost { reason, .. } => Some(format!("it does not answer: {reason}")),
        Error::Refused { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    match error {
        Error::Query(query) => match query.find_root() {
            DataFusionError::External(inner) => {
                inner.downcast_ref().and_then(of_worker).unwrap_or_else(|| inner.to_string())
            }
            root => root.to_string(),
        },
        error => of_worker(error).unwrap_or_else(|| error.to_string()),
    }
}

/// An address without the slash that a URL ends with.
pub(crate) fn shown(worker: &Url) -> String {
    worker.as_str().trim_end_matches('/').to_owned()
}

/// An error with what brought it about.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
