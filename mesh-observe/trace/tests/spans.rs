//! What goes on with a request, and which span is recorded of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use http_body_util::BodyExt as _;
use mesh_core::{
    Context, GateLayer, Kind, Name, Nanos, Outcome, Peer, Protocol, Refusable, Rejection, drop_as, gate_fn,
    http::{CallBody, GovernedBody},
    units::Ratio,
};
use mesh_test::{
    Http, Line, Step, TestBody, TestError,
    alloc::{Counting, count},
    line,
};
use mesh_trace::{Parent, Propagation, SpanKind, TraceLayer};
use std::{
    future::{Future, pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context as Cx, Poll, Waker},
};
use support::{Recorder, SPAN, SPAN_ID, TRACE, TRACE_ID, sampled, unsampled};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Request = <Http as Protocol>::Request;
type Response = <Http as Protocol>::Response;
type Error = <Http as Protocol>::Error;

fn request(headers: &[(&'static str, &str)]) -> Request {
    let peer = Peer { address: Some("192.0.2.7:5000".parse().unwrap()), ..Peer::UNKNOWN };
    let context = Context::begin(Nanos::from_nanos(1), Some(Arc::new(peer)));
    let mut request = http::Request::get("http://shop.local:8080/orders/7?card=secret");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(CallBody::new(context, TestBody::empty())).unwrap()
}

fn answer(body: TestBody) -> Response {
    http::Response::new(GovernedBody::new(body))
}

/// The result of a service that is ready at once; read to its end if it is a response.
fn call<S>(service: &mut S, request: Request) -> Result<Response, Error>
where
    S: Service<Request, Response = Response, Error = Error>,
{
    let mut cx = Cx::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let Poll::Ready(result) = pin!(service.call(request)).poll(&mut cx) else { panic!("not ready") };
    result.map(|mut response| {
        while let Poll::Ready(Some(_)) = pin!(response.body_mut().frame()).poll(&mut cx) {}
        response
    })
}

/// The headers that arrive below the layer, and the trace in the record.
fn through(layer: &TraceLayer, headers: &[(&'static str, &str)]) -> (http::HeaderMap, Option<mesh_core::TraceContext>) {
    let seen = Arc::new(Mutex::new(None));
    let kept = seen.clone();
    let mut service = layer.layer(service_fn(move |request: Request| {
        *kept.lock().unwrap() = Some((request.headers().clone(), request.body().context().trace()));
        ready(Ok(answer(TestBody::full("x"))))
    }));
    assert!(call(&mut service, request(headers)).is_ok());
    let seen = seen.lock().unwrap().take();
    seen.unwrap()
}

fn text<'a>(headers: &'a http::HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn all() -> TraceLayer {
    TraceLayer::new().sample(Ratio::ONE)
}

#[test]
fn a_recorded_request() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let layer = TraceLayer::new().sample(Ratio::ZERO);
    let (headers, trace) =
        through(&layer, &[("traceparent", &sampled()), ("tracestate", "a=1, B=x"), ("tracestate", "c=3")]);
    let span = recorder.one();
    let opening = span.opening.unwrap();
    assert_eq!((opening.trace_id, opening.parent_id, opening.flags), (TRACE_ID, Some(SPAN_ID), 1));
    assert_eq!(span.entered, Some(opening), "it is begun while the ids are told");
    assert_eq!(mesh_trace::opening(), None);
    assert_eq!(text(&headers, "traceparent"), format!("00-{TRACE}-{:016x}-01", opening.span_id));
    let states: Vec<_> = headers.get_all("tracestate").iter().collect();
    assert_eq!(states, ["a=1, B=x", "c=3"], "as it came");
    let trace = trace.unwrap();
    assert_eq!((trace.trace_id, trace.span_id, trace.flags), (TRACE_ID, opening.span_id, 1));
    let fields: Vec<(&str, &str)> = span.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        fields,
        [
            ("client.address", "192.0.2.7"),
            ("http.request.method", "GET"),
            ("http.response.status_code", "200"),
            ("network.protocol.name", "http"),
            ("network.protocol.version", "1.1"),
            ("otel.kind", "server"),
            ("otel.name", "GET"),
            ("server.address", "shop.local"),
            ("server.port", "8080"),
            ("url.path", "/orders/7"),
            ("url.scheme", "http"),
        ]
    );
    assert_eq!(layer.handle().open_spans(), 0);
}

#[test]
fn what_is_not_recorded_goes_on_untouched_and_allocates_nothing() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let b3 = format!("{TRACE}-{SPAN}-0");
    let (trace, twice) = (unsampled(), sampled());
    let cases: [&[(&'static str, &str)]; 5] = [
        &[("traceparent", &trace), ("tracestate", "A=1,,")],
        &[("b3", &b3)],
        &[("b3", "0")],
        &[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "0")],
        &[("x-b3-sampled", "0")],
    ];
    let layer = all();
    for headers in cases {
        let expected = request(headers).headers().clone();
        let (seen, trace) = through(&layer, headers);
        assert_eq!(seen, expected);
        assert_eq!(
            trace.map(|trace| (trace.trace_id, trace.span_id)),
            headers.iter().any(|(_, value)| value.contains(TRACE)).then_some((TRACE_ID, SPAN_ID))
        );
        let mut service = layer.layer(service_fn(|_: Request| ready(Err(Refusable::Inner(TestError)))));
        let requests = || (0..100).map(|_| request(headers)).collect::<Vec<Request>>();
        // the records of a hundred calls come back to this thread
        drop(requests());
        let requests = requests();
        let ((), allocated) = count(|| requests.into_iter().for_each(|request| drop(call(&mut service, request))));
        assert_eq!(allocated.count, 0, "{headers:?}");
    }
    // with nothing to begin, broken ones go on as they came as well
    let layer = TraceLayer::new().sample(Ratio::ZERO);
    for broken in [&[("traceparent", &*twice), ("traceparent", &*twice)][..], &[("traceparent", "00-x")], &[]] {
        assert_eq!(through(&layer, broken), (request(broken).headers().clone(), None));
    }
    assert!(recorder.seen().is_empty());
}

#[test]
fn where_nobody_takes_spans_nothing_is_changed() {
    let (trace, b3) = (sampled(), format!("{TRACE}-{SPAN}-1"));
    for headers in [&[("traceparent", &*trace)][..], &[("b3", &b3)], &[("b3", "1")], &[]] {
        assert_eq!(through(&all(), headers).0, request(headers).headers().clone());
    }
    assert_eq!(through(&all(), &[("traceparent", &trace)]).1.unwrap().span_id, SPAN_ID);
}

#[test]
fn a_trace_begins() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    for headers in [&[][..], &[("traceparent", "00-x"), ("tracestate", "of=another")]] {
        let (seen, trace) = through(&all(), headers);
        let trace = trace.unwrap();
        assert_eq!(text(&seen, "traceparent").as_bytes(), mesh_trace::w3c::format(&trace));
        assert_eq!((trace.flags, text(&seen, "tracestate")), (3, "ot=th:0"));
        assert!(!seen.contains_key("b3"));
        let opening = recorder.seen().last().unwrap().opening.unwrap();
        assert_eq!((opening.trace_id, opening.span_id, opening.parent_id), (trace.trace_id, trace.span_id, None));
    }
    // not recorded, but decided for all who come next
    let none = TraceLayer::new().sample(Ratio::from_ppm(1).unwrap());
    let (seen, trace) = through(&none, &[("tracestate", "of=another")]);
    let trace = trace.unwrap();
    assert_eq!(text(&seen, "traceparent").as_bytes(), mesh_trace::w3c::format(&trace));
    assert_eq!((trace.flags, seen.contains_key("tracestate")), (2, false));
    let b3 = all().propagate([Propagation::B3Multi, Propagation::W3c]).unwrap();
    let (seen, trace) = through(&b3, &[]);
    assert_eq!(text(&seen, "x-b3-traceid"), format!("{:032x}", trace.unwrap().trace_id));
    assert_eq!((text(&seen, "x-b3-sampled"), seen.contains_key("traceparent")), ("1", false));
    assert_eq!(recorder.seen().len(), 3);
}

#[test]
fn hops_agree() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let ignoring = |ppm| TraceLayer::new().sample(Ratio::from_ppm(ppm).unwrap()).parent(Parent::Ignore);
    let (tenth, half, all) = (ignoring(100_000), ignoring(500_000), ignoring(1_000_000));
    let records = |layer: &TraceLayer, parent: &str| {
        let before = recorder.count();
        through(layer, &[("traceparent", parent)]);
        recorder.count() > before
    };
    let mut random = fastrand::Rng::with_seed(3);
    let (mut tenths, mut halves) = (0, 0);
    for _ in 0..1000 {
        let parent = format!("00-{:032x}-{SPAN}-00", random.u128(1..));
        let (by_tenth, by_half) = (records(&tenth, &parent), records(&half, &parent));
        assert!(by_half || !by_tenth, "who samples more has all of one who samples less");
        assert_eq!(by_half, records(&half, &parent));
        assert!(records(&all, &parent));
        tenths += u32::from(by_tenth);
        halves += u32::from(by_half);
    }
    assert!((53..=147).contains(&tenths) && (421..=579).contains(&halves), "{tenths} {halves}");
}

