use mesh_core::{BoxError, Cause, Refusal, Rejection, Side};
use std::{error::Error, fmt};

/// What a request ends with when there is no response: a layer refused it, or the upstream failed.
#[derive(Debug)]
pub enum HttpError {
    /// A layer, or the codec, refused.
    Refused(Rejection),
    /// No response came from upstream. Boxed: errors are rare, and what moves through the layers should be small.
    Upstream(Box<UpstreamError>),
}

impl From<Rejection> for HttpError {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<UpstreamError> for HttpError {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(Box::new(error))
    }
}

impl Refusal for HttpError {
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

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(rejection) => rejection.fmt(f),
            Self::Upstream(error) => error.fmt(f),
        }
    }
}

impl Error for HttpError {
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
    /// No connection could be made.
    Connect,
    /// No connection could be made in time.
    ConnectTimeout,
    /// The connection or the stream ended before a response.
    Reset,
    /// The upstream refused the stream before it looked at the request; safe to send again.
    RefusedStream,
    /// What came was not HTTP.
    Protocol,
    /// The request's own body failed: the client's doing.
    RequestBody,
    /// This host has run out of something that a connection needs: file descriptors, memory, source ports.
    Local,
}

impl UpstreamErrorKind {
    /// The name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            UpstreamErrorKind::Connect => "connect",
            UpstreamErrorKind::ConnectTimeout => "connect_timeout",
            UpstreamErrorKind::Reset => "reset",
            UpstreamErrorKind::RefusedStream => "refused_stream",
            UpstreamErrorKind::Protocol => "protocol",
            UpstreamErrorKind::RequestBody => "request_body",
            UpstreamErrorKind::Local => "local",
        }
    }

    /// Who is to blame.
    pub const fn side(self) -> Side {
        match self {
            UpstreamErrorKind::RequestBody => Side::Downstream,
            UpstreamErrorKind::Local => Side::Ours,
            _ => Side::Upstream,
        }
    }

    /// How far the request got; `None` where the upstream is not to blame.
    pub const fn cause(self) -> Option<Cause> {
        match self {
            UpstreamErrorKind::Connect | UpstreamErrorKind::ConnectTimeout => Some(Cause::Connect),
            UpstreamErrorKind::RefusedStream => Some(Cause::Refused),
            UpstreamErrorKind::Reset | UpstreamErrorKind::Protocol => Some(Cause::Reset),
            UpstreamErrorKind::RequestBody | UpstreamErrorKind::Local => None,
        }
    }
}

/// A call to an upstream that brought no response.
#[derive(Debug)]
pub struct UpstreamError {
    kind: UpstreamErrorKind,
    source: Option<BoxError>,
}

impl UpstreamError {
    /// An error of this kind.
    pub fn new(kind: UpstreamErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// Where it went wrong.
    pub fn kind(&self) -> UpstreamErrorKind {
        self.kind
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {}", self.kind.as_str())?;
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
