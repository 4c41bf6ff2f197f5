//! The operators of a format: Envoy's, as far as a layer that knows no protocol can serve them.

use crate::time::{KNOWN as TIME_FIELDS, TimeFormat};
use std::fmt;

/// Every operator there is, for messages and suggestions.
pub(crate) const NAMES: [&str; 27] = [
    "START_TIME",
    "REQ",
    "RESP",
    "PATH",
    "QUERY_PARAM",
    "PROTOCOL",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_FLAGS",
    "GRPC_STATUS",
    "GRPC_STATUS_NUMBER",
    "DURATION",
    "REQUEST_DURATION",
    "RESPONSE_DURATION",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "UPSTREAM_HOST",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "ROUTE_NAME",
    "LISTENER_NAME",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "TRACE_ID",
    "REJECTED_BY",
    "OUTCOME",
];

/// Operators of Envoy that cannot be served here, and what says something like it.
const ELSEWHERE: [(&str, &str); 9] = [
    ("CONNECTION_TERMINATION_DETAILS", "RESPONSE_CODE_DETAILS"),
    ("DOWNSTREAM_LOCAL_ADDRESS", "LISTENER_NAME"),
    ("DYNAMIC_METADATA", "REQ"),
    ("FILTER_STATE", "REQ"),
    ("RESPONSE_TX_DURATION", "DURATION"),
    ("TRAILER", "GRPC_STATUS"),
    ("UPSTREAM_HOST_NAME", "UPSTREAM_HOST"),
    ("UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_HOST"),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", "RESPONSE_CODE_DETAILS"),
];

/// What of the request is kept for the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// A header, in lower case.
    Header(Box<str>),
    Method,
    Authority,
    Scheme,
    /// With its query, as `:path` has it.
    PathAndQuery,
    Path,
    QueryParameter(Box<str>),
    /// `HTTP/1.1`
    Protocol,
}

/// How a gRPC status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    StartTime(TimeFormat),
    /// Of the request: the first field that is there, cut to so many bytes.
    Request {
        fields: Vec<Field>,
        limit: usize,
    },
    /// Headers of the response, likewise.
    Response {
        names: Vec<Box<str>>,
        limit: usize,
    },
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    GrpcStatus(GrpcForm),
    Duration,
    RequestDuration,
    ResponseDuration,
    BytesReceived,
    BytesSent,
    UpstreamHost,
    UpstreamCluster,
    Attempts,
    RouteName,
    ListenerName,
    RemoteAddress,
    RemoteIp,
    RemotePort,
    TraceId,
    RejectedBy,
    Outcome,
}

/// The most that is kept of one value, in bytes; `:N` asks for less.
pub const VALUE_LIMIT: usize = 4096;

/// What is wrong with a format, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    message: String,
    pub(crate) suggestion: Option<String>,
    /// The unknown name, for whoever can look for the nearest.
    pub(crate) unknown: Option<String>,
    /// The field of a JSON format.
    field: Option<String>,
    /// Which character of the text, from 1; 0 where it is none of them.
    character: usize,
}

