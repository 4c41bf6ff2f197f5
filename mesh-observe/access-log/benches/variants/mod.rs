//! What is measured: calls over HTTP with five headers, of a service that answers at once. What one more layer costs is
//! counted behind another gate, whose own costs the first gate of a stack has. The lines go nowhere.

use mesh_access_log::{AccessLogLayer, Format, Sink, When};
use mesh_core::{
    Context, GateLayer, Nanos, gate_fn,
    http::{CallBody, GovernedBody},
    units::Ratio,
};
use mesh_test::{Step, TestBody, TestError};
use std::{
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context as Cx, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service};

/// Its name, and a function that makes so many calls of it.
pub(crate) type Variant = (&'static str, fn() -> Box<dyn FnMut(u64)>);

pub(crate) const VARIANTS: [Variant; 7] = [
    ("a gate", || calls(gate().layer(Answers))),
    ("a gate, access log, default text", || logged(log())),
    ("a gate, access log, default json", || logged(log().format(Format::default_json()))),
    ("a gate, access log, method, path, code", || {
        logged(log().format(Format::text("%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%").expect("a good format")))
    }),
    ("a gate, access log, errors only, none", || logged(log().when(When { errors: true, ..When::default() }))),
    ("a gate, access log, sampled, none", || logged(log().when(When { sample: Some(Ratio::ZERO), ..When::default() }))),
    ("a gate, access log off", || {
        let off = log();
        off.handle().set_enabled(false);
        logged(off)
    }),
];

fn log() -> AccessLogLayer {
    AccessLogLayer::to(Sink::writer(std::io::sink()))
}

/// No line is dropped: the writer is waited for now and then, and what it does counts too.
fn logged(log: AccessLogLayer) -> Box<dyn FnMut(u64)> {
    let mut call = calls(gate().layer(log.layer(Answers)));
    Box::new(move |calls| {
        for _ in 0..calls / 1000 {
            call(1000);
            log.handle().sink().flush(Duration::from_secs(60));
        }
        assert_eq!(log.handle().sink().dropped(), 0);
    })
}

fn gate() -> GateLayer<impl mesh_core::Gate<Request>> {
    GateLayer::new(gate_fn(|_: &mut Request| Ok(())))
}

type Request = http::Request<CallBody<TestBody>>;
type Response = http::Response<GovernedBody<TestBody>>;

#[derive(Clone)]
struct Answers;

impl Service<Request> for Answers {
    type Response = Response;
    type Error = mesh_core::Refusable<TestError>;
    type Future = Ready<Result<Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        drop(black_box(request));
        ready(Ok(http::Response::new(GovernedBody::new(TestBody::of([Step::data("an answer")])))))
    }
}

fn calls<S>(mut service: S) -> Box<dyn FnMut(u64)>
where
    S: Service<Request, Response = Response> + 'static,
{
    let mut headers = http::HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example"),
        ("user-agent", "curl/8.1.2"),
        ("accept", "*/*"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-request-id", "0af76519-16cd-43dd-8448-eb211c80319c"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    Box::new(move |calls| {
        for _ in 0..calls {
            let body = CallBody::new(Context::begin(Nanos::from_nanos(1), None), TestBody::empty());
            let mut request = http::Request::new(body);
            *request.uri_mut() = http::Uri::from_static("/orders/4711?verbose=1");
            *request.headers_mut() = headers.clone();
            let mut cx = Cx::from_waker(Waker::noop());
            assert!(service.poll_ready(&mut cx).is_ready());
            let Poll::Ready(Ok(mut response)) = pin!(service.call(request)).poll(&mut cx) else {
                panic!("it answers at once")
            };
            response.body_mut().guards_mut().end_well();
        }
    })
}
