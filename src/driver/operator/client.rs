//! The way to the API server: one client for everything, with limits of time, a name, and one layer around each request that counts it and
//! refuses to change anything while this process does not lead.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::header::USER_AGENT;
use axum::http::{HeaderValue, Method, Request, Response};
use kube::Client;
use kube::client::{Body, ClientBuilder};
use kube::config::Config;
use tower::{BoxError, Layer, Service};

use super::metrics::{Call, Metrics};
use super::pace::{OnItsWay, Pace};
use super::reign::Reign;
use crate::driver::expiry;

/// An answer begins within this, or the request failed. Watches last longer, and have a limit of their own.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What the API server sees us as.
pub const USER: &str = concat!("bluegreen/", env!("CARGO_PKG_VERSION"));

/// Finds the cluster as kubectl does, or as a pod of it, and makes the client. Also says which namespace is ours.
///
/// # Errors
/// There is no configuration, or it can't be used.
pub async fn connect(reign: Arc<Reign>, metrics: Arc<Metrics>, pace: Arc<Pace>) -> anyhow::Result<(Client, String)> {
    // A second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::infer().await?;
    for words in expiry::of_kubeconfig(&config, jiff::Timestamp::now()) {
        tracing::warn!("{words}");
    }
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.write_timeout = Some(ANSWER_WITHIN);
    // Retrying is the driver's, which looks at the world again first.
    config.default_retry = false;
    // The way through a proxy isn't built in, and a cluster's own API server needs none.
    config.proxy_url = None;
    config.headers.push((USER_AGENT, HeaderValue::from_static(USER)));
    let namespace = config.default_namespace.clone();
    let client = ClientBuilder::try_from(config)?.with_layer(&Watchful { reign, metrics, pace }).build();
    Ok((client, namespace))
}

/// Why a request was not sent or not answered.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("this replica leads no more, so it changes nothing; another one goes on")]
    NotLeading,
    #[error("the API server did not answer within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
}

/// Counts requests, limits their time, says which were late, and lets only a leader write.
#[derive(Clone)]
struct Watchful {
    reign: Arc<Reign>,
    metrics: Arc<Metrics>,
    pace: Arc<Pace>,
}

impl<S> Layer<S> for Watchful {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner, layer: self.clone() }
    }
}

struct Watched<S> {
    inner: S,
    layer: Watchful,
}

impl<S, B> Service<Request<Body>> for Watched<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call::of(request.method(), request.uri());
        let metrics = self.layer.metrics.clone();
        if changes(request.method()) && !call.is_lease() && self.layer.reign.term().is_none() {
            metrics.called(&call, None);
            return Box::pin(async { Err(Stopped::NotLeading.into()) });
        }
        let answer = self.inner.call(request);
        // Who asks may give up first.
        let on_its_way = OnItsWay::new(self.layer.pace.clone());
        Box::pin(async move {
            let _on_its_way = on_its_way;
            let answer = match tokio::time::timeout(ANSWER_WITHIN, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(Stopped::Silent.into()),
            };
            metrics.called(&call, answer.as_ref().ok().map(|answer| answer.status().as_u16()));
            answer
        })
    }
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
