//! What is counted, for each way that a request ends.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod scrape;

use http_body_util::BodyExt as _;
use mesh_core::{
    BoxError, Context as Call, GateLayer, Kind, Name, Outcome, Refusable, Rejection, RequestView as _, drop_as,
    gate_fn,
    http::{CallBody, GovernedBody},
    refusal, time,
};
use mesh_metrics::{
    MetricsLayer, MetricsSettings, REQUEST_DURATION_SECONDS, REQUESTS_IN_FLIGHT, REQUESTS_TOTAL, SERIES_LIMIT,
};
use mesh_test::{
    HeldClock, Step, TestBody, TestError,
    mock::{Handle, Mock, mock},
};
use scrape::{Scrape, recorded};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service, ServiceBuilder};

type Request = http::Request<CallBody<TestBody>>;
type Response = http::Response<GovernedBody<TestBody>>;
type Error = Refusable<TestError>;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<R, S: Service<R>>(service: &mut S) {
    assert!(matches!(service.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
}

fn read(mut response: Response) {
    while let Poll::Pending | Poll::Ready(Some(Ok(_))) = poll(pin!(response.body_mut().frame())) {}
}

fn request(protocol: Name) -> Request {
    let call = Call::begin(time::now(), None);
    call.set_listener(Name::intern("web"));
    call.set_protocol(protocol);
    http::Request::new(CallBody::new(call, TestBody::empty()))
}

fn status(status: u16, body: TestBody) -> Response {
    let mut response = http::Response::new(GovernedBody::new(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response
}

fn grpc(body: TestBody) -> Response {
    let mut response = http::Response::new(GovernedBody::new(body).grpc(true));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    response
}

/// Calls through `layer`; route and cluster are found out below it.
fn call(layer: &MetricsLayer, protocol: Name, answer: Result<Response, Error>) -> Result<Response, Error> {
    let (mut service, handle): (_, Handle<Request, Response, Error>) = over_mock(layer);
    let mut future = pin!(service.call(request(protocol)));
    assert!(poll(future.as_mut()).is_pending());
    let call = handle.try_next().unwrap();
    let context = call.request().context();
    context.set_route(Name::intern("checkout"));
    context.set_cluster(Name::intern("orders"));
    match answer {
        Ok(response) => call.answer(response),
        Err(error) => call.fail(error),
    }
    let Poll::Ready(result) = poll(future) else { panic!("not answered") };
    result
}

type Counted = <MetricsLayer as Layer<Mock<Request, Response, Error>>>::Service;

fn over_mock(layer: &MetricsLayer) -> (Counted, Handle<Request, Response, Error>) {
    let (service, handle) = mock();
    let mut service = layer.layer(service);
    ready(&mut service);
    (service, handle)
}

/// The one counter there is, without the labels that are always there.
fn the_one(scrape: &Scrape) -> String {
    let requests = scrape.requests();
    assert_eq!((requests.len(), requests[0].1), (1, 1.0), "{requests:?}");
    assert_eq!(scrape.in_flight(), 0.0);
    requests[0].0.replace("cluster=orders listener=web ", "").replace("route=checkout ", "")
}

#[test]
fn answers() {
    for (code, expected) in [
        (200, "outcome=success protocol=http status_class=2xx"),
        (404, "outcome=success protocol=http status_class=4xx"),
        (503, "outcome=failure protocol=http status_class=5xx"),
        (999, "outcome=failure protocol=http status_class=other"),
    ] {
        recorded(|scrape| {
            let response = call(&MetricsLayer::new(), Name::HTTP, Ok(status(code, TestBody::full("x")))).unwrap();
            assert_eq!((scrape.requests().len(), scrape.in_flight()), (0, 1.0), "not before its end");
            read(response);
            assert_eq!(the_one(scrape), expected);
        });
    }
}

#[test]
fn grpc_by_its_trailers() {
    for (code, outcome) in [(0, "success"), (5, "success"), (14, "failure"), (2, "failure")] {
        recorded(|scrape| {
            let body = TestBody::of([Step::data("a message"), Step::Wait, Step::grpc_status(code)]);
            read(call(&MetricsLayer::new(), Name::GRPC, Ok(grpc(body))).unwrap());
            assert_eq!(the_one(scrape), format!("outcome={outcome} protocol=grpc status_class={code}"));
        });
    }
    recorded(|scrape| {
        read(call(&MetricsLayer::new(), Name::GRPC, Ok(grpc(TestBody::of([Step::data("a message")])))).unwrap());
        assert_eq!(the_one(scrape), "outcome=failure protocol=grpc status_class=2xx", "its trailers are missing");
    });
}

#[test]
fn no_answer() {
    recorded(|scrape| {
        let refused = Rejection::new(Kind::RateLimited).into();
        assert!(call(&MetricsLayer::new(), Name::HTTP, Err(refused)).is_err());
        assert_eq!(the_one(scrape), "outcome=rejected protocol=http status_class=none");
    });
    recorded(|scrape| {
        assert!(call(&MetricsLayer::new(), Name::HTTP, Err(Refusable::Inner(TestError))).is_err());
        assert_eq!(the_one(scrape), "outcome=failure protocol=http status_class=none");
    });
    recorded(|scrape| {
        let late = Rejection::new(Kind::Timeout).into();
        assert!(call(&MetricsLayer::new(), Name::GRPC, Err(late)).is_err());
        assert_eq!(the_one(scrape), "outcome=timed_out protocol=grpc status_class=none");
    });
}

#[test]
fn given_up() {
    for (reason, expected) in [(Outcome::Cancelled, "cancelled"), (Outcome::TimedOut, "timed_out")] {
        // before the answer; no route had been found
        recorded(|scrape| {
            let (mut service, _handle) = over_mock(&MetricsLayer::new());
            let mut future = Box::pin(service.call(request(Name::HTTP)));
            assert!(poll(future.as_mut()).is_pending());
            drop_as(reason, || drop(future));
            assert_eq!(the_one(scrape), format!("listener=web outcome={expected} protocol=http status_class=none"));
        });
        // in the middle of the body
        recorded(|scrape| {
            let (body, _sender) = TestBody::fed();
            let response = call(&MetricsLayer::new(), Name::HTTP, Ok(status(200, body))).unwrap();
            drop_as(reason, || drop(response));
            assert_eq!(the_one(scrape), format!("outcome={expected} protocol=http status_class=2xx"));
        });
    }
}

#[test]
fn refused_by_a_gate_below() {
    recorded(|scrape| {
        let (service, _handle) = mock::<Request, Response, Error>();
        let closed = gate_fn(|_: &mut Request| Err(Rejection::new(Kind::CircuitOpen)));
        let mut service =
            ServiceBuilder::new().layer(MetricsLayer::new()).layer(GateLayer::new(closed)).service(service);
        ready(&mut service);
        assert!(matches!(poll(pin!(service.call(request(Name::HTTP)))), Poll::Ready(Err(_))));
        assert_eq!(the_one(scrape), "listener=web outcome=rejected protocol=http status_class=none");
        assert_eq!(scrape.value("mesh_rejections_total", &["layer=", "reason=circuit_open"]), Some(1.0));
    });
}

#[test]
fn the_time_is_from_arrival_to_the_end() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    recorded(|scrape| {
        let layer = MetricsLayer::new();
        let (mut service, handle) = over_mock(&layer);
        let arrived = request(Name::HTTP);
        clock.advance(Duration::from_millis(40)); // in a layer further out, say
        let mut future = pin!(service.call(arrived));
        assert!(poll(future.as_mut()).is_pending());
        clock.advance(Duration::from_millis(30));
        handle.try_next().unwrap().answer(status(200, TestBody::full("x")));
        let Poll::Ready(Ok(response)) = poll(future) else { panic!("not answered") };
        clock.advance(Duration::from_millis(5));
        read(response);
        let labels = ["listener=web", "protocol=http"];
        let sum = scrape.value(&format!("{REQUEST_DURATION_SECONDS}_sum"), &labels).unwrap();
        assert!((sum - 0.075).abs() < 1e-9, "{sum}");
        let bucket = |le: &str| {
            let le = format!("le={le}");
            scrape.value(&format!("{REQUEST_DURATION_SECONDS}_bucket"), &[labels[0], labels[1], &le])
        };
        assert_eq!((bucket("0.05"), bucket("0.1"), bucket("+Inf")), (Some(0.0), Some(1.0), Some(1.0)));
    });
}

#[derive(Debug)]
enum Typed {
    Refused(Rejection),
    Own,
}
refusal!(Typed, Refused);

#[test]
fn any_service() {
    let clock = HeldClock::new();
    let _installed = clock.install();
    recorded(|scrape| {
        let layer = MetricsLayer::new().results_only();
        let (service, handle) = mock::<u32, u32, BoxError>();
        let mut service = layer.layer(service);
        ready(&mut service);
        let mut future = pin!(service.call(1));
        assert!(poll(future.as_mut()).is_pending());
        assert_eq!(scrape.value(REQUESTS_IN_FLIGHT, &[]), Some(1.0));
        clock.advance(Duration::from_secs(3));
        handle.try_next().unwrap().answer(2);
        assert!(poll(future.as_mut()).is_ready());
        assert_eq!(scrape.requests(), [("outcome=success status_class=none".into(), 1.0)]);
        assert_eq!(scrape.value(&format!("{REQUEST_DURATION_SECONDS}_sum"), &[]), Some(3.0));
    });
    recorded(|scrape| {
        let judge = |n: &u32| if *n == 0 { Outcome::Failure } else { Outcome::Success };
        let (service, handle) = mock::<u32, u32, Typed>();
        let mut service = MetricsLayer::new().judge(judge).layer(service);
        handle.answer_with(|n| if n == 9 { Err(Typed::Own) } else { Ok(n) });
        for n in [0, 1, 9] {
            ready(&mut service);
            assert!(poll(pin!(service.call(n))).is_ready());
        }
        assert_eq!(
            scrape.requests(),
            [("outcome=failure status_class=none".into(), 2.0), ("outcome=success status_class=none".into(), 1.0)]
        );
    });
    assert!(matches!(Typed::from(Rejection::new(Kind::Foreign)), Typed::Refused(_)));
}

#[test]
fn labels_of_ones_own_and_clones_count_together() {
    recorded(|scrape| {
        let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
        let layer = MetricsLayer::try_from(&MetricsSettings { labels }).unwrap();
        for layer in [&layer, &layer.clone()] {
            read(call(layer, Name::HTTP, Ok(status(200, TestBody::full("x")))).unwrap());
        }
        let labels = [
            "cluster=orders",
            "listener=web",
            "outcome=success",
            "protocol=http",
            "route=checkout",
            "status_class=2xx",
            "team=shop",
        ];
        assert_eq!(scrape.value(REQUESTS_TOTAL, &labels), Some(2.0));
        assert_eq!(scrape.value(REQUESTS_IN_FLIGHT, &["team=shop"]), Some(0.0));
    });
    let labels = BTreeMap::from([("cluster".to_owned(), "mine".to_owned())]);
    assert!(MetricsLayer::try_from(&MetricsSettings { labels }).is_err());
}

#[test]
fn off_and_on_again() {
    recorded(|scrape| {
        let layer = MetricsLayer::new();
        let answer = || Ok(status(200, TestBody::full("x")));
        let under_way = call(&layer, Name::HTTP, answer()).unwrap();
        layer.handle().set_enabled(false);
        read(call(&layer, Name::HTTP, answer()).unwrap());
        read(under_way);
        assert_eq!((scrape.requests()[0].1, scrape.in_flight()), (1.0, 0.0));
        layer.handle().set_enabled(true);
        read(call(&layer, Name::HTTP, answer()).unwrap());
        assert_eq!(scrape.requests()[0].1, 2.0);
    });
}

#[test]
fn nothing_from_the_wire_makes_series() {
    recorded(|scrape| {
        let layer = MetricsLayer::new();
        for code in 100..1000 {
            read(call(&layer, Name::HTTP, Ok(status(code, TestBody::full("x")))).unwrap());
        }
        // 1xx to 5xx and other, of which 5xx succeeds (501) and fails
        assert_eq!((layer.handle().series(), scrape.requests().len()), (7, 7));
        for code in 0..5000 {
            read(call(&layer, Name::GRPC, Ok(grpc(TestBody::of([Step::grpc_status(code)])))).unwrap());
        }
        assert_eq!((layer.handle().series(), scrape.requests().len()), (7 + 18, 7 + 18));
    });
}

#[test]
fn more_series_than_the_limit_are_one() {
    recorded(|scrape| {
        let layer = MetricsLayer::new();
        let more = 500;
        for number in 0..SERIES_LIMIT + more {
            let (mut service, handle) = over_mock(&layer);
            handle.answer_with(move |request| {
                request.context().set_route(Name::intern(&format!("route-{number}")));
                Ok(status(200, TestBody::full("x")))
            });
            let Poll::Ready(Ok(response)) = poll(pin!(service.call(request(Name::HTTP)))) else { panic!("no answer") };
            read(response);
        }
        assert_eq!(layer.handle().series(), SERIES_LIMIT);
        assert_eq!(scrape.requests().len(), SERIES_LIMIT + 1);
        let overflow = ["otel_metric_overflow=true"];
        assert_eq!(scrape.value(REQUESTS_TOTAL, &overflow), Some(more as f64));
        assert_eq!(scrape.value(&format!("{REQUEST_DURATION_SECONDS}_count"), &overflow), Some(more as f64));
        assert_eq!(scrape.in_flight(), 0.0);
    });
}