#[test]
fn a_caller_who_is_ignored() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let never = TraceLayer::new().sample(Ratio::ZERO).parent(Parent::Ignore);
    let (seen, trace) =
        through(&never, &[("traceparent", &sampled()), ("tracestate", "a=1,ot=th:8;rv:0123456789abcd")]);
    let trace = trace.unwrap();
    assert_eq!((trace.trace_id, trace.flags), (TRACE_ID, 0));
    assert_ne!(trace.span_id, SPAN_ID, "a changed decision needs another parent");
    assert_eq!(text(&seen, "traceparent").as_bytes(), mesh_trace::w3c::format(&trace));
    assert_eq!(text(&seen, "tracestate"), "ot=rv:0123456789abcd,a=1");
    assert!(recorder.seen().is_empty());

    // the randomness that the sender names decides
    let half = TraceLayer::new().sample(Ratio::from_percent(50).unwrap()).parent(Parent::Ignore);
    for (randomness, flags) in [("7fffffffffffff", "00"), ("80000000000000", "01")] {
        let state = format!("a=1,ot=rv:{randomness}");
        let (seen, _) = through(&half, &[("traceparent", &unsampled()), ("tracestate", &state)]);
        assert_eq!(&text(&seen, "traceparent")[53..], flags);
        let expected = if flags == "01" { format!("ot=th:8;rv:{randomness},a=1") } else { state };
        assert_eq!(text(&seen, "tracestate"), expected);
    }
}

