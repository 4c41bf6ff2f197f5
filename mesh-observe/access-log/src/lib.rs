//! Access logs as a `tower::Layer`: a line for each request that has ended, as text with Envoy's operators or as JSON.
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use mesh_access_log::{AccessLogLayer, Format, Sink};
//! use mesh_core::http::governed;
//! use std::{io::Write, sync::mpsc, time::Duration};
//! use tower::ServiceExt;
//!
//! # struct Lines(mpsc::Sender<String>);
//! # impl Write for Lines {
//! #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
//! #         let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
//! #         Ok(bytes.len())
//! #     }
//! #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (sender, lines) = mpsc::channel();
//! # let writer = Lines(sender);
//! let log = AccessLogLayer::to(Sink::writer(writer)) // or `AccessLogLayer::new()`: to standard output
//!     .format(Format::text("%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %BYTES_SENT%")?);
//! let app: Router = Router::new().route("/", get(async || "hello")).layer(governed(log.clone()));
//!
//! let response = app.oneshot(http::Request::get("/?page=2").body(Body::empty())?).await?;
//! axum::body::to_bytes(response.into_body(), 100).await?;
//! log.handle().sink().flush(Duration::from_secs(5));
//! assert_eq!(lines.recv()?, "GET /?page=2 200 5\n");
//! # Ok(())
//! # }
//! ```
//!
//! # Options
//! | setting | default | |
//! | --- | --- | --- |
//! | `format` | `text` | `text`: [`DEFAULT_TEXT`]; `json`: [`DEFAULT_JSON`]; `{ text: … }`, `{ json: { FIELD: … } }`: of one's own, by [`Format::text`] and [`Format::json`] |
//! | `path` | standard output | the file that lines are appended to; one that rotation has moved away is left for a new one |
//! | `when` | all requests | `status: [5xx]`, `errors: true`, `min_duration: 1s`, `sample: 1%`: each is a reason to write a line |
//!
//! # Operators
//! Those of Envoy, with its names; what is missing is `-` in text and `null` in JSON, where a field that is one operator
//! alone keeps its type. An operator that cannot be served is an error when the format is read.
//!
//! | operator | |
//! | --- | --- |
//! | `START_TIME`, `START_TIME(FORMAT)` | when the request arrived, in UTC; with the fields of `strftime` `%Y %m %b %d %j %a %H %M %S %f %3f %s %F %T %z %Z` |
//! | `REQ(A?B):N` | the header A of the request, else B, cut to N bytes (always to [`VALUE_LIMIT`]); also `:METHOD`, `:PATH` (with its query), `:AUTHORITY`, `:SCHEME` |
//! | `PATH(NQ)`, `PATH(WQ)`, `QUERY_PARAM(X)` | the path without and with its query; a parameter of the query, as it was sent |
//! | `RESP(A?B):N` | a header of the response |
//! | `PROTOCOL` | `HTTP/1.1`, `HTTP/2`, or the name of another protocol |
//! | `RESPONSE_CODE` | what the client was answered: for a refusal or a failure what it becomes; 499 where the client went away first; 0 for no answer |
//! | `RESPONSE_CODE_DETAILS` | `via_upstream`, `direct_response`, the reason of a refusal (`rate_limited`, `no_route`, …), `downstream_remote_disconnect`, `timeout`, `upstream_reset_before_response_started{…}` with Envoy's word for how, `upstream_reset_after_response_started` |
//! | `RESPONSE_FLAGS` | `NR` no route, `UH` no endpoint, `UO` a limit or an open breaker, `RL` rate limit, `UAEX` forbidden, `UT` timeout, `FI` injected fault, `DPE` the client's fault, `DC` the client went away, `UF` the upstream could not be reached, `UR` it refused the stream, `UC` it broke off, before or after its answer began, or nobody has said how it failed; `LR` ours |
//! | `GRPC_STATUS`, `GRPC_STATUS(SNAKE_STRING)`, `GRPC_STATUS_NUMBER` | the status of a gRPC call, from its trailers |
//! | `DURATION`, `REQUEST_DURATION`, `RESPONSE_DURATION` | milliseconds from the arrival to the end, to the last byte of the request, to the head of the response |
//! | `BYTES_RECEIVED`, `BYTES_SENT` | of the bodies. Of the request: as far as it was read behind this layer; inside `governed` a service is given the body as it came, and 0 is said |
//! | `UPSTREAM_HOST`, `UPSTREAM_CLUSTER`, `UPSTREAM_REQUEST_ATTEMPT_COUNT` | the endpoint that was picked last, its cluster, how often the request was sent |
//! | `ROUTE_NAME`, `LISTENER_NAME` | |
//! | `DOWNSTREAM_REMOTE_ADDRESS`, `…_WITHOUT_PORT`, `DOWNSTREAM_REMOTE_PORT` | of the peer, not what headers say |
//! | `TRACE_ID` | where a tracing layer, at whatever place, has written it |
//! | `REJECTED_BY`, `OUTCOME` | the layer that refused; `success`, `failure`, `rejected`, `cancelled`, `timed_out` |
//!
//! # One line, whatever comes
//! Values from the wire are escaped: in text everything but printable ASCII becomes `\xNN`, and quotation mark and
//! backslash get a backslash; JSON strings are those of RFC 8259 in UTF-8, in which what terminals obey and what some
//! readers take for the end of a line is escaped too. So a request can neither begin a line nor a field of its own.
//!
//! # Never in the way
//! A request's line goes into a buffer of its thread; a thread of the [`Sink`] writes them together, at the latest a
//! tenth of a second later. Where that falls behind by [`BUFFER_LIMIT`], on a full disk or a stalled pipe, lines are
//! lost, and nobody waits: they are counted in `mesh_access_log_dropped_total{sink}` and reported in the log. Call
//! [`flush`] before a program ends.
//!
//! # What it costs
//! No allocation and, unless two threads meet, no waiting for a lock. In instructions behind another gate, those of the
//! writer included: 6,600 for the default text with its fourteen operators, 9,200 for the default object of 21 fields,
//! 2,800 for method, path and code; 3,500 for a request with the default text that gets no line in the end, 150 for one
//! that `sample` alone leaves out, 110 when off. `cargo bench -p mesh-access-log --bench instructions` counts. Memory: a
//! buffer of 64 KiB for each processor and one for the writer, as far as they are filled.
//!
//! | feature | brings |
//! | --- | --- |
//! | `config` | `register`: the layer by its name `access_log` in a spec |

#[cfg(feature = "config")]
mod config;
mod draft;
mod escape;
mod format;
mod gate;
mod layer;
mod line;
mod number;
mod operator;
mod settings;
mod sink;
mod time;
mod when;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

#[cfg(feature = "config")]
pub use config::register;
pub use format::{DEFAULT_JSON, DEFAULT_TEXT, Format};
pub use gate::AccessLog;
pub use layer::AccessLogLayer;
pub use mesh_core::units::Statuses;
pub use operator::{FormatError, VALUE_LIMIT};
pub use settings::AccessLogSettings;
pub use sink::{BUFFER_LIMIT, DROPPED_TOTAL, LINES_TOTAL, Sink, flush};
pub use when::When;

/// The README's code runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
