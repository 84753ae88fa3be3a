//! The REST door: JSON over HTTP/1.1 on the port of gRPC.
//!
//! Every answer of the application is HTTP 200 with `{code, data}` or `{code, message}`. Source: wire specification 4.

use axum::Router;

use crate::proxy::Proxy;

/// The router of all REST paths there are; every other path answers 404.
pub fn router(proxy: Proxy) -> Router {
    let _ = proxy;
    Router::new()
}
