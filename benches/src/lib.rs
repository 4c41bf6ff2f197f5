//! What the layer contract costs: the same seven gates in every way there is to put them together.
//!
//! `cargo bench -p mesh-benches` for nanoseconds; `cargo xtask instructions` counts user instructions of the binary
//! `contract-cost` by callgrind, and of the sidecar as a whole.

use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use mesh_core::{
    At, BoxError, Context, End, Gate, GateLayer, Hears, Nanos, Pipeline, Protocol, Refusable, Rejection, ResultsOnly,
    Stage, Ticket, Watch,
    http::{CallBody, GovernedBody},
    pipeline::{Made, foreign},
};
use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context as Cx, Poll, Waker},
};
use tower_layer::Layer;
use tower_service::Service;

/// A request as small as they come, with a record of its call.
pub type Request = http::Request<CallBody<()>>;
/// A response with a sized body.
pub type Response = http::Response<GovernedBody<Full<Bytes>>>;

/// HTTP without sockets.
#[derive(Debug)]
pub struct Http;

impl Protocol for Http {
    const NAME: &'static str = "http";
    type Request = Request;
    type Response = Response;
    type Error = Refusable<Infallible>;
}

/// Answers at once.
#[derive(Clone, Debug)]
pub struct Leaf;

impl Service<Request> for Leaf {
    type Response = Response;
    type Error = Refusable<Infallible>;
    type Future = Ready<Result<Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        black_box(&request);
        ready(Ok(http::Response::new(GovernedBody::new(Full::new(Bytes::from_static(b"hello"))))))
    }
}

/// A gate that counts what is under way: the least a gate with a ticket does.
#[derive(Debug, Default)]
pub struct InFlight {
    count: AtomicUsize,
    at_response: bool,
}

impl InFlight {
    /// One that counts until the response instead of the end of its body.
    pub fn until_response() -> Self {
        Self { at_response: true, ..Self::default() }
    }
}

impl Watch for InFlight {
    fn hears(&self) -> Hears {
        if self.at_response { Hears::Response } else { Hears::End }
    }

    fn on_end(&self, _: Ticket, _: &End<'_>) {
        self.count.fetch_sub(1, Relaxed);
    }
}

impl<R> Gate<R> for InFlight {
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        if self.count.fetch_add(1, Relaxed) < 1_000_000 {
            return Ok(Some(Ticket::default()));
        }
        self.count.fetch_sub(1, Relaxed);
        Err(Rejection::new(mesh_core::Kind::Saturated))
    }
}

/// A service that forwards: what a service layer costs before it does anything.
#[derive(Clone, Copy, Debug)]
pub struct Forward;

impl<S> Layer<S> for Forward {
    type Service = S;

    fn layer(&self, inner: S) -> S {
        inner
    }
}

/// One call, its body read to the end.
#[inline(never)]
pub fn call<S>(service: &mut S)
where
    S: Service<Request, Response = Response>,
    S::Error: std::fmt::Debug,
{
    let mut cx = Cx::from_waker(Waker::noop());
    let ready = service.poll_ready(&mut cx);
    assert!(matches!(ready, Poll::Ready(Ok(()))), "the services here are always ready");
    let context = Context::begin(Nanos::from_nanos(1), None);
    context.end_request_on_arrival();
    let mut future = pin!(service.call(Request::new(CallBody::new(context, ()))));
    let Poll::Ready(Ok(mut response)) = future.as_mut().poll(&mut cx) else { panic!("it answers at once") };
    while let Poll::Ready(Some(frame)) = Pin::new(response.body_mut()).poll_frame(&mut cx) {
        drop(black_box(frame));
    }
}

/// One call of a service that takes and gives a number.
#[inline(never)]
pub fn call_tiny<S: Service<u32, Response = u32, Error = BoxError>>(service: &mut S) {
    let mut cx = Cx::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut future = pin!(service.call(1));
    assert!(black_box(future.as_mut().poll(&mut cx)).is_ready());
}

/// Answers a number with itself.
#[derive(Clone, Debug)]
pub struct Tiny;

impl Service<u32> for Tiny {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(black_box(request)))
    }
}

fn gate() -> GateLayer<InFlight> {
    GateLayer::new(InFlight::default())
}

fn tiny_gate() -> GateLayer<InFlight, ResultsOnly> {
    gate().results_only()
}

/// A pipeline from letters: `g` a gate to the end of the body, `h` a gate to the response, `s` a service layer, `t`
/// tower's concurrency limit, `b` a gate in a box of its own.
pub fn pipeline(letters: &str) -> Stage<Http> {
    let mut builder = Pipeline::<Http>::builder();
    for letter in letters.chars() {
        builder = match letter {
            'g' => builder.gate("g", InFlight::default()),
            'h' => builder.gate("h", InFlight::until_response()),
            's' => builder.layer("s", Forward),
            't' => builder.made("t", Made::Layer(foreign(tower::limit::ConcurrencyLimitLayer::new(100)))),
            'b' => builder.layer("b", gate()),
            other => panic!("`{other}` is no layer"),
        };
    }
    builder.build().apply(Stage::new(Leaf))
}

/// A variant: its name, and a function that makes its calls.
pub type Variant = (&'static str, fn(u64));

fn run<S: Service<Request, Response = Response>>(mut service: S, calls: u64)
where
    S::Error: std::fmt::Debug,
{
    (0..calls).for_each(|_| call(&mut service));
}

fn run_tiny<S: Service<u32, Response = u32, Error = BoxError>>(mut service: S, calls: u64) {
    (0..calls).for_each(|_| call_tiny(&mut service));
}

/// All there is to compare.
pub const VARIANTS: [Variant; 13] = [
    ("bare service", |calls| run(Leaf, calls)),
    ("stage alone", |calls| run(pipeline(""), calls)),
    ("1 gate in a run", |calls| run(pipeline("g"), calls)),
    ("7 gates in a run", |calls| run(pipeline("ggggggg"), calls)),
    ("7 gates in a run, to the response", |calls| run(pipeline("hhhhhhh"), calls)),
    ("7 GateLayers, static, over a stage", |calls| {
        run((gate(), gate(), gate(), gate(), gate(), gate(), gate()).layer(Stage::<Http>::new(Leaf)), calls);
    }),
    ("4 gates, a service layer, 3 gates", |calls| run(pipeline("ggggsggg"), calls)),
    ("3 gates, a service, 2 gates, tower's limit, 2 gates", |calls| run(pipeline("gggsggtgg"), calls)),
    ("a box per gate, 7", |calls| run(pipeline("bbbbbbb"), calls)),
    ("tiny service", |calls| run_tiny(Tiny, calls)),
    ("tiny, 1 GateLayer", |calls| run_tiny(tiny_gate().layer(Tiny), calls)),
    ("tiny, 2 GateLayers", |calls| run_tiny(tiny_gate().layer(tiny_gate().layer(Tiny)), calls)),
    ("tiny, tower's concurrency limit", |calls| {
        run_tiny(tower::limit::ConcurrencyLimitLayer::new(9).layer(Tiny), calls);
    }),
];
