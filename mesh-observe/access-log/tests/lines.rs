//! What lines say, on every way out of a request.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use http_body_util::BodyExt as _;
use mesh_access_log::{AccessLogLayer, Format, Sink, Statuses, When};
use mesh_core::{
    Address, Answer, Cause, Code, Context, Endpoint, Kind, Name, Peer, Rejection, Target, TraceContext, gate_fn,
    http::{CallBody, GovernedBody},
    units::Ratio,
};
use mesh_test::{Step, TestBody, TestError, mock::mock};
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as Cx, Poll, Waker},
    time::Duration,
};
use support::Memory;
use tower::{Layer, Service};

type Request = http::Request<CallBody<TestBody>>;
type Response = http::Response<GovernedBody<TestBody>>;
type Error = mesh_core::Refusable<TestError>;

struct Log {
    layer: AccessLogLayer,
    memory: Memory,
}

impl Log {
    fn new(format: Format) -> Self {
        let memory = Memory::default();
        Self { layer: AccessLogLayer::to(memory.sink()).format(format), memory }
    }

    fn text(text: &str) -> Self {
        Self::new(Format::text(text).unwrap())
    }

    fn lines(&self) -> Vec<String> {
        self.memory.lines(self.layer.handle().sink())
    }

    fn line(&self) -> String {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }

    /// A call with what is below answering so, its body read to the end.
    fn call(&self, request: Request, answer: impl Fn(&Request) -> Result<Response, Error> + Send + Sync + 'static) {
        let response = self.head(request, answer);
        if let Ok(mut response) = response {
            while let Poll::Ready(Some(Ok(_))) = poll(response.body_mut().frame()) {}
        }
    }

    /// A call up to its head.
    fn head(
        &self,
        request: Request,
        answer: impl Fn(&Request) -> Result<Response, Error> + Send + Sync + 'static,
    ) -> Result<Response, Error> {
        let (service, handle) = mock::<Request, Response, Error>();
        handle.answer_with(move |request| answer(&request));
        let mut service = self.layer.layer(service);
        assert!(service.poll_ready(&mut Cx::from_waker(Waker::noop())).is_ready());
        match poll(service.call(request)) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("no answer"),
        }
    }
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Cx::from_waker(Waker::noop()))
}

fn request(uri: &str) -> Request {
    let peer = Peer { address: Some("192.0.2.7:4711".parse().unwrap()), ..Peer::UNKNOWN };
    let context = Context::begin(mesh_core::time::now(), Some(Arc::new(peer)));
    http::Request::get(uri).header("host", "shop.example:81").body(CallBody::new(context, TestBody::empty())).unwrap()
}

fn grpc() -> Request {
    let mut request = request("/shop.Orders/Find");
    *request.version_mut() = http::Version::HTTP_2;
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request
}

fn ok(body: &'static str) -> Result<Response, Error> {
    Ok(http::Response::new(GovernedBody::new(TestBody::full(body))))
}

fn refused(kind: Kind) -> Result<Response, Error> {
    Err(Rejection::new(kind).into())
}

#[tokio::test(start_paused = true)]
async fn the_default_text() {
    let log = Log::new(Format::default());
    let mut seen = request("/a?b=1");
    seen.headers_mut().insert("user-agent", "curl/8".parse().unwrap());
    seen.headers_mut().insert("x-request-id", "r-1".parse().unwrap());
    let endpoint = Endpoint::new(Target::new("127.0.0.1:9001".parse::<Address>().unwrap()));
    let id = endpoint.id();
    log.call(seen, move |request| {
        let context = request.body().context();
        context.set_cluster(Name::intern("orders"));
        context.add_tried(id);
        ok("hello")
    });
    let line = log.line();
    let (time, rest) = line.split_at(27);
    assert_eq!(
        rest,
        r#""GET /a?b=1 HTTP/1.1" 200 - via_upstream 0 5 0 "-" "curl/8" "r-1" "shop.example:81" "127.0.0.1:9001""#
    );
    assert!(time.starts_with("[20") && time.ends_with("Z] "), "{time}");
}

