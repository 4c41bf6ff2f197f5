//! The admin listener: whether the program is alive and ready, what it counts, the spec that runs,
//! and how its endpoints are; and a reload on demand.

mod guard;
mod metrics;
mod reload;

pub use self::metrics::Metrics;

use crate::{Engine, Reloader, spec::BindSpec};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_core::Address;
use mesh_net::{Acceptor, Drain};
use std::{convert::Infallible, error::Error, num::NonZeroUsize, sync::Arc, time::Duration};

type Response = http::Response<Full<Bytes>>;

/// How long a client of the admin listener may take for a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A bound admin listener. It answers on the runtime that runs [`Admin::serve`], off the data path.
#[derive(Debug)]
pub struct Admin {
    acceptor: Acceptor,
}

impl Admin {
    /// Binds it.
    ///
    /// # Errors
    /// The address cannot be had.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(bind: &BindSpec) -> Result<Self, Box<dyn Error>> {
        let sockets = crate::engine::bind(bind, NonZeroUsize::MIN)?.sockets;
        let socket = sockets.into_iter().next().ok_or("no socket")?;
        // it never drains: it answers until the process ends
        Ok(Self { acceptor: Acceptor::new(socket, &Drain::new().watch())? })
    }

    /// The address it really has.
    pub fn address(&self) -> &Address {
        self.acceptor.address()
    }

    /// Answers until it is dropped. `POST /reload` needs a `reloader`.
    pub async fn serve(mut self, engine: Engine, metrics: Metrics, reloader: Option<Reloader>) {
        let shown = Arc::new(Shown { address: self.address().clone(), engine, metrics, reloader });
        loop {
            let stream = match self.acceptor.accept().await {
                Ok(Some(accepted)) => accepted.stream,
                Ok(None) => return,
                Err(error) => return tracing::error!(%error, "the admin listener has stopped"),
            };
            let shown = shown.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let shown = shown.clone();
                    async move { Ok::<_, Infallible>(shown.answer(&request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the admin listener failed");
                }
            });
        }
    }
}

/// What it shows and does.
struct Shown {
    address: Address,
    engine: Engine,
    metrics: Metrics,
    reloader: Option<Reloader>,
}

impl Shown {
    async fn answer<B>(&self, request: &http::Request<B>) -> Response {
        if let Err(reason) = guard::check(request.headers(), &self.address) {
            return text(StatusCode::FORBIDDEN, format!("{reason}\n"));
        }
        let path = request.uri().path();
        let known = ["/ready", "/live", "/metrics", "/config", "/clusters", "/reload"];
        if !known.contains(&path) {
            return text(StatusCode::NOT_FOUND, format!("there are {}\n", known.join(", ")));
        }
        let acts = path == "/reload";
        let is_allowed = if acts {
            *request.method() == Method::POST
        } else {
            matches!(*request.method(), Method::GET | Method::HEAD)
        };
        if !is_allowed {
            let allowed = if acts { "POST" } else { "GET, HEAD" };
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed}\n"));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            return response;
        }
        match path {
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" if self.engine.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/ready" => text(StatusCode::OK, "ready\n"),
            "/metrics" => typed(self.metrics.render(), "text/plain; version=0.0.4; charset=utf-8"),
            "/clusters" => json(&self.engine.clusters()),
            "/reload" => reload::answer(request.headers(), self.reloader.as_ref()).await,
            _ => json(&self.engine.spec()),
        }
    }
}

fn json(value: &impl serde::Serialize) -> Response {
    let mut body = serde_json::to_string_pretty(value).unwrap_or_default();
    body.push('\n');
    typed(body, "application/json")
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = typed(body, "text/plain; charset=utf-8");
    *response.status_mut() = status;
    response
}

fn typed(body: impl Into<Bytes>, content_type: &'static str) -> Response {
    let mut response = http::Response::new(Full::new(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