#[test]
fn b3_goes_on_as_b3() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let short = &TRACE[16..];
    for (sent, trace, decision) in [
        (format!("{TRACE}-{SPAN}-1"), TRACE, "1"),
        (format!("{short}-{SPAN}-d-{SPAN}"), short, "d"),
        // left to whoever comes next: all here
        (format!("{TRACE}-{SPAN}"), TRACE, "1"),
    ] {
        let (seen, context) = through(&all(), &[("b3", &sent)]);
        let own = context.unwrap().span_id;
        assert_eq!(text(&seen, "b3"), format!("{trace}-{own:016x}-{decision}-{SPAN}"));
        assert!(!seen.contains_key("traceparent"));
        assert_eq!(recorder.seen().last().unwrap().opening.unwrap().parent_id, Some(SPAN_ID));
    }
    let (seen, context) = through(&all(), &[("x-b3-traceid", short), ("x-b3-spanid", SPAN), ("x-b3-flags", "1")]);
    assert_eq!(text(&seen, "x-b3-traceid"), short);
    assert_eq!(text(&seen, "x-b3-spanid"), format!("{:016x}", context.unwrap().span_id));
    assert_eq!((text(&seen, "x-b3-parentspanid"), text(&seen, "x-b3-flags")), (SPAN, "1"));
    assert!(!seen.contains_key("x-b3-sampled"));
    // what came in two forms goes on in both; the first counts
    let (seen, context) = through(&all(), &[("traceparent", &sampled()), ("b3", &format!("{short}-{SPAN}-0"))]);
    let own = context.unwrap().span_id;
    assert_eq!(text(&seen, "b3"), format!("{TRACE}-{own:016x}-1-{SPAN}"));
    assert_eq!(text(&seen, "traceparent"), format!("00-{TRACE}-{own:016x}-01"));
    // a decision alone begins a trace
    let (seen, context) = through(&TraceLayer::new().sample(Ratio::ZERO), &[("b3", "1")]);
    let context = context.unwrap();
    assert_eq!(text(&seen, "b3"), format!("{:032x}-{:016x}-1", context.trace_id, context.span_id));
}

