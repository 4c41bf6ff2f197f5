//! Layers that know nothing of this crate, in a pipeline.
#![cfg(all(feature = "http", feature = "config"))]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use mesh_core::{
    BoxError, Context, Kind, Outcome, Protocol, Refusable, Refusal, Registry, Stage,
    http::{CallBody, GovernedBody, lift},
    pipeline::{NoSettings, Site, States},
    spec::{LayerSpec, Node},
};
use mesh_test::{Spy, TestError};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use support::AtOnce;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

type Body = UnsyncBoxBody<Bytes, BoxError>;
type Request = http::Request<CallBody<Empty<Bytes>>>;

struct Http;

impl Protocol for Http {
    const NAME: &'static str = "http";
    type Request = Request;
    type Response = http::Response<GovernedBody<Body>>;
    type Error = Refusable<TestError>;
}

struct World {
    registry: Registry<Http>,
    outer: Arc<Spy>,
    inner: Arc<Spy>,
}

fn world() -> World {
    let (outer, inner) = (Arc::<Spy>::default(), Arc::<Spy>::default());
    let mut registry = Registry::new();
    let spy = outer.clone();
    registry.gate("outer", "a spy", move |_: NoSettings, _, _| spy.clone());
    let spy = inner.clone();
    registry.gate("inner", "a spy", move |_: NoSettings, _, _| spy.clone());
    registry.gate("at_once", "one at once", |_: NoSettings, _, _| Arc::new(AtOnce::new(1)));
    registry.layer("tower_limit", "tower's", |_: NoSettings, _| tower::limit::ConcurrencyLimitLayer::new(1));
    registry.layer("tower_timeout", "tower's", |_: NoSettings, _| {
        tower::timeout::TimeoutLayer::new(Duration::from_millis(15))
    });
    registry.layer("load_shed", "tower's", |_: NoSettings, _| tower::load_shed::LoadShedLayer::new());
    registry.layer("buffer", "tower's", |_: NoSettings, _| tower::buffer::BufferLayer::<Request>::new(4));
    registry.layer("http_timeout", "tower-http's", |_: NoSettings, _| {
        tower_http::timeout::TimeoutLayer::with_status_code(
            http::StatusCode::REQUEST_TIMEOUT,
            Duration::from_millis(15),
        )
    });
    // it changes the body: what comes out is lifted again where it is registered
    registry.layer("http_trace", "tower-http's", |_: NoSettings, _| {
        ServiceBuilder::new()
            .map_response(|response: http::Response<_>| {
                response.map(|body: tower_http::trace::ResponseBody<GovernedBody<Body>, _>| {
                    GovernedBody::new(body.map_err(|error: BoxError| error).boxed_unsync())
                })
            })
            .layer(tower_http::trace::TraceLayer::new_for_http())
            .into_inner()
    });
    World { registry, outer, inner }
}

impl World {
    fn stage(&self, list: Value) -> Stage<Http> {
        let (layers, faults) = LayerSpec::read_list(&Node::from(list));
        assert!(faults.is_empty(), "{faults:?}");
        let site = Site::library();
        let checked = self.registry.check(&layers, &site).unwrap();
        checked.make(&site, &States::new(), &mut States::new()).apply(leaf())
    }
}

fn leaf() -> Stage<Http> {
    Stage::new(lift(service_fn(async |request: http::Request<Empty<Bytes>>| {
        let body = Full::new(Bytes::from_static(b"ok")).map_err(|never: Infallible| match never {}).boxed_unsync();
        match request.uri().path() {
            "/hang" => std::future::pending().await,
            "/error" => Err(TestError),
            _ => Ok(http::Response::new(body)),
        }
    })))
}

fn at(path: &str) -> Request {
    let body = CallBody::new(Context::none(), Empty::new());
    http::Request::get(path).body(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_foreign_error_is_a_refusal_that_blames_and_names() {
    let world = world();
    let mut stage = world.stage(json!(["outer", "tower_timeout", "inner"]));
    let error = stage.call(at("/hang")).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::Foreign, "tower_timeout"));
    assert_eq!(std::error::Error::source(rejection).unwrap().to_string(), "request timed out");
    assert_eq!(world.outer.outcomes(), [Outcome::Failure]);
    assert_eq!(world.inner.outcomes(), [Outcome::Cancelled], "tower does not say why it drops a call");
}

