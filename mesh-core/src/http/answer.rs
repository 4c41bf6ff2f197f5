use super::{GovernedBody, view::GRPC_STATUS};
use crate::{Answer, Code, Kind, Rejection};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body::Body;

/// The HTTP status a refusal is answered with.
pub fn http_status(rejection: &Rejection) -> StatusCode {
    match (rejection.kind(), rejection.answer()) {
        (Kind::Malformed, _) => StatusCode::BAD_REQUEST,
        (Kind::HeaderTimeout, _) => StatusCode::REQUEST_TIMEOUT,
        (Kind::BodyTooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
        (Kind::UriTooLong, _) => StatusCode::URI_TOO_LONG,
        (Kind::HeadersTooLarge, _) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        (Kind::NoRoute, _) => StatusCode::NOT_FOUND,
        (Kind::Forbidden, _) => StatusCode::FORBIDDEN,
        (Kind::RateLimited, _) => StatusCode::TOO_MANY_REQUESTS,
        (Kind::Saturated | Kind::CircuitOpen | Kind::PoolFull | Kind::NoEndpoint | Kind::Foreign, _) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        (Kind::Timeout, _) => StatusCode::GATEWAY_TIMEOUT,
        (Kind::Fault, Some(Answer::Code(Code::Http(status)))) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        }
        (Kind::Fault, Some(Answer::Code(Code::Grpc(status)))) => status_of_grpc(status),
        (Kind::Fault, _) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The gRPC status a refusal is answered with.
pub fn grpc_status(rejection: &Rejection) -> u16 {
    match (rejection.kind(), rejection.answer()) {
        (Kind::Malformed | Kind::HeaderTimeout | Kind::UriTooLong | Kind::HeadersTooLarge, _) => 13,
        (Kind::BodyTooLarge | Kind::RateLimited, _) => 8,
        (Kind::NoRoute, _) => 12,
        (Kind::Forbidden, _) => 7,
        (Kind::Saturated | Kind::CircuitOpen | Kind::PoolFull | Kind::NoEndpoint | Kind::Foreign, _) => 14,
        (Kind::Timeout, _) => 4,
        (Kind::Fault, Some(Answer::Code(Code::Grpc(status)))) => status,
        (Kind::Fault, Some(Answer::Code(Code::Http(status)))) => grpc_of_status(status),
        (Kind::Fault, _) => 14,
    }
}

/// gRPC's own table for answers that did not come from a gRPC server.
fn grpc_of_status(status: u16) -> u16 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

fn status_of_grpc(status: u16) -> StatusCode {
    match status {
        0 => StatusCode::OK,
        3 | 9 | 11 => StatusCode::BAD_REQUEST,
        4 => StatusCode::GATEWAY_TIMEOUT,
        5 => StatusCode::NOT_FOUND,
        6 | 10 => StatusCode::CONFLICT,
        7 => StatusCode::FORBIDDEN,
        8 => StatusCode::TOO_MANY_REQUESTS,
        12 => StatusCode::NOT_IMPLEMENTED,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        16 => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer that a refusal becomes. To a gRPC request it is HTTP 200 with the status in the head. It says which
/// layer refused in `x-mesh-rejected-by`, and carries what layers further out have added.
///
/// A fault that asks for a reset has no answer: its body [fails at once](GovernedBody::aborting), its status (503) is for
/// those who look at heads only, such as whoever answers a HEAD.
pub fn answer<B: Body>(rejection: &Rejection, grpc: bool) -> http::Response<GovernedBody<B>> {
    if rejection.answer() == Some(Answer::Reset) {
        let mut response = http::Response::new(GovernedBody::aborting());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    }
    static REJECTED_BY: HeaderName = HeaderName::from_static("x-mesh-rejected-by");
    let mut response = http::Response::new(GovernedBody::default());
    let hint = rejection.retry_after_hint();
    if grpc {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS.clone(), HeaderValue::from(grpc_status(rejection)));
        headers.insert("grpc-message", HeaderValue::from_static(rejection.kind().as_str()));
        if let Some(wait) = hint {
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            headers.insert("grpc-retry-pushback-ms", HeaderValue::from(millis));
        }
    } else {
        *response.status_mut() = http_status(rejection);
        if let Some(wait) = hint {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000).max(1) as u64));
        }
    }
    let headers = response.headers_mut();
    for (name, value) in rejection.fields() {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if !rejection.layer().is_none()
        && let Ok(layer) = HeaderValue::from_str(rejection.layer().as_str())
    {
        headers.insert(REJECTED_BY.clone(), layer);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    struct NoBody;
    impl Body for NoBody {
        type Data = bytes::Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
            std::task::Poll::Ready(None)
        }
    }

    #[test]
    fn every_kind_has_an_answer() {
        let table: Vec<(u16, u16)> = Kind::ALL
            .map(Rejection::new)
            .iter()
            .map(|rejection| (http_status(rejection).as_u16(), grpc_status(rejection)))
            .collect();
        let expected = [
            (400, 13),
            (408, 13),
            (413, 8),
            (414, 13),
            (431, 13),
            (404, 12),
            (403, 7),
            (429, 8),
            (503, 14),
            (503, 14),
            (503, 14),
            (503, 14),
            (504, 4),
            (503, 14),
            (503, 14),
        ];
        assert_eq!(table, expected);
    }

    #[test]
    fn a_grpc_answer_is_a_head_with_status_200() {
        let mut rejection = Rejection::new(Kind::RateLimited).retry_after(std::time::Duration::from_millis(1500));
        rejection.stamp(Name::intern("rate_limit"));
        let grpc = answer::<NoBody>(&rejection, true);
        assert_eq!(grpc.status(), 200);
        assert_eq!(grpc.headers()["grpc-status"], "8");
        assert_eq!(grpc.headers()["grpc-retry-pushback-ms"], "1500");
        let http = answer::<NoBody>(&rejection, false);
        assert_eq!(http.status(), 429);
        assert_eq!(http.headers()["retry-after"], "2");
        assert_eq!(http.headers()["x-mesh-rejected-by"], "rate_limit");
    }

    #[test]
    fn a_reset_is_a_body_that_fails() {
        let mut body = answer::<http_body_util::Full<bytes::Bytes>>(&Rejection::fault(Answer::Reset), true).into_body();
        assert!(!body.is_end_stream() && body.size_hint().exact().is_none());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let polled = std::pin::Pin::new(&mut body).poll_frame(&mut cx);
        assert!(matches!(polled, std::task::Poll::Ready(Some(Err(_)))), "{polled:?}");
        let polled = std::pin::Pin::new(&mut body).poll_frame(&mut cx);
        assert!(matches!(polled, std::task::Poll::Ready(None)));
    }

    #[test]
    fn a_fault_answers_as_it_was_told() {
        let fault = |code| Rejection::fault(Answer::Code(code));
        assert_eq!(http_status(&fault(Code::Http(418))), 418);
        assert_eq!(
            (http_status(&fault(Code::Grpc(5))), grpc_status(&fault(Code::Grpc(5)))),
            (StatusCode::NOT_FOUND, 5)
        );
        assert_eq!(grpc_status(&fault(Code::Http(503))), 14);
    }
}