#[tokio::test(start_paused = true)]
async fn the_default_object() {
    let log = Log::new(Format::default_json());
    log.call(request("/a"), |request| {
        let context = request.body().context();
        context.set_listener(Name::intern("web"));
        context.set_route(Name::intern("all"));
        context.set_trace(TraceContext { trace_id: 0xab, span_id: 1, flags: 0 });
        ok("hello")
    });
    let mut line: Value = serde_json::from_str(&log.line()).unwrap();
    assert!(line["start_time"].take().is_string());
    assert_eq!(
        line,
        json!({
            "start_time": null, "method": "GET", "path": "/a", "protocol": "HTTP/1.1", "authority": "shop.example:81",
            "response_code": 200, "grpc_status": null, "response_flags": null,
            "response_code_details": "direct_response", "bytes_received": 0, "bytes_sent": 5, "duration": 0,
            "downstream_remote_address": "192.0.2.7:4711", "x_forwarded_for": null, "user_agent": null,
            "request_id": null, "trace_id": "000000000000000000000000000000ab", "listener": "web", "route_name": "all",
            "upstream_cluster": null, "upstream_host": null,
        })
    );
}

#[tokio::test(start_paused = true)]
async fn values_of_the_request_and_of_the_response() {
    let log = Log::text(
        "%REQ(x-none?X-B)%|%REQ(X-A):3%|%REQ(:METHOD)%|%REQ(:SCHEME)%|%PATH(NQ)%|%REQ(:PATH):6%|%QUERY_PARAM(q)%|\
         %QUERY_PARAM(none)%|%RESP(x-none?server)%|%RESP(x-none)%|%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|\
         %DOWNSTREAM_REMOTE_PORT%|%REQ(x-utf)%|%REQ(x-utf):2%",
    );
    let mut seen = request("/path?p=1&q=two&q=three");
    seen.headers_mut().append("x-a", "first".parse().unwrap());
    seen.headers_mut().append("x-a", "second".parse().unwrap());
    seen.headers_mut().insert("x-b", "b".parse().unwrap());
    seen.headers_mut().insert("x-utf", http::HeaderValue::from_bytes("aé".as_bytes()).unwrap());
    log.call(seen, |_| {
        let mut response = ok("")?;
        response.headers_mut().insert("server", "tea\tpot\"".parse().unwrap());
        Ok(response)
    });
    assert_eq!(log.line(), r#"b|fir|GET|-|/path|/path?|two|-|tea\x09pot\"|-|192.0.2.7|4711|a\xc3\xa9|a"#);
}

#[tokio::test(start_paused = true)]
async fn bytes_of_both_bodies() {
    let log = Log::text("%BYTES_RECEIVED% %BYTES_SENT%");
    let sent = request("/").map(|body| CallBody::new(body.context().clone(), TestBody::full("four")));
    let (service, handle) = mock::<Request, Response, Error>();
    handle.answer_with(|mut request| {
        while let Poll::Ready(Some(Ok(_))) = poll(request.body_mut().frame()) {}
        ok("seven..")
    });
    let mut service = log.layer.layer(service);
    assert!(service.poll_ready(&mut Cx::from_waker(Waker::noop())).is_ready());
    let Poll::Ready(Ok(mut response)) = poll(service.call(sent)) else { panic!("no answer") };
    while let Poll::Ready(Some(Ok(_))) = poll(response.body_mut().frame()) {}
    assert_eq!(log.line(), "4 7");
}

#[tokio::test(start_paused = true)]
async fn times() {
    let log = Log::text("%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION%");
    let seen = request("/");
    let context = seen.body().context().clone();
    tokio::time::advance(Duration::from_millis(3)).await;
    context.end_request();
    tokio::time::advance(Duration::from_millis(4)).await;
    let mut response = log.head(seen, |_| ok("x")).unwrap();
    tokio::time::advance(Duration::from_millis(5)).await;
    while let Poll::Ready(Some(Ok(_))) = poll(response.body_mut().frame()) {}
    assert_eq!(log.line(), "12 3 7");
}

const HOW: &str = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %GRPC_STATUS% %OUTCOME% %BYTES_SENT%";

#[tokio::test(start_paused = true)]
async fn every_way_out() {
    let log = Log::text(HOW);
    for kind in Kind::ALL {
        log.call(request("/"), move |_| refused(kind));
    }
    for cause in [None, Some(Cause::Connect), Some(Cause::Refused), Some(Cause::Reset)] {
        log.call(request("/"), move |request| {
            cause.into_iter().for_each(|cause| request.body().context().set_cause(cause));
            Err(mesh_core::Refusable::Inner(TestError))
        });
    }
    // an earlier attempt's
    log.call(request("/"), |request| {
        request.body().context().set_cause(Cause::Connect);
        ok("")
    });
    log.call(request("/"), |_| Err(Rejection::fault(Answer::Code(Code::Http(418))).into()));
    log.call(request("/"), |_| Err(Rejection::fault(Answer::Code(Code::Grpc(14))).into()));
    log.call(request("/"), |_| Err(Rejection::fault(Answer::Reset).into()));
    log.call(request("/"), |_| {
        let mut response = ok("")?;
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        Ok(response)
    });
    // breaks off; the client goes away in the middle, and before the head
    log.call(request("/"), |_| {
        Ok(http::Response::new(GovernedBody::new(TestBody::of([Step::data("half"), Step::Error]))))
    });
    let body = || TestBody::of([Step::data("first"), Step::data("second")]);
    let mut response = log.head(request("/"), move |_| Ok(http::Response::new(GovernedBody::new(body())))).unwrap();
    assert!(poll(response.body_mut().frame()).is_ready());
    drop(response);
    let (service, _pending) = mock::<Request, Response, Error>();
    let mut service = log.layer.layer(service);
    assert!(service.poll_ready(&mut Cx::from_waker(Waker::noop())).is_ready());
    assert!(poll(service.call(request("/"))).is_pending());
    assert_eq!(
        log.lines(),
        [
            "400 DPE malformed - rejected 0",
            "408 DPE header_timeout - rejected 0",
            "413 DPE body_too_large - rejected 0",
            "414 DPE uri_too_long - rejected 0",
            "431 DPE headers_too_large - rejected 0",
            "404 NR no_route - rejected 0",
            "403 UAEX forbidden - rejected 0",
            "429 RL rate_limited - rejected 0",
            "503 UO saturated - rejected 0",
            "503 UO circuit_open - rejected 0",
            "503 UO pool_full - rejected 0",
            "503 UH no_endpoint - rejected 0",
            "504 UT timeout - timed_out 0",
            "503 FI fault - rejected 0",
            "503 LR foreign - failure 0",
            "502 UC upstream_reset_before_response_started{connection_termination} - failure 0",
            "502 UF upstream_reset_before_response_started{connection_failure} - failure 0",
            "502 UR upstream_reset_before_response_started{remote_refused_stream_reset} - failure 0",
            "502 UC upstream_reset_before_response_started{connection_termination} - failure 0",
            "200 - direct_response - success 0",
            "418 FI fault - rejected 0",
            "503 FI fault Unavailable rejected 0",
            "0 FI fault - rejected 0",
            "502 - direct_response - failure 0",
            "200 UC upstream_reset_after_response_started - failure 4",
            "200 DC downstream_remote_disconnect - cancelled 5",
            "499 DC downstream_remote_disconnect - cancelled 0",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn grpc_calls() {
    let log = Log::text(
        "%PROTOCOL% %REQ(:PATH)% %RESPONSE_CODE% %GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%",
    );
    let answer = |status: u16| {
        let mut response = http::Response::new(
            GovernedBody::new(TestBody::of([Step::data("message"), Step::grpc_status(status)])).grpc(true),
        );
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        Ok(response)
    };
    log.call(grpc(), move |_| answer(0));
    log.call(grpc(), move |_| answer(5));
    log.call(grpc(), move |_| answer(77));
    log.call(grpc(), |_| refused(Kind::RateLimited));
    log.call(grpc(), |_| Err(mesh_core::Refusable::Inner(TestError)));
    log.call(grpc(), |_| Err(Rejection::fault(Answer::Code(Code::Http(403))).into()));
    let path = "HTTP/2 /shop.Orders/Find 200";
    assert_eq!(
        log.lines(),
        [
            format!("{path} OK OK 0"),
            format!("{path} NotFound NOT_FOUND 5"),
            format!("{path} 77 77 77"),
            format!("{path} ResourceExhausted RESOURCE_EXHAUSTED 8"),
            format!("{path} Unavailable UNAVAILABLE 14"),
            format!("{path} PermissionDenied PERMISSION_DENIED 7"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn no_request_writes_a_line_of_its_own() {
    let log = Log::text("\"%REQ(user-agent)%\" %RESPONSE_CODE%");
    let mut seen = request("/");
    // what a lenient parser lets through; CR and LF no `HeaderValue` holds
    let value = http::HeaderValue::from_bytes(b"x\" 200\ty\xff \\").unwrap();
    seen.headers_mut().insert("user-agent", value.clone());
    log.call(seen, |_| refused(Kind::NoRoute));
    assert_eq!(log.line(), r#""x\" 200\x09y\xff \\" 404"#);

    let log =
        Log::new(Format::json([("a\"b", "%REQ(user-agent)%"), ("mixed", "<%REQ(user-agent)%> %REQ(none)%")]).unwrap());
    let mut seen = request("/");
    seen.headers_mut().insert("user-agent", value);
    log.call(seen, |_| ok(""));
    let line: Value = serde_json::from_str(&log.line()).unwrap();
    assert_eq!(line, json!({ "a\"b": "x\" 200\ty\u{fffd} \\", "mixed": "<x\" 200\ty\u{fffd} \\> -" }));
}

#[tokio::test(start_paused = true)]
async fn what_is_worth_a_line() {
    let log = |when: When| {
        let log = Log::text("%REQ(:PATH)%");
        Log { layer: log.layer.when(when), memory: log.memory }
    };
    let lines = async |when: When| {
        let log = log(when);
        log.call(request("/good"), |_| ok(""));
        log.call(request("/missing"), |_| {
            let mut response = ok("")?;
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            Ok(response)
        });
        log.call(request("/refused"), |_| refused(Kind::RateLimited));
        let seen = request("/slow");
        tokio::time::advance(Duration::from_millis(200)).await;
        log.call(seen, |_| ok(""));
        assert_eq!(log.layer.handle().open(), 0);
        log.lines().join(" ")
    };
    let of = |text: &str| vec![text.parse::<Statuses>().unwrap()];
    let sample = |percent| Ratio::from_percent(percent);
    assert_eq!(lines(When::default()).await, "/good /missing /refused /slow");
    assert_eq!(lines(When { status: of("4xx"), ..When::default() }).await, "/missing /refused");
    assert_eq!(lines(When { status: of("404"), ..When::default() }).await, "/missing");
    assert_eq!(lines(When { errors: true, ..When::default() }).await, "/refused");
    let slow = Some(Duration::from_millis(200));
    assert_eq!(lines(When { min_duration: slow, ..When::default() }).await, "/slow");
    assert_eq!(lines(When { min_duration: slow, errors: true, ..When::default() }).await, "/refused /slow");
    assert_eq!(lines(When { sample: sample(0), ..When::default() }).await, "");
    assert_eq!(lines(When { sample: sample(100), ..When::default() }).await, "/good /missing /refused /slow");
    assert_eq!(lines(When { sample: sample(0), errors: true, ..When::default() }).await, "/refused");

    fastrand::seed(7);
    let log = log(When { sample: sample(25), ..When::default() });
    for _ in 0..4000 {
        log.call(request("/"), |_| ok(""));
    }
    let drawn = log.lines().len();
    assert!((900..1100).contains(&drawn), "{drawn}");
}

/// The head was sent: it is what the client was answered, and not what a refusal would have become.
#[tokio::test(start_paused = true)]
async fn what_is_cut_off_keeps_its_code() {
    struct Cut;
    impl mesh_core::Tap for Cut {
        fn poll_frame(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Rejection>> {
            Poll::Ready(Err(Rejection::new(Kind::Timeout)))
        }
        fn poll_idle(&mut self, _: &mut Cx<'_>) -> Poll<Rejection> {
            Poll::Pending
        }
    }
    let log = Log::text(HOW);
    log.call(request("/"), |_| {
        let mut response = ok("never")?;
        response.body_mut().guards_mut().tap(Box::new(Cut));
        Ok(response)
    });
    assert_eq!(log.line(), "200 UT timeout - timed_out 0");
}

#[tokio::test(start_paused = true)]
async fn off_and_on() {
    let log = Log::text("%REQ(:PATH)% %REJECTED_BY%");
    log.layer.handle().set_enabled(false);
    log.call(request("/off"), |_| ok(""));
    log.layer.handle().set_enabled(true);
    let named =
        mesh_core::GateLayer::new(gate_fn(|_: &mut Request| Err(Rejection::new(Kind::Forbidden)))).named("robots");
    let (service, _handle) = mock::<Request, Response, Error>();
    let mut service = log.layer.layer(named.layer(service));
    assert!(service.poll_ready(&mut Cx::from_waker(Waker::noop())).is_ready());
    assert!(poll(service.call(request("/on"))).is_ready());
    assert_eq!(log.lines(), ["/on robots"]);
    assert!(format!("{:?}", log.layer).contains("AccessLog") && Sink::stdout().dropped() == 0);
}