#[tokio::test]
async fn the_protocol_s_own_error_comes_back_out_of_the_box() {
    let mut stage = world().stage(json!(["tower_timeout", "buffer", "tower_timeout"]));
    assert!(matches!(stage.call(at("/error")).await, Err(Refusable::Inner(TestError))));
    // and a refusal further in stays the one it was
    let mut stage = world().stage(json!(["tower_timeout", "at_once"]));
    let held = stage.call(at("/")).await.unwrap();
    let error = stage.call(at("/")).await.unwrap_err();
    let rejection = error.rejection().unwrap();
    assert_eq!((rejection.kind(), rejection.layer().as_str()), (Kind::Saturated, "at_once"));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_permit_comes_back_when_the_call_is_given_up() {
    let mut stage = world().stage(json!(["tower_timeout", "tower_limit"]));
    for _ in 0..3 {
        assert!(stage.call(at("/hang")).await.is_err());
    }
    stage.call(at("/")).await.unwrap();
}

#[tokio::test]
async fn load_shed_does_nothing() {
    // a stage is always ready, so that a layer that acts on readiness never sees anything else
    let mut stage = world().stage(json!(["load_shed", "tower_limit"]));
    let mut hangs = Box::pin(stage.call(at("/hang")));
    assert!(support::poll(hangs.as_mut()).is_pending());
    let mut waits = Box::pin(stage.call(at("/")));
    assert!(support::poll(waits.as_mut()).is_pending());
    drop(hangs);
    waits.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_foreign_answer() {
    let world = world();
    let mut stage = world.stage(json!(["outer", "http_timeout", "inner"]));
    let response = stage.call(at("/hang")).await.unwrap();
    assert_eq!(response.status(), 408);
    drop(response);
    assert_eq!(world.outer.outcomes(), [Outcome::Success], "a 4xx blames nobody below");
}

#[tokio::test]
async fn a_layer_that_wraps_the_body() {
    let world = world();
    let mut stage = world.stage(json!(["outer", "http_trace", "inner", "at_once", "buffer"]));
    let response = stage.call(at("/")).await.unwrap();
    assert_eq!((world.outer.open(), world.inner.open()), (1, 1), "inner tickets live in the wrapped body");
    assert_eq!(stage.call(at("/")).await.unwrap_err().rejection().unwrap().layer().as_str(), "at_once");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(world.outer.outcomes(), [Outcome::Rejected, Outcome::Success]);
    assert_eq!(world.inner.outcomes(), [Outcome::Rejected, Outcome::Success]);
    // unread
    drop(stage.call(at("/")).await.unwrap());
    assert_eq!(world.outer.outcomes()[2..], [Outcome::Cancelled]);
    assert_eq!(world.inner.outcomes()[2..], [Outcome::Cancelled]);
}

#[tokio::test]
async fn a_layer_that_spawns_is_applied_where_it_runs() {
    // made outside any runtime, as on a control thread
    let made = std::thread::spawn(|| {
        let world = world();
        let (layers, _) = LayerSpec::read_list(&Node::from(json!(["buffer"])));
        let site = Site::library();
        world.registry.check(&layers, &site).unwrap().make(&site, &States::new(), &mut States::new())
    });
    let pipeline = made.join().unwrap();
    pipeline.apply(leaf()).call(at("/")).await.unwrap();
}

#[tokio::test]
async fn a_pipeline_is_a_tower_layer_and_its_stage_is_sync() {
    fn axum_asks_for<T: Clone + Send + Sync + 'static>(service: T) -> T {
        service
    }
    let calls = Arc::<AtomicU32>::default();
    let counted = calls.clone();
    let pipeline = mesh_core::Pipeline::<Http>::builder()
        .gate(
            "count",
            mesh_core::gate_fn(move |_: &mut Request| {
                counted.fetch_add(1, Relaxed);
                Ok(())
            }),
        )
        .build();
    let service = axum_asks_for(ServiceBuilder::new().layer(pipeline).service(leaf()));
    service.clone().oneshot(at("/")).await.unwrap();
    service.oneshot(at("/")).await.unwrap();
    assert_eq!(calls.load(Relaxed), 2);
}
