//! What goes wrong with a call, and what the consumer is told of it.

use crate::frame::Status;
use mesh_core::{Answer, BoxError, Cause, Code, Kind, Refusal, Rejection, Side};
use std::{error::Error, fmt};

/// What a call ends with when there is no answer: a layer refused it, or the upstream failed.
#[derive(Debug)]
pub enum DubboError {
    /// A layer, or the codec, refused.
    Refused(Rejection),
    /// No answer came from upstream. Boxed: errors are rare, and what moves through the layers should be small.
    Upstream(Box<UpstreamError>),
}

impl From<Rejection> for DubboError {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<UpstreamError> for DubboError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(Box::new(error))
    }
}

impl Refusal for DubboError {
    fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::Upstream(_) => None,
        }
    }

    fn rejection_mut(&mut self) -> Option<&mut Rejection> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::Upstream(_) => None,
        }
    }

    fn side(&self) -> Side {
        match self {
            Self::Refused(rejection) => rejection.kind().side(),
            Self::Upstream(error) => error.kind().side(),
        }
    }

    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Refused(_) => None,
            Self::Upstream(error) => error.kind().cause(),
        }
    }
}

impl DubboError {
    /// The status and the message that a consumer is answered with; nothing where it is to get no answer: a fault that plays a
    /// reset. A connection is shared by many calls, so that a single one cannot be reset: its consumer waits in vain.
    ///
    /// | refused as | status |
    /// | --- | --- |
    /// | malformed; head, body, URI or headers too large or too late | 40, bad request |
    /// | no route | 60, service not found |
    /// | forbidden | 70, service error |
    /// | rate limited, saturated, breaker open, pool full | 100, exhausted: Java's consumers try another provider |
    /// | no endpoint, foreign | 80, server error |
    /// | timeout, deadline | 31, server timeout |
    /// | injected fault | as configured; HTTP's 4xx are 40, 403 is 70, 404 is 60, 429 and 503 are 100, 504 is 31, others 80 |
    ///
    /// An upstream that cannot be reached or is lost: 80. One whose answer cannot be used: 50.
    pub fn answer(&self) -> Option<(Status, String)> {
        match self {
            Self::Refused(rejection) => {
                let status = status_of(rejection)?;
                Some((status, message_of(rejection)))
            }
            Self::Upstream(error) => Some((error.kind().status(), error.to_string())),
        }
    }
}

fn status_of(rejection: &Rejection) -> Option<Status> {
    Some(match (rejection.kind(), rejection.answer()) {
        (Kind::Malformed | Kind::HeaderTimeout | Kind::BodyTooLarge | Kind::UriTooLong | Kind::HeadersTooLarge, _) => {
            Status::BAD_REQUEST
        }
        (Kind::NoRoute, _) => Status::SERVICE_NOT_FOUND,
        (Kind::Forbidden, _) => Status::SERVICE_ERROR,
        (Kind::RateLimited | Kind::Saturated | Kind::CircuitOpen | Kind::PoolFull, _) => Status::EXHAUSTED,
        (Kind::NoEndpoint | Kind::Foreign, _) => Status::SERVER_ERROR,
        (Kind::Timeout, _) => Status::SERVER_TIMEOUT,
        (Kind::Fault, Some(Answer::Reset)) => return None,
        (Kind::Fault, Some(Answer::Code(code))) => status_of_code(code),
        (Kind::Fault, None) => Status::SERVER_ERROR,
    })
}

/// A failure of another protocol in Dubbo's words.
fn status_of_code(code: Code) -> Status {
    match code {
        // a good answer needs a value, which nobody has
        Code::Dubbo(20) | Code::None => Status::SERVER_ERROR,
        Code::Dubbo(status) => Status(status),
        Code::Http(401 | 403) | Code::Grpc(7 | 16) => Status::SERVICE_ERROR,
        Code::Http(404) | Code::Grpc(5 | 12) => Status::SERVICE_NOT_FOUND,
        Code::Http(429 | 503) | Code::Grpc(8 | 14) => Status::EXHAUSTED,
        Code::Http(408 | 504) | Code::Grpc(4) => Status::SERVER_TIMEOUT,
        Code::Http(400..=499) | Code::Grpc(3 | 9 | 11) => Status::BAD_REQUEST,
        Code::Http(_) | Code::Grpc(_) => Status::SERVER_ERROR,
    }
}

/// Who refused and why, and when to come back; nothing of what is behind it, which is not for consumers.
fn message_of(rejection: &Rejection) -> String {
    let mut message = format!("refused: {}", rejection.kind().as_str());
    if !rejection.layer().is_none() {
        message = format!("refused by {}: {}", rejection.layer(), rejection.kind().as_str());
    }
    if let Some(wait) = rejection.retry_after_hint() {
        message += &format!(", retry after {} ms", wait.as_millis());
    }
    message
}

impl fmt::Display for DubboError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(rejection) => rejection.fmt(f),
            Self::Upstream(error) => error.fmt(f),
        }
    }
}

impl Error for DubboError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::Upstream(error) => Some(error),
        }
    }
}

/// Where a call to an upstream went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// No connection could be made, or the last attempt has just failed and the next is not due.
    Connect,
    /// No connection could be made in time.
    ConnectTimeout,
    /// The connection was lost before an answer came: closed, reset, or silent for too long.
    Reset,
    /// What came was not Dubbo2.
    Protocol,
    /// The answer's body is longer than is taken.
    TooLong,
    /// This host has run out of something that a connection needs.
    Local,
}

impl UpstreamErrorKind {
    /// The name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::TooLong => "too_long",
            Self::Local => "local",
        }
    }

    /// Who is to blame.
    pub const fn side(self) -> Side {
        match self {
            Self::Local => Side::Ours,
            _ => Side::Upstream,
        }
    }

    /// How far the call got; `None` where the upstream is not to blame.
    pub const fn cause(self) -> Option<Cause> {
        match self {
            Self::Connect | Self::ConnectTimeout => Some(Cause::Connect),
            Self::Reset | Self::Protocol | Self::TooLong => Some(Cause::Reset),
            Self::Local => None,
        }
    }

    /// The status that a consumer is answered with.
    pub const fn status(self) -> Status {
        match self {
            Self::TooLong | Self::Protocol => Status::BAD_RESPONSE,
            Self::Connect | Self::ConnectTimeout | Self::Reset | Self::Local => Status::SERVER_ERROR,
        }
    }
}

/// A call to an upstream that brought no answer.
#[derive(Debug)]
pub struct UpstreamError {
    kind: UpstreamErrorKind,
    address: Option<mesh_core::Address>,
    source: Option<BoxError>,
}

impl UpstreamError {
    /// An error of this kind.
    pub fn new(kind: UpstreamErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, address: None, source: Some(source.into()) }
    }

    /// The same, of an upstream at this address.
    #[must_use]
    pub fn at(self, address: mesh_core::Address) -> Self {
        Self { address: Some(address), ..self }
    }

    /// Where it went wrong.
    pub fn kind(&self) -> UpstreamErrorKind {
        self.kind
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {}", self.kind.as_str())?;
        if let Some(address) = &self.address {
            write!(f, " {address}")?;
        }
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for UpstreamError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