impl FormatError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: None, unknown: None, field: None, character: 0 }
    }

    pub(crate) fn suggesting(self, suggestion: impl Into<String>) -> Self {
        Self { suggestion: Some(suggestion.into()), ..self }
    }

    pub(crate) fn at(self, character: usize) -> Self {
        Self { character, ..self }
    }

    pub(crate) fn in_field(self, name: &str) -> Self {
        Self { field: Some(name.to_owned()), ..self }
    }

    /// Where in the format's text the fault begins: the number of a character, from 1; 0 where it is no place in it.
    pub fn character(&self) -> usize {
        self.character
    }

    /// The sentence without what to do about it.
    pub(crate) fn sentence(&self) -> String {
        let field = self.field.as_ref().map_or_else(String::new, |field| format!(" of `{field}`"));
        match self.character {
            0 => format!("{}{field}", self.message),
            character => format!("{} at character {character}{field}", self.message),
        }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FormatError {}

impl Operator {
    /// Reads what stands between two percent signs: `NAME`, `NAME(ARGUMENT)`, `NAME(ARGUMENT):LIMIT`.
    pub(crate) fn parse(text: &str) -> Result<Self, FormatError> {
        let end = text.find(|c: char| !(c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let (argument, rest) = match rest.strip_prefix('(').map(|rest| rest.rsplit_once(')')) {
            Some(Some((argument, rest))) => (Some(argument), rest),
            Some(None) => return Err(FormatError::new(format!("`%{text}%` has no `)`"))),
            None => (None, rest),
        };
        let limit = match rest.strip_prefix(':') {
            Some(digits) => match digits.parse::<usize>() {
                Ok(limit @ 1..=VALUE_LIMIT) => Some(limit),
                _ => {
                    let expected = format!("`:{digits}` is no length: expected 1 to {VALUE_LIMIT} bytes");
                    return Err(FormatError::new(expected));
                }
            },
            None if rest.is_empty() => None,
            None => return Err(Self::unknown(text)),
        };
        let operator = Self::named(name, argument, limit.unwrap_or(VALUE_LIMIT), text)?;
        if limit.is_some() && !["REQ", "RESP", "PATH", "QUERY_PARAM"].contains(&name) {
            return Err(FormatError::new(format!("`%{text}%`: only values of headers and the path can be cut")));
        }
        Ok(operator)
    }

    fn named(name: &str, argument: Option<&str>, limit: usize, text: &str) -> Result<Self, FormatError> {
        let request = |fields| Ok(Self::Request { fields, limit });
        let simple = match (name, argument) {
            ("START_TIME", None) => Self::StartTime(TimeFormat::iso()),
            ("START_TIME", Some(format)) => Self::StartTime(TimeFormat::parse(format).map_err(|unknown| {
                FormatError::new(format!("`{}` is no part of a time", unknown.0))
                    .suggesting(format!("the parts are {TIME_FIELDS}"))
            })?),
            ("REQ", Some(names)) => return request(names.split('?').map(field).collect::<Result<_, _>>()?),
            ("RESP", Some(names)) => {
                let names = names.split('?').map(header).collect::<Result<_, _>>()?;
                return Ok(Self::Response { names, limit });
            }
            ("REQ" | "RESP", None) => {
                return Err(FormatError::new(format!("`%{name}%` needs a header: `%{name}(user-agent)%`")));
            }
            ("PATH", None | Some("WQ")) => return request(vec![Field::PathAndQuery]),
            ("PATH", Some("NQ")) => return request(vec![Field::Path]),
            ("PATH", Some(other)) => {
                let message = format!("`{other}` is no way to write the path");
                return Err(FormatError::new(message).suggesting("with its query `WQ`, without it `NQ`"));
            }
            ("QUERY_PARAM", Some(name)) if !name.is_empty() => {
                return request(vec![Field::QueryParameter(name.into())]);
            }
            ("QUERY_PARAM", _) => return Err(FormatError::new("`%QUERY_PARAM%` needs a name: `%QUERY_PARAM(page)%`")),
            ("PROTOCOL", None) => return request(vec![Field::Protocol]),
            ("RESPONSE_CODE", None) => Self::ResponseCode,
            ("RESPONSE_CODE_DETAILS", None) => Self::ResponseCodeDetails,
            ("RESPONSE_FLAGS", None) => Self::ResponseFlags,
            ("GRPC_STATUS", None | Some("CAMEL_STRING")) => Self::GrpcStatus(GrpcForm::Camel),
            ("GRPC_STATUS", Some("SNAKE_STRING")) => Self::GrpcStatus(GrpcForm::Snake),
            ("GRPC_STATUS", Some("NUMBER")) | ("GRPC_STATUS_NUMBER", None) => Self::GrpcStatus(GrpcForm::Number),
            ("GRPC_STATUS", Some(other)) => {
                let message = format!("`{other}` is no way to write a gRPC status");
                return Err(FormatError::new(message).suggesting("they are CAMEL_STRING, SNAKE_STRING and NUMBER"));
            }
            ("DURATION", None) => Self::Duration,
            ("REQUEST_DURATION", None) => Self::RequestDuration,
            ("RESPONSE_DURATION", None) => Self::ResponseDuration,
            ("BYTES_RECEIVED", None) => Self::BytesReceived,
            ("BYTES_SENT", None) => Self::BytesSent,
            ("UPSTREAM_HOST", None) => Self::UpstreamHost,
            ("UPSTREAM_CLUSTER", None) => Self::UpstreamCluster,
            ("UPSTREAM_REQUEST_ATTEMPT_COUNT", None) => Self::Attempts,
            ("ROUTE_NAME", None) => Self::RouteName,
            ("LISTENER_NAME", None) => Self::ListenerName,
            ("DOWNSTREAM_REMOTE_ADDRESS", None) => Self::RemoteAddress,
            ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", None) => Self::RemoteIp,
            ("DOWNSTREAM_REMOTE_PORT", None) => Self::RemotePort,
            ("TRACE_ID", None) => Self::TraceId,
            ("REJECTED_BY", None) => Self::RejectedBy,
            ("OUTCOME", None) => Self::Outcome,
            (known, Some(_)) if NAMES.contains(&known) => {
                return Err(FormatError::new(format!("`%{text}%`: this operator takes no argument"))
                    .suggesting(format!("write `%{known}%`")));
            }
            _ => return Err(Self::unknown(if name.is_empty() { text } else { name })),
        };
        Ok(simple)
    }

    fn unknown(name: &str) -> FormatError {
        match ELSEWHERE.iter().find(|(known, _)| *known == name) {
            Some((_, instead)) => FormatError::new(format!("`%{name}%` cannot be served here"))
                .suggesting(format!("did you mean `%{instead}%`?")),
            None => {
                FormatError { unknown: Some(name.into()), ..FormatError::new(format!("unknown operator `%{name}%`")) }
            }
        }
    }

    /// Whether it needs the head of the response.
    pub(crate) fn needs_head(&self) -> bool {
        matches!(self, Self::Response { .. } | Self::ResponseDuration)
    }
}

fn field(name: &str) -> Result<Field, FormatError> {
    Ok(match name.to_ascii_lowercase().as_str() {
        ":method" => Field::Method,
        ":authority" => Field::Authority,
        ":scheme" => Field::Scheme,
        ":path" => Field::PathAndQuery,
        _ => Field::Header(header(name)?),
    })
}

/// The name of a header, in lower case: a token of RFC 9110, section 5.6.2.
fn header(name: &str) -> Result<Box<str>, FormatError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let error = FormatError::new(format!("`{name}` is no header"));
        return Err(match name.starts_with(':') {
            true => error.suggesting("the pseudo-headers are :METHOD, :PATH, :AUTHORITY and :SCHEME, of the request"),
            false => error,
        });
    }
    Ok(name.to_ascii_lowercase().into())
}
