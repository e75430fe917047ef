//! What becomes of workers that cannot take part, and of places that none may open.

use std::fs;
use std::path::{Path, PathBuf};

use datafusion::prelude::SessionContext;
use datafusion_distributed::Worker;
use dismax::Model;
use dismax_cluster::{Cluster, RELEASE, Security, join, worker_of};
use dismax_udfs::Models;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use crate::common::models;
use crate::support::WorkerProcess;

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/digits").canonicalize().unwrap()
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    models::calibrated().write(&model, false).unwrap();
    (folder, model)
}

/// A server that speaks as workers do, and says this of itself.
async fn stranger(says: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let worker = Worker::default().with_version(says).into_worker_server();
    let server = tonic::transport::Server::builder().add_service(worker);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn connected(addresses: &[&str]) -> Result<Vec<String>, String> {
    let cluster = Cluster::connect(addresses, Security::default()).await.map_err(|error| error.to_string())?;
    cluster.present().map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_left_out_and_named() {
    let (_folder, model) = folder();
    let worker = WorkerProcess::start(&model, &digits());
    let info = |release: &str, precision: &str| {
        format!(r#"{{"release":"{release}","start":"1","precision":"{precision}","models":[],"has_store":false}}"#)
    };
    let old = stranger(info("0.0.9", "f32")).await;
    let other = stranger("something else".into()).await;
    let half = stranger(info(RELEASE, "f16")).await;
    assert_eq!(
        connected(&[&worker.address, &old, &other, &half]).await.unwrap(),
        std::slice::from_ref(&worker.address)
    );
    let error = connected(&[&old, &other, "http://127.0.0.1:1"]).await.unwrap_err();
    assert!(error.contains(&format!("{old}: it is of release 0.0.9, not {RELEASE}")), "{error}");
    assert!(error.contains(&format!("{other}: it is no worker")), "{error}");
    assert!(error.contains("http://127.0.0.1:1: it does not answer"), "{error}");
    for address in ["127.0.0.1:7070", "ftp://host", "http://host/path", ""] {
        assert!(connected(&[address]).await.unwrap_err().contains("no address of a worker"), "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_with_another_model_or_none_are_left_out() {
    let (folder, model) = folder();
    let other = folder.path().join("other");
    models::calibrated_from(8).write(&other, false).unwrap();
    let worker = WorkerProcess::start(&model, &digits());
    let session = |name: &str, model: &Path| {
        let session = SessionContext::new();
        let models = Models::new().with(name, Model::read(model).unwrap()).started_late();
        dismax_udfs::register(&session, models).unwrap();
        session
    };
    let sql = format!("SELECT dismax_prediction(image) FROM '{}'", digits().join("test.parquet").display());
    // The one that is asked for has other weights. Joined before and after the models are registered.
    for (name, expected) in [("a", "its model 'a' is another one"), ("b", "it has no model 'b'")] {
        for joined_first in [false, true] {
            let session = session(name, &other).enable_url_table();
            let cluster = Cluster::connect(&[&worker.address], Security::default()).await.unwrap();
            join(&session, &cluster).unwrap();
            if joined_first {
                let models = Models::new().with(name, Model::read(&other).unwrap()).started_late();
                dismax_udfs::register(&session, models).unwrap();
            }
            let error = session.sql(&sql).await.unwrap().collect().await.unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(&worker.address), "{error}");
            assert!(join(&session, &cluster).is_err(), "twice");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_is_learnt() {
    let (folder, model) = folder();
    let token = folder.path().join("token");
    fs::write(&token, "a token of some length\n".replace(' ', "-")).unwrap();
    let worker = WorkerProcess::start_with(&model, &digits(), Some(&token));
    let refused = connected(&[&worker.address]).await.unwrap_err();
    assert!(refused.ends_with("the token is missing or wrong"), "{refused}");
    assert_eq!(["/healthz", "/readyz", "/metrics", "/other"].map(|page| worker.page(page).0), [200, 200, 401, 401]);
    let security = Security::read(Some(&token), None).unwrap();
    assert!(Cluster::connect(&[&worker.address], security.clone()).await.is_ok());
    let error = Cluster::connect(&["http://192.0.2.1:7070"], security).await.unwrap_err().to_string();
    assert!(error.contains("the token would travel"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_opens_what_it_was_allowed() {
    let (folder, model) = folder();
    let workers = [0, 1].map(|_| WorkerProcess::start(&model, folder.path()));
    let session = SessionContext::new().enable_url_table();
    let models = Models::new().with("a", Model::read(&model).unwrap()).started_late();
    dismax_udfs::register(&session, models).unwrap();
    let addresses = workers.each_ref().map(|worker| worker.address.as_str());
    join(&session, &Cluster::connect(&addresses, Security::default()).await.unwrap()).unwrap();
    let sql = format!("SELECT dismax_prediction(image) FROM '{}'", digits().join("test.parquet").display());
    let error = session.sql(&sql).await.unwrap().collect().await.unwrap_err();
    assert!(error.to_string().contains("this worker was not allowed to open it"), "{error}");
    assert!(worker_of(&error).is_some_and(|worker| addresses.contains(&worker)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_names_the_worker_that_is_lost() {
    let (_folder, model) = folder();
    let mut workers = [0, 1].map(|_| WorkerProcess::start(&model, &digits()));
    let session = SessionContext::new().enable_url_table();
    let models = Models::new().with("a", Model::read(&model).unwrap()).started_late();
    dismax_udfs::register(&session, models).unwrap();
    let addresses = workers.each_ref().map(|worker| worker.address.clone());
    join(&session, &Cluster::connect(&addresses, Security::default()).await.unwrap()).unwrap();
    let sql = format!("SELECT dismax_prediction(image) FROM '{}'", digits().join("test.parquet").display());
    let query = session.sql(&sql).await.unwrap();
    let plan = query.create_physical_plan().await.unwrap();
    // It was there when the plan was made.
    workers[1].kill();
    let lost = datafusion::physical_plan::collect(plan, session.task_ctx()).await.unwrap_err().to_string();
    assert!(lost.contains(&format!("worker {} does not answer", addresses[1])), "{lost}");
    // The next query does without it.
    assert!(session.sql(&sql).await.unwrap().collect().await.is_ok());
}
