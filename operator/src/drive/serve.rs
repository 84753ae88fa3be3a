//! `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Meters;

/// Serves metrics at `address` until `stop`. A standby serves too.
///
/// # Errors
/// If the address cannot be bound.
pub(super) async fn metrics(
    address: SocketAddr,
    meters: Arc<Meters>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let text = move || {
        let text = meters.text();
        async move { text }
    };
    serve(address, Router::new().route("/metrics", get(text)), stop).await
}

/// Serves the probes at `address` until `stop`. A standby is healthy and ready: it does its work, which is waiting.
///
/// # Errors
/// If the address cannot be bound.
pub(super) async fn health(address: SocketAddr, stop: CancellationToken) -> std::io::Result<()> {
    let ok = || async { "ok" };
    serve(address, Router::new().route("/healthz", get(ok)).route("/readyz", get(ok)), stop).await
}

async fn serve(address: SocketAddr, routes: Router, stop: CancellationToken) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, routes).with_graceful_shutdown(async move { stop.cancelled().await }).await
}
