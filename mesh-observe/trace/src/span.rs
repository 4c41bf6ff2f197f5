//! One span: opened with what the request says, closed with what became of it. Names of fields are those of
//! OpenTelemetry's semantic conventions for HTTP and RPC; `otel.*` are those that `tracing-opentelemetry` gives a meaning.
//! Numbers are `i64`, the only ones that it exports as such.

use mesh_core::{
    Code, End, HttpHead, Kind, Name, Outcome, Rejection, RequestView, TraceContext,
    http::{grpc_status, http_status},
};
use std::fmt;
use tracing::{Level, Span, field};

/// The `target` of the spans, for filters. Their level is DEBUG.
pub const TARGET: &str = "mesh_trace";

/// Which side of the call a span is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpanKind {
    /// The side that is called.
    #[default]
    Server,
    /// The side that calls.
    Client,
}

/// A span that is open.
#[derive(Debug)]
pub(crate) struct Open {
    span: Span,
    speaks: Speaks,
    pub(crate) trace: TraceContext,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http,
    Grpc,
    Other,
}

/// Whether anybody takes the spans.
#[inline]
pub(crate) fn is_wanted() -> bool {
    tracing::span_enabled!(target: TARGET, Level::DEBUG)
}

/// Methods that may stand in a span as they are: others would make as many names as a client likes.
const METHODS: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT"];

/// What a span is called: known before anything is allocated for it.
enum SpanName<'a> {
    Http(&'a str),
    Rpc(&'a str, &'a str),
}

impl fmt::Display for SpanName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpanName::Http(method) => f.write_str(method),
            SpanName::Rpc(service, method) => write!(f, "{service}/{method}"),
        }
    }
}

impl Open {
    /// Opens a span. `None` if nobody wants it after all.
    pub(crate) fn new<R: RequestView>(
        request: &R,
        trace: TraceContext,
        kind: SpanKind,
        protocol: &str,
    ) -> Option<Self> {
        let http = request.http();
        let speaks = match http {
            None => Speaks::Other,
            Some(HttpHead { is_grpc: true, .. }) => Speaks::Grpc,
            Some(_) => Speaks::Http,
        };
        let rpc = (speaks != Speaks::Http).then(|| (request.service(), request.method()));
        let method = http.map(|http| if METHODS.contains(&http.method) { http.method } else { "_OTHER" });
        let name = match (rpc, method) {
            (Some((service, method)), _) => SpanName::Rpc(service, method),
            (None, Some("_OTHER")) => SpanName::Http("HTTP"),
            (None, method) => SpanName::Http(method.unwrap_or("HTTP")),
        };
        let system = match speaks {
            Speaks::Http => None,
            Speaks::Grpc => Some("grpc"),
            Speaks::Other => Some(protocol),
        };
        let (address, port) = http.map_or(("", None), |http| split_port(http.authority));
        let peer = request.peer().address.filter(|_| kind == SpanKind::Server);
        let span = tracing::span!(
            target: TARGET,
            Level::DEBUG,
            "request",
            otel.name = %name,
            otel.kind = match kind {
                SpanKind::Server => "server",
                SpanKind::Client => "client",
            },
            otel.status_code = field::Empty,
            http.request.method = method,
            http.response.status_code = field::Empty,
            url.scheme = http.map(|http| http.scheme.unwrap_or("http")),
            url.path = http.map(|http| http.path),
            server.address = (!address.is_empty()).then_some(address),
            server.port = port,
            client.address = peer.map(|peer| field::display(peer.ip())),
            network.protocol.name = http.map(|_| "http"),
            network.protocol.version = http.map(|http| http.version),
            rpc.system = system,
            rpc.service = rpc.map(|rpc| rpc.0),
            rpc.method = rpc.map(|rpc| rpc.1),
            rpc.grpc.status_code = field::Empty,
            "error.type" = field::Empty,
            mesh.listener = field::Empty,
            mesh.route = field::Empty,
            mesh.cluster = field::Empty,
            mesh.rejected_by = field::Empty,
        );
        if span.is_disabled() {
            return None;
        }
        // makes an exporter begin it while the ids are told
        span.in_scope(|| ());
        Some(Self { span, speaks, trace })
    }

    /// Closes it.
    pub(crate) fn close(self, kind: SpanKind, end: &End<'_>) {
        let span = self.span;
        let context = end.context();
        let names = [
            ("mesh.listener", context.listener()),
            ("mesh.route", context.route()),
            ("mesh.cluster", context.cluster()),
            ("mesh.rejected_by", end.rejection().map_or(Name::NONE, Rejection::layer)),
        ];
        for (field, name) in names {
            if !name.is_none() {
                span.record(field, name.as_str());
            }
        }
        let code = match (end.code, end.rejection(), self.speaks) {
            // the answer is made further out, of the refusal
            (Code::None, Some(rejection), Speaks::Http) => Code::Http(http_status(rejection).as_u16()),
            (Code::None, Some(rejection), Speaks::Grpc) => Code::Grpc(grpc_status(rejection)),
            (code, ..) => code,
        };
        match code {
            Code::Http(status) => {
                span.record("http.response.status_code", i64::from(status));
            }
            Code::Grpc(status) => {
                span.record("rpc.grpc.status_code", i64::from(status));
            }
            Code::Dubbo(_) | Code::None => {}
        }
        if let Some(error) = ErrorType::of(code, kind, end) {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", field::display(error));
        }
    }
}

/// Host and port of an authority.
fn split_port(authority: &str) -> (&str, Option<i64>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse::<u16>().ok().map(i64::from))
        }
        _ => (authority, None),
    }
}

/// `error.type`: of few values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorType {
    Status(u16),
    Named(&'static str),
}

impl ErrorType {
    /// `None` where the span is no error. The conventions count a 4xx as an error of the client only, and of gRPC's
    /// codes to the server only those that blame it.
    fn of(code: Code, kind: SpanKind, end: &End<'_>) -> Option<Self> {
        let is_client = kind == SpanKind::Client;
        let refused = end.rejection().map(Rejection::kind).map(Kind::as_str);
        let by_code = match code {
            Code::Http(status) if status >= 500 || (is_client && status >= 400) => Some(Self::Status(status)),
            Code::Grpc(status @ (2 | 4 | 12..=15)) => Some(Self::Named(grpc_name(status))),
            Code::Grpc(status) if status > 16 || (is_client && status != 0) => Some(Self::Named(grpc_name(status))),
            _ => None,
        };
        match (end.outcome, refused, by_code) {
            (Outcome::Cancelled, ..) => Some(Self::Named("cancelled")),
            (_, Some(kind), Some(_)) => Some(Self::Named(kind)),
            (_, None, Some(by_code)) => Some(by_code),
            (Outcome::TimedOut, ..) => Some(Self::Named("timeout")),
            // refused where there are no codes, or without blame: a server's 429 is none of its errors
            (Outcome::Rejected, kind, None) => kind.filter(|_| code == Code::None).map(Self::Named),
            (Outcome::Failure, _, None) => Some(Self::Named("transport")),
            (Outcome::Success, ..) => None,
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorType::Status(status) => status.fmt(f),
            ErrorType::Named(name) => f.write_str(name),
        }
    }
}

fn grpc_name(status: u16) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::from(status)).copied().unwrap_or("UNKNOWN")
}