/// The span of a gRPC call to `/shop.Orders/Find` that is answered so.
fn grpc(layer: &TraceLayer, recorder: &Recorder, steps: Vec<Step>) -> support::Seen {
    let mut service = layer.layer(service_fn(move |_: Request| {
        let mut response = http::Response::new(GovernedBody::new(TestBody::of(steps.clone())).grpc(true));
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        ready(Ok(response))
    }));
    let context = Context::begin(Nanos::from_nanos(1), None);
    let request = http::Request::post("http://shop.local/shop.Orders/Find")
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc+proto")
        .header("traceparent", sampled())
        .body(CallBody::new(context, TestBody::empty()))
        .unwrap();
    assert!(call(&mut service, request).is_ok());
    recorder.seen().pop().unwrap()
}

#[test]
fn a_grpc_status_is_that_of_the_trailers() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let (server, client) = (TraceLayer::new(), TraceLayer::new().kind(SpanKind::Client));
    let ends_with = |layer, status| {
        let span = grpc(layer, &recorder, vec![Step::data("x"), Step::grpc_status(status)]);
        assert!(span.closed);
        assert_eq!(span.get("rpc.grpc.status_code"), status.to_string());
        (span.get("otel.status_code").to_owned(), span.get("error.type").to_owned())
    };
    let error = |name: &str| ("ERROR".to_owned(), name.to_owned());
    assert_eq!(ends_with(&server, 0), Default::default());
    assert_eq!(ends_with(&server, 14), error("UNAVAILABLE"));
    assert_eq!(ends_with(&server, 5), Default::default());
    assert_eq!(ends_with(&client, 5), error("NOT_FOUND"));
    let span = recorder.seen().pop().unwrap();
    for (field, value) in [
        ("otel.name", "shop.Orders/Find"),
        ("otel.kind", "client"),
        ("rpc.system", "grpc"),
        ("rpc.service", "shop.Orders"),
        ("rpc.method", "Find"),
        ("server.address", "shop.local"),
        ("server.port", ""),
        ("network.protocol.version", "2"),
        ("http.request.method", "POST"),
        ("http.response.status_code", ""),
    ] {
        assert_eq!(span.get(field), value, "{field}");
    }
    // without trailers it has failed
    let cut = grpc(&server, &recorder, vec![Step::data("x")]);
    assert_eq!((cut.get("error.type"), cut.get("otel.status_code")), ("transport", "ERROR"));
}

