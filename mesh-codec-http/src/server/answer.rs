use crate::{Body, HttpError, Response, UpstreamError, UpstreamErrorKind};
use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use mesh_core::{
    Answer, Rejection,
    http::{GovernedBody, answer},
};
use std::{error::Error, fmt};

/// The client is to see no answer but a reset.
#[derive(Debug)]
pub(super) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reset on purpose")
    }
}

impl Error for Reset {}

/// What a client is told instead of a response. Refusals have their table in [`mesh_core::http`].
pub(super) fn answer_to(error: &HttpError, grpc: bool) -> Result<Response, Reset> {
    match error {
        HttpError::Refused(rejection) if rejection.answer() == Some(Answer::Reset) => Err(Reset),
        HttpError::Refused(rejection) => Ok(answer(rejection, grpc)),
        HttpError::Upstream(error) => Ok(match body_refusal(error) {
            Some(rejection) => answer(rejection, grpc),
            None => answer_to_upstream(error.kind(), grpc),
        }),
    }
}

/// Why the request's own body was cut off, where that was a limit of ours.
fn body_refusal(error: &UpstreamError) -> Option<&Rejection> {
    let mut source = (error.kind() == UpstreamErrorKind::RequestBody).then(|| error.source()).flatten();
    while let Some(error) = source {
        if let Some(rejection) = error.downcast_ref() {
            return Some(rejection);
        }
        source = error.source();
    }
    None
}

/// A client that is gone does not see its answer; one whose body is malformed does, and it is not a 5xx.
fn answer_to_upstream(kind: UpstreamErrorKind, grpc: bool) -> Response {
    static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
    static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
    let (status, code, message) = match kind {
        UpstreamErrorKind::Connect => (StatusCode::BAD_GATEWAY, "14", "upstream cannot be reached"),
        UpstreamErrorKind::ConnectTimeout => (StatusCode::BAD_GATEWAY, "14", "upstream cannot be reached in time"),
        UpstreamErrorKind::Reset => (StatusCode::BAD_GATEWAY, "14", "upstream closed before it answered"),
        UpstreamErrorKind::RefusedStream => (StatusCode::BAD_GATEWAY, "14", "upstream refused the stream"),
        UpstreamErrorKind::Protocol => (StatusCode::BAD_GATEWAY, "14", "upstream broke the protocol"),
        UpstreamErrorKind::Local => (StatusCode::SERVICE_UNAVAILABLE, "14", "out of resources"),
        UpstreamErrorKind::RequestBody => (StatusCode::BAD_REQUEST, "13", "the request ended early"),
    };
    let mut response = http::Response::new(GovernedBody::<Body>::default());
    if grpc {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(&GRPC_STATUS, HeaderValue::from_static(code));
        headers.insert(&GRPC_MESSAGE, HeaderValue::from_static(message));
    } else {
        *response.status_mut() = status;
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use mesh_core::Kind;

    #[test]
    fn the_table() {
        let of = |kind| HttpError::from(UpstreamError::new(kind, "gone"));
        let table = [
            (of(UpstreamErrorKind::Connect), 502, "14"),
            (of(UpstreamErrorKind::ConnectTimeout), 502, "14"),
            (of(UpstreamErrorKind::Reset), 502, "14"),
            (of(UpstreamErrorKind::RefusedStream), 502, "14"),
            (of(UpstreamErrorKind::Protocol), 502, "14"),
            (of(UpstreamErrorKind::Local), 503, "14"),
            (of(UpstreamErrorKind::RequestBody), 400, "13"),
            (UpstreamError::new(UpstreamErrorKind::RequestBody, Rejection::new(Kind::BodyTooLarge)).into(), 413, "8"),
            (Rejection::new(Kind::RateLimited).into(), 429, "8"),
            (Rejection::new(Kind::Timeout).into(), 504, "4"),
        ];
        for (error, status, code) in table {
            assert_eq!(answer_to(&error, false).unwrap().status(), status, "{error}");
            let grpc = answer_to(&error, true).unwrap();
            assert_eq!(
                (grpc.status().as_u16(), &grpc.headers()["grpc-status"]),
                (200, &code.parse().unwrap()),
                "{error}"
            );
        }
        assert!(answer_to(&Rejection::fault(Answer::Reset).into(), true).is_err());
    }
}
