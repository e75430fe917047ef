//! Who may speak to a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tonic::Status;

use crate::token::Token;

/// What a worker lets in.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub token: Option<Token>,
    /// Whether the worker ends: it takes nothing new then.
    pub draining: Arc<AtomicBool>,
}

/// Lets requests in that show the token. The others learn nothing but that; whether a worker lives and is ready,
/// anybody may know.
pub(super) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_open = matches!(path, "/healthz" | "/readyz");
    if is_open || gate.token.as_ref().is_none_or(|token| token.admits(request.headers())) {
        // The rows of plans that it has may still be fetched.
        let is_new = path.ends_with("/CoordinatorChannel") || path.ends_with("/GetWorkerInfo");
        return match is_new && gate.draining.load(Ordering::Relaxed) {
            true => Status::unavailable("it is ending").into_http(),
            false => next.run(request).await,
        };
    }
    let speaks_grpc =
        request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    match speaks_grpc {
        true => Status::unauthenticated("the token is missing or wrong").into_http(),
        false => {
            let mut response = Response::new(axum::body::Body::from("the token is missing or wrong\n"));
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response
        }
    }
}