#[test]
fn statuses_of_http() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    for (kind, status, error) in [
        (SpanKind::Server, 404, ""),
        (SpanKind::Server, 503, "503"),
        (SpanKind::Server, 501, "501"),
        (SpanKind::Client, 404, "404"),
    ] {
        let mut service = all().kind(kind).layer(service_fn(move |request: Request| {
            request.body().context().set_route(Name::intern("orders"));
            let mut response = answer(TestBody::full("x"));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            ready(Ok(response))
        }));
        let mut request = request(&[]);
        *request.method_mut() = http::Method::from_bytes(b"BREW").unwrap();
        assert!(call(&mut service, request).is_ok());
        let span = recorder.seen().pop().unwrap();
        assert_eq!((span.get("http.response.status_code"), span.get("error.type")), (&*status.to_string(), error));
        assert_eq!((span.get("http.request.method"), span.get("otel.name")), ("_OTHER", "HTTP"));
        assert_eq!(span.get("mesh.route"), "orders");
    }
}

#[test]
fn calls_that_are_given_up_or_break() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let mut cx = Cx::from_waker(Waker::noop());
    let waits = || service_fn(|_: Request| pending::<Result<Response, Error>>());
    let last = || {
        let span = recorder.seen().pop().unwrap();
        assert!(span.closed);
        (span.get("otel.status_code").to_owned(), span.get("error.type").to_owned())
    };
    let error = |name: &str| ("ERROR".to_owned(), name.to_owned());
    // dropped before it is polled, and while it waits
    drop(all().layer(waits()).call(request(&[])));
    assert_eq!(last(), error("cancelled"));
    let mut future = Box::pin(all().layer(waits()).call(request(&[])));
    assert!(future.as_mut().poll(&mut cx).is_pending());
    assert!(!recorder.seen().pop().unwrap().closed);
    drop_as(Outcome::TimedOut, || drop(future));
    assert_eq!(last(), error("timeout"));
    // the body is not read to its end, or breaks off
    let body = |step: Step| {
        service_fn(move |_: Request| ready(Ok::<_, Error>(answer(TestBody::of([Step::data("x"), step.clone()])))))
    };
    let Poll::Ready(Ok(response)) = pin!(all().layer(body(Step::Wait)).call(request(&[]))).poll(&mut cx) else {
        panic!()
    };
    assert!(!recorder.seen().pop().unwrap().closed, "to the end of the body");
    drop(response);
    assert_eq!(last(), error("cancelled"));
    assert!(call(&mut all().layer(body(Step::Error)), request(&[])).is_ok());
    assert_eq!(last(), error("transport"));
    // an error, and a panic
    assert!(
        call(&mut all().layer(service_fn(|_: Request| ready(Err(Refusable::Inner(TestError))))), request(&[])).is_err()
    );
    assert_eq!(last(), error("transport"));
    let mut panics = all().layer(service_fn(|_: Request| async { panic!("as it was told") }));
    assert!(catch_unwind(AssertUnwindSafe(|| call(&mut panics, request(&[])))).is_err());
    assert_eq!(last(), error("transport"));
}

fn refuses(kind: Kind) -> impl Fn(&mut Request) -> Result<(), Rejection> + Send + Sync {
    move |_| Err(Rejection::new(kind))
}

