//! The admin listener: whether the program is alive and ready, what it counts, the spec that runs, and how its listeners
//! and endpoints are; and to reload it, to end it, and to change what it logs.

mod guard;
mod log;
mod metrics;
mod page;
mod reload;

pub use self::{log::LogFilter, metrics::Metrics};

use crate::{Engine, Reloader, spec::BindSpec};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use mesh_core::Address;
use mesh_net::{Acceptor, Drain};
use serde::{Deserialize, de::DeserializeOwned};
use std::{convert::Infallible, error::Error, num::NonZeroUsize, sync::Arc, time::Duration};

type Response = http::Response<Full<Bytes>>;

/// How long a client of the admin listener may take for a request's head, and for its body.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest body that it may send.
const MAX_BODY: usize = 64 << 10;

/// The pages, and what may be done with each.
const PAGES: [(&str, &str); 10] = [
    ("/", READ),
    ("/ready", READ),
    ("/live", READ),
    ("/metrics", READ),
    ("/config", READ),
    ("/clusters", READ),
    ("/listeners", READ),
    ("/log", "GET, HEAD, PUT"),
    ("/reload", "POST"),
    ("/drain", "POST"),
];
const READ: &str = "GET, HEAD";

/// A bound admin listener. It answers on the runtime that runs [`Admin::serve`], off the data path.
#[derive(Debug)]
pub struct Admin {
    acceptor: Acceptor,
    log: Option<LogFilter>,
}

/// What the pages show and change.
struct Shown {
    address: Address,
    engine: Engine,
    metrics: Metrics,
    reloader: Option<Reloader>,
    log: Option<LogFilter>,
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
        Ok(Self { acceptor: Acceptor::new(socket, &Drain::new().watch())?, log: None })
    }

    /// With a log whose filter `PUT /log` changes; without one there is no such page.
    pub fn with_log(self, log: LogFilter) -> Self {
        Self { log: Some(log), ..self }
    }

    /// The address it really has.
    pub fn address(&self) -> &Address {
        self.acceptor.address()
    }

    /// Answers until it is dropped. `POST /reload` needs a `reloader`.
    pub async fn serve(mut self, engine: Engine, metrics: Metrics, reloader: Option<Reloader>) {
        let address = self.address().clone();
        let shown = Arc::new(Shown { address, engine, metrics, reloader, log: self.log });
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
                    async move { Ok::<_, Infallible>(shown.answer(request).await.unwrap_or_else(|refusal| refusal)) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(REQUEST_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the admin listener failed");
                }
            });
        }
    }
}

/// The body of `PUT /log`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFilter {
    filter: String,
}

/// The body of what needs none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Shown {
    /// An error is an answer too: a refusal.
    async fn answer(&self, request: http::Request<Incoming>) -> Result<Response, Response> {
        guard::check(request.headers(), &self.address)
            .map_err(|reason| text(StatusCode::FORBIDDEN, format!("{reason}\n")))?;
        let (head, body) = request.into_parts();
        let pages = || PAGES.iter().filter(|(page, _)| *page != "/log" || self.log.is_some());
        let Some((page, methods)) = pages().find(|(page, _)| *page == head.uri.path()) else {
            let pages: Vec<&str> = pages().map(|(page, _)| *page).collect();
            return Err(text(StatusCode::NOT_FOUND, format!("there are {}\n", pages.join(", "))));
        };
        if !methods.split(", ").any(|method| method == head.method.as_str()) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {methods}\n"));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
            return Err(response);
        }
        let engine = &self.engine;
        Ok(match *page {
            "/" => {
                let links: Vec<&str> =
                    pages().filter(|(_, methods)| methods.contains("GET")).map(|page| page.0).collect();
                html(page::page(engine, &links[1..]))
            }
            "/live" => text(StatusCode::OK, "live\n"),
            "/ready" if engine.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/ready" => text(StatusCode::OK, "ready\n"),
            "/metrics" => typed(self.metrics.render(), "text/plain; version=0.0.4; charset=utf-8"),
            "/clusters" => json(&engine.clusters()),
            "/listeners" => json(&engine.listener_status()),
            "/reload" => {
                read::<Nothing>(&head.headers, body).await?;
                reload::answer(self.reloader.as_ref()).await
            }
            "/drain" => {
                read::<Nothing>(&head.headers, body).await?;
                engine.ask_end();
                let mut response = json(&serde_json::json!({ "draining": true }));
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
            "/log" => {
                let log = self.log.as_ref().ok_or_else(|| text(StatusCode::NOT_FOUND, "there is no log\n"))?;
                if head.method == Method::PUT {
                    let new = read::<Option<NewFilter>>(&head.headers, body).await?;
                    let Some(NewFilter { filter }) = new else {
                        return Err(text(
                            StatusCode::BAD_REQUEST,
                            "expected { \"filter\": \"info,mesh_proxy=debug\" }\n",
                        ));
                    };
                    log.change(&filter).map_err(|error| text(StatusCode::BAD_REQUEST, format!("{error}\n")))?;
                    tracing::info!(filter, "the log's filter was changed");
                }
                json(&serde_json::json!({ "filter": log.current() }))
            }
            _ => json(&engine.effective()),
        })
    }
}

/// A body of JSON; nothing at all is the default. A page of another site cannot send this type without being asked
/// about first, and the answer to that is a refusal.
async fn read<T: DeserializeOwned + Default>(headers: &HeaderMap, body: Incoming) -> Result<T, Response> {
    let collected = tokio::time::timeout(REQUEST_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    let body = match collected {
        Err(_) => return Err(text(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n")),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(text(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {MAX_BODY} bytes\n")));
        }
        Ok(Err(error)) => return Err(text(StatusCode::BAD_REQUEST, format!("{error}\n"))),
        Ok(Ok(body)) => body.to_bytes(),
    };
    let essence =
        headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("").split(';').next().unwrap_or(""));
    let is_json = essence.map(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    // one that says nothing need not say of what type that is
    if !is_json.unwrap_or(body.is_empty()) {
        return Err(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bodies are JSON: content-type: application/json\n"));
    }
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&body).map_err(|error| text(StatusCode::BAD_REQUEST, format!("{error}\n")))
}

fn html(body: String) -> Response {
    let mut response = typed(body, "text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
    response
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
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
