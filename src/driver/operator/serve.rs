//! Answers on two doors: `/metrics` for a collector, `/healthz` and `/readyz` for the kubelet.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::health::Health;
use super::metrics::Metrics;

/// Opens both doors: for metrics, and for health.
///
/// # Errors
/// One of the addresses can't be had.
pub async fn listen(metrics: SocketAddr, health: SocketAddr) -> anyhow::Result<(TcpListener, TcpListener)> {
    let open = async |address: SocketAddr, flag: &str| {
        let listener = TcpListener::bind(address).await;
        listener.map_err(|error| anyhow::anyhow!("cannot listen on {address} ({flag}): {error}"))
    };
    Ok((open(metrics, "--metrics-address").await?, open(health, "--health-address").await?))
}

/// Answers with what was counted, until the future is dropped.
///
/// # Errors
/// The socket failed.
pub async fn metrics(listener: TcpListener, metrics: Arc<Metrics>) -> io::Result<()> {
    axum::serve(listener, Router::new().route("/metrics", get(show)).with_state(metrics)).await
}

/// Answers whether this replica is well, until the future is dropped.
///
/// # Errors
/// The socket failed.
pub async fn health(listener: TcpListener, health: Arc<Health>) -> io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async |State(health): State<Arc<Health>>| said(health.ill())))
        .route("/readyz", get(async |State(health): State<Arc<Health>>| said(health.unready())))
        .with_state(health);
    axum::serve(listener, router).await
}

async fn show(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.text() {
        Ok(text) => {
            ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

fn said(trouble: Option<String>) -> Response {
    match trouble {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
    }
}
