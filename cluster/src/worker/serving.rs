//! A worker on the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion_distributed::{Worker, WorkerQueryContext};
use dismax::cancel::Cancel;
use dismax::stage::StageOptions;
use dismax_udfs::with_stores;
use http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;
use uuid::Uuid;

use super::WorkerOptions;
use super::allowed::Allowed;
use super::gate::{Gate, admit};
use super::housekeeping;
use super::metrics::WorkerMetrics;
use super::models::WorkerModels;
use super::plans::Plans;
use crate::channels::Channels;
use crate::error::{Error, Result};
use crate::info::{RELEASE, WorkerInfo};
use crate::security::server_tls;

/// How often a worker looks whether it should end.
const TICK: Duration = Duration::from_millis(100);
/// How long work that has begun may go on once the worker should end. The coordinator gives the rest to others.
const GRACE: Duration = Duration::from_secs(30);
/// A coordinator that is gone without a word is given up after this and [`NO_ANSWER`].
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const NO_ANSWER: Duration = Duration::from_secs(10);
/// Bytes that a coordinator may send before they are taken.
const WINDOW: u32 = 4 << 20;

/// Serves until `cancel` is set: then it takes nothing new, ends what it has begun, for half a minute at most, and
/// returns. `ready` is called with its address once it can be given work.
///
/// # Errors
/// Anything but loopback without a token and TLS; an address that is taken; a model that is not calibrated; an allowed
/// folder that is not there.
pub async fn serve(options: WorkerOptions, cancel: Cancel, ready: impl FnOnce(&str)) -> Result<()> {
    let address = options.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    if !address.ip().is_loopback() && (options.security.token.is_none() || options.tls.is_none()) {
        return Err(Error::Config(format!(
            "{address} can be reached from other machines: such a worker needs a token and a certificate"
        )));
    }
    if options.tls.is_some() && options.security.authority.is_none() {
        return Err(Error::Config("a worker with a certificate needs those that vouch for the other workers".into()));
    }
    if options.security.token.is_none() {
        log::warn!("there is no token: whoever has an account on this machine may use this worker, and its places");
    }
    for (_, model) in &options.models {
        model.require_calibration()?;
    }
    let tls = options.tls.as_ref().map(|(certificate, key)| server_tls(certificate, key)).transpose()?;
    let info = WorkerInfo {
        release: RELEASE.into(),
        start: Uuid::new_v4().to_string(),
        precision: precision(&options.stage)?.into(),
        models: options.models.iter().map(|(name, model)| (name.clone(), model.digest().to_owned())).collect(),
        has_store: options.store.is_some(),
    };
    let allowed = Arc::new(Allowed::new(&options.allowed)?);
    let models = Arc::new(WorkerModels::new(options.models, options.stage, options.store, Arc::clone(&allowed)));
    let metrics = Arc::new(WorkerMetrics::default());
    let plans = Arc::new(Plans {
        models: Arc::clone(&models),
        allowed,
        channels: Arc::new(Channels::new(options.security.clone())),
        metrics: Arc::clone(&metrics),
    });
    let mut runtime = RuntimeEnvBuilder::new();
    if let Some(memory) = options.memory {
        let bytes = usize::try_from(memory).unwrap_or(usize::MAX);
        runtime = runtime.with_memory_pool(Arc::new(FairSpillPool::new(bytes)));
    }
    let session = move |context: WorkerQueryContext| {
        let plans = Arc::clone(&plans);
        async move { plans.session(context) }
    };
    let worker = Worker::from_session_builder(session)
        .with_runtime_env(Arc::new(with_stores(runtime.build()?)))
        .with_version(serde_json::to_string(&info).expect("names and digests are JSON"));

    let draining = Arc::new(AtomicBool::new(false));
    let told = Told { registry: Arc::new(metrics.registry(&models)), draining: Arc::clone(&draining) };
    let pages: Router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(counts))
        .with_state(told);
    let kept_tidy = housekeeping::run(worker.clone());
    let routes = Routes::new(worker.into_worker_server()).prepare().into_axum_router().merge(pages);
    let gate = Gate { token: options.security.token, draining: Arc::clone(&draining) };
    let routes = routes.layer(from_fn_with_state(gate, admit));

    let taken = |source| dismax::Error::Io { path: address.to_string().into(), source };
    let listener = TcpListener::bind(address).await.map_err(taken)?;
    let own = listener.local_addr().map_err(taken)?;
    let mut server = Server::builder()
        .accept_http1(true)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(NO_ANSWER))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let scheme = if tls.is_some() { "https" } else { "http" };
    if let Some(tls) = tls {
        server =
            server.tls_config(tls).map_err(|error| Error::Config(format!("the certificate or its key: {error}")))?;
    }
    // The pages answer, and say that the worker is ending, until what has begun has ended.
    let stopping = async {
        while !cancel.is_cancelled() {
            tokio::time::sleep(TICK).await;
        }
        draining.store(true, Ordering::Relaxed);
        log::info!("ending: {} tasks run", metrics.running());
        let deadline = Instant::now() + GRACE;
        while metrics.running() > 0 && Instant::now() < deadline {
            tokio::time::sleep(TICK).await;
        }
    };
    let serving = server.add_routes(Routes::from(routes)).serve_with_incoming(TcpListenerStream::new(listener));
    ready(&format!("{scheme}://{own}"));
    tokio::select! {
        served = serving => return served.map_err(|error| Error::Config(format!("{own}: {error}"))),
        () = kept_tidy => {}
        () = stopping => {}
    }
    if metrics.running() > 0 {
        log::warn!("{} tasks are handed back", metrics.running());
    }
    Ok(())
}

/// What the pages tell.
#[derive(Clone)]
struct Told {
    registry: Arc<Registry>,
    draining: Arc<AtomicBool>,
}

async fn readiness(State(told): State<Told>) -> Response {
    match told.draining.load(Ordering::Relaxed) {
        false => "ready\n".into_response(),
        true => (StatusCode::SERVICE_UNAVAILABLE, "ending\n").into_response(),
    }
}

async fn counts(State(told): State<Told>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &told.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(http::header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Arithmetic of the networks.
fn precision(options: &StageOptions) -> Result<&'static str> {
    let on_gpu = options.device.resolve_all()?.iter().any(|device| device.is_cuda());
    Ok(if on_gpu { "f16" } else { "f32" })
}