#[test]
fn a_refusal_is_logged_with_its_trace() {
    let recorder = Recorder::all();
    let _subscribed = recorder.install();
    let leaf = service_fn(|_: Request| ready(Ok::<_, Error>(answer(TestBody::full("x")))));
    for (kind, parent, status, error) in [
        (Kind::RateLimited, sampled(), "429", ""),
        (Kind::CircuitOpen, sampled(), "503", "circuit_open"),
        (Kind::Timeout, sampled(), "504", "timeout"),
        (Kind::RateLimited, unsampled(), "", ""),
    ] {
        let gate = GateLayer::new(gate_fn(refuses(kind))).named("a_layer");
        let mut service = all().layer(gate.layer(leaf));
        let Err(Refusable::Refused(rejection)) = call(&mut service, request(&[("traceparent", &parent)])) else {
            panic!()
        };
        let said = rejection.fields().iter().find(|field| field.0 == "traceresponse");
        let event = recorder.events().pop().unwrap();
        assert_eq!((event.get("trace_id"), event.get("layer"), event.get("reason")), (TRACE, "a_layer", kind.as_str()));
        if status.is_empty() {
            assert!(said.is_none());
            continue;
        }
        let span = recorder.seen().pop().unwrap();
        let own = span.opening.unwrap().span_id;
        assert_eq!(said.unwrap().1, format!("00-{TRACE}-{own:016x}-01").into_bytes());
        assert_eq!((span.get("http.response.status_code"), span.get("error.type")), (status, error));
        assert_eq!(span.get("mesh.rejected_by"), "a_layer");
        assert!(span.closed);
    }
    assert_eq!((recorder.events().len(), recorder.seen().len()), (4, 3));
}

#[test]
fn refusals_are_logged_without_spans_too() {
    let recorder = Recorder::rejections();
    let _subscribed = recorder.install();
    let gate = GateLayer::new(gate_fn(refuses(Kind::RateLimited))).named("a_layer");
    let mut service =
        all().layer(gate.layer(service_fn(|_: Request| ready(Ok::<_, Error>(answer(TestBody::full("x")))))));
    assert!(call(&mut service, request(&[("traceparent", &sampled())])).is_err());
    assert!(call(&mut service, request(&[])).is_err());
    let ids: Vec<String> = recorder.events().iter().map(|event| event.get("trace_id").to_owned()).collect();
    assert_eq!(ids, [TRACE, ""]);
}

#[test]
fn one_inside_the_other_is_its_child() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let inner = all().kind(SpanKind::Client);
    let leaf = service_fn(|_: Request| ready(Ok::<_, Error>(answer(TestBody::full("x")))));
    let mut service = all().layer(inner.layer(leaf));
    for (parent, spans) in [(sampled(), 2), (unsampled(), 0)] {
        let before = recorder.count();
        assert!(call(&mut service, request(&[("traceparent", &parent)])).is_ok());
        assert_eq!(recorder.count() - before, spans);
    }
    let spans = recorder.seen();
    let (outer, inner) = (spans[0].opening.unwrap(), spans[1].opening.unwrap());
    assert_eq!((inner.trace_id, inner.parent_id), (outer.trace_id, Some(outer.span_id)));
}

#[test]
fn off_is_off() {
    let recorder = Recorder::all();
    let _subscribed = recorder.install();
    let layer = all();
    layer.handle().set_enabled(false);
    let (seen, trace) = through(&layer, &[("traceparent", &sampled())]);
    assert_eq!((text(&seen, "traceparent"), trace), (&*sampled(), None));
    layer.handle().set_enabled(true);
    through(&layer, &[]);
    assert_eq!(recorder.seen().len(), 1);
}

#[test]
fn a_protocol_that_is_not_http() {
    let recorder = Recorder::spans();
    let _subscribed = recorder.install();
    let mut service = all().layer(service_fn(|request: line::Request| {
        ready(Ok::<_, line::Error>(line::Reply::new(line::OK).with_result(&format!("{:?}", request.metadata.len()))))
    }));
    let _: <Line as Protocol>::Request = line::Request::new("orders", "place");
    let mut cx = Cx::from_waker(Waker::noop());
    let request = line::Request::new("orders", "place").with("traceparent", &sampled());
    let Poll::Ready(Ok(mut reply)) = pin!(service.call(request)).poll(&mut cx) else { panic!() };
    mesh_core::Governed::guards(&mut reply).end_well();
    let span = recorder.one();
    let fields: Vec<(&str, &str)> = span.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        fields,
        [
            ("otel.kind", "server"),
            ("otel.name", "orders/place"),
            ("rpc.method", "place"),
            ("rpc.service", "orders"),
            ("rpc.system", "rpc")
        ]
    );
}
