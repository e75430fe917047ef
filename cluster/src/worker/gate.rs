//! Who may speak to a worker.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tonic::Status;

use crate::token::Token;

/// Lets requests in that show the token. The others learn nothing but that; whether a worker lives and is ready, anybody
/// may know.
pub(super) async fn admit(State(token): State<Option<Token>>, request: Request, next: Next) -> Response {
    let is_open = matches!(request.uri().path(), "/healthz" | "/readyz");
    if is_open || token.as_ref().is_none_or(|token| token.admits(request.headers())) {
        return next.run(request).await;
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
