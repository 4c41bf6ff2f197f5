//! Consumers, a proxy of tower layers, and providers, all over streams in memory and in virtual time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::wire::{Peer, Providers, pair, targets};
use mesh_circuit_breaker::CircuitBreakerLayer;
use mesh_codec_dubbo::{
    Answer, Dubbo, DubboError, Request, Response,
    client::{Client, Options as Upstream},
    frame::Status,
    hessian2::{Reader, Token},
    server::{Options, Server},
};
use mesh_concurrency_limit::ConcurrencyLimitLayer;
use mesh_core::{Endpoint, Endpoints, RequestView, Stage, units::Rate};
use mesh_lb::{BalanceLayer, Policy};
use mesh_net::Drain;
use mesh_rate_limit::RateLimitLayer;
use mesh_retry::{Condition, RetryLayer};
use mesh_timeout::TimeoutLayer;
use std::{
    collections::HashMap,
    num::{NonZeroU32, NonZeroU64},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::io::DuplexStream;
use tower::{Layer, Service, ServiceBuilder, service_fn};

fn tcp(address: &mesh_core::Address) -> u16 {
    address.as_tcp().unwrap().port()
}

/// Serves a stream with a function of the call.
fn provide<F, A>(stream: DuplexStream, answer: F)
where
    F: FnMut(Request) -> A + Send + 'static,
    A: Future<Output = Result<Response, DubboError>> + Send + 'static,
{
    let drain = Drain::new();
    tokio::spawn(Server::new(Options::default()).serve(stream, Arc::default(), service_fn(answer), drain.watch()));
}

fn upstream(serve: impl Fn(&mesh_core::Address, DuplexStream) + Send + Sync + 'static) -> Upstream {
    Upstream { connector: Arc::new(Providers(serve)), ..Upstream::default() }
}

fn make(options: Upstream) -> impl Fn(&Arc<Endpoint>) -> Client + Send + Sync + 'static {
    move |endpoint| Client::new(endpoint, options.clone())
}

/// A consumer of a proxy with this service.
fn consumer<S>(service: S) -> Peer
where
    S: Service<Request, Response = Response, Error = DubboError> + Send + 'static,
    S::Future: Send,
{
    let (ours, theirs) = pair();
    let drain = Drain::new();
    let serving = Server::new(Options::default()).serve(theirs, Arc::default(), service, drain.watch());
    tokio::spawn(serving);
    Peer::new(ours)
}

fn int(mut reader: Reader<'_>) -> i32 {
    match reader.read() {
        Ok(Token::Int(value)) => value,
        other => panic!("{other:?}"),
    }
}

/// Two consumers count their calls alike, and share one connection to each of three providers that answer in any order.
#[tokio::test(start_paused = true)]
async fn no_answer_meets_the_wrong_caller() {
    const CALLS: u64 = 50_000;
    const AT_ONCE: usize = 64;
    let options = upstream(|_, stream| {
        provide(stream, |call: Request| async move {
            match fastrand::u8(..) {
                // all that are under way are overtaken
                0 => tokio::time::sleep(Duration::from_millis(1)).await,
                other => {
                    for _ in 0..other % 4 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            let value = int(call.arguments().unwrap());
            Ok(Response::value(&call, |writer| writer.int(value)))
        });
    });
    let balance = BalanceLayer::new(Endpoints::fixed(targets(3)), Policy::RoundRobin);
    let balance = balance.layer(make(options));
    let consumers = [0, 1].map(|consumer_number| {
        let mut peer = consumer(Stage::<Dubbo>::new(balance.clone()));
        tokio::spawn(async move {
            let (mut sent, mut received, mut overtaken) = (0_u64, 0_u64, 0_u64);
            let mut waiting = HashMap::new();
            let mut last = 0;
            while received < CALLS {
                while sent < CALLS && waiting.len() < AT_ONCE {
                    // ids with the top bit set too, the same for both
                    let id = sent.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let value = fastrand::i32(..) & !1 | consumer_number;
                    let call = Request::of("demo.Echo", "echo").arguments("I", |writer| writer.int(value)).build();
                    let mut out = bytes::BytesMut::new();
                    call.write(id, &mut out);
                    assert!(waiting.insert(id, (sent, value)).is_none());
                    tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &out).await.unwrap();
                    sent += 1;
                }
                let response = Response::from_frame(peer.next().await.unwrap());
                let (order, value) = waiting.remove(&response.head().id).expect("one that is waited for");
                let Ok(Answer::Value(reader)) = response.answer() else { panic!("{response:?}") };
                assert_eq!(int(reader), value, "the answer to another call");
                overtaken += u64::from(order < last);
                last = order;
                received += 1;
            }
            overtaken
        })
    });
    for consumer in consumers {
        let overtaken = consumer.await.unwrap();
        assert!(overtaken > CALLS / 10, "answers came in order: {overtaken}");
    }
}

async fn ask(peer: &mut Peer, id: u64, call: Request) -> (Status, String) {
    let mut out = bytes::BytesMut::new();
    call.write(id, &mut out);
    tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &out).await.unwrap();
    let response = Response::from_frame(peer.next().await.unwrap());
    assert_eq!(response.head().id, id);
    let text = match response.answer().unwrap() {
        Answer::Failed(_, message) => message.unwrap_or_default().into_owned(),
        Answer::Value(mut reader) => reader.read_text().unwrap().unwrap().to_string_lossy().into_owned(),
        other => format!("{other:?}"),
    };
    (response.status(), text)
}

fn one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A provider's answer by the method, and by its port.
async fn by_name(port: u16, call: Request) -> Result<Response, DubboError> {
    match call.method() {
        "hang" => std::future::pending().await,
        "fail" => Ok(Response::failed(Status::SERVER_ERROR, "broken")),
        "fail_at_1" if port == 1 => Ok(Response::failed(Status::SERVER_ERROR, "broken at 1")),
        "throw" => Ok(Response::exception(&call, |writer| writer.string("thrown"))),
        _ => Ok(Response::value(&call, |writer| writer.string(&port.to_string()))),
    }
}

fn call(method: &str) -> Request {
    Request::of("s", method).build()
}

#[tokio::test(start_paused = true)]
async fn the_layers_of_the_workspace_govern_calls() {
    let options = upstream(|address, stream| {
        let port = tcp(address);
        provide(stream, move |call| by_name(port, call));
    });
    let breaker = CircuitBreakerLayer::consecutive_failures(one(3));
    let limit = ConcurrencyLimitLayer::new(one(100)).until_end();
    let permits = limit.handle();
    let service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(Rate::per_second(NonZeroU64::new(10).unwrap())))
        .layer(TimeoutLayer::new(Duration::from_millis(500)))
        .layer(limit)
        .layer(breaker)
        .service(BalanceLayer::new(Endpoints::fixed(targets(2)), Policy::RoundRobin).layer(make(options)));
    let mut peer = consumer(Stage::<Dubbo>::new(service));
    for id in 0..2 {
        assert_eq!(ask(&mut peer, id, call("echo")).await.0, Status::OK);
    }
    // thrown by the method: nobody is to blame
    for id in 2..5 {
        assert_eq!(ask(&mut peer, id, call("throw")).await.0, Status::OK);
    }
    assert_eq!(ask(&mut peer, 5, call("hang")).await, (Status::SERVER_TIMEOUT, "refused by timeout: timeout".into()));
    for id in 6..8 {
        assert_eq!(ask(&mut peer, id, call("fail")).await, (Status::SERVER_ERROR, "broken".into()));
    }
    // the timeout counted: three in a row
    let (status, text) = ask(&mut peer, 8, call("echo")).await;
    assert_eq!(status, Status::EXHAUSTED);
    assert!(text.starts_with("refused by circuit_breaker: circuit_open"), "{text}");
    let mut last = (Status::OK, String::new());
    for id in 9..30 {
        last = ask(&mut peer, id, call("echo")).await;
    }
    assert_eq!(last.0, Status::EXHAUSTED);
    assert!(last.1.starts_with("refused by rate_limit: rate_limited, retry after "), "{last:?}");
    assert_eq!(permits.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_reaches_another_provider_with_the_same_bytes() {
    let bodies = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = bodies.clone();
    let connections = Arc::new(AtomicU32::new(0));
    let count = connections.clone();
    let options = upstream(move |address, stream| {
        let (port, seen) = (tcp(address), seen.clone());
        count.fetch_add(1, Relaxed);
        provide(stream, move |call| {
            seen.lock().unwrap().push((port, call.body().clone()));
            by_name(port, call)
        });
    });
    let retry = RetryLayer::new().on([Condition::ServerError]).methods(["*"]).protocol::<Dubbo>();
    let balance = BalanceLayer::new(Endpoints::fixed(targets(2)), Policy::RoundRobin);
    let mut peer = consumer(Stage::<Dubbo>::new(retry.layer(balance.layer(make(options)))));
    for id in 0..10 {
        assert_eq!(ask(&mut peer, id, call("fail_at_1")).await, (Status::OK, "2".into()));
    }
    let bodies = bodies.lock().unwrap();
    assert!(bodies.iter().any(|(port, _)| *port == 1) && bodies.len() > 10);
    assert!(bodies.windows(2).all(|pair| pair[0].1 == pair[1].1));
    assert_eq!(connections.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_drains_is_left_alone() {
    let drains = [Drain::new(), Drain::new(), Drain::new()];
    let theirs = drains.clone();
    let options = upstream(move |address, stream| {
        let port = tcp(address);
        let drain = &theirs[usize::from(port) - 1];
        let service = service_fn(move |call: Request| by_name(port, call));
        tokio::spawn(Server::new(Options::default()).serve(stream, Arc::default(), service, drain.watch()));
    });
    let endpoints = Endpoints::fixed(targets(3));
    let balance = BalanceLayer::new(endpoints.clone(), Policy::RoundRobin);
    let retry = RetryLayer::new().protocol::<Dubbo>();
    let mut peer = consumer(Stage::<Dubbo>::new(retry.layer(balance.layer(make(options)))));
    let mut ports = Vec::new();
    for id in 0..6 {
        ports.push(ask(&mut peer, id, call("echo")).await.1);
    }
    ports.sort();
    assert_eq!(ports, ["1", "1", "2", "2", "3", "3"]);
    // one says "read only": no call fails, and none goes there
    drains[0].start(Duration::from_secs(60));
    for id in 6..100 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let (status, port) = ask(&mut peer, id, call("echo")).await;
        assert_eq!(status, Status::OK, "{port}");
        assert!(id < 10 || port != "1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_dies_loses_what_was_in_flight_on_it_and_is_found_again() {
    let tasks = Arc::new(std::sync::Mutex::new(Vec::new()));
    let theirs = tasks.clone();
    let options = upstream(move |address, stream| {
        let port = tcp(address);
        let drain = Drain::new();
        let service = service_fn(move |call: Request| by_name(port, call));
        let serving = Server::new(Options::default()).serve(stream, Arc::default(), service, drain.watch());
        theirs.lock().unwrap().push((port, tokio::spawn(serving)));
    });
    let balance = BalanceLayer::new(Endpoints::fixed(targets(2)), Policy::RoundRobin).layer(make(options));
    let mut peer = consumer(Stage::<Dubbo>::new(balance));
    for id in 0..4 {
        assert_eq!(ask(&mut peer, id, call("echo")).await.0, Status::OK);
    }
    // four that hang: two on each
    let mut out = bytes::BytesMut::new();
    (10..14).for_each(|id| call("hang").write(id, &mut out));
    tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &out).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    tasks.lock().unwrap().iter().filter(|(port, _)| *port == 1).for_each(|(_, task)| task.abort());
    let mut lost = Vec::new();
    for _ in 0..2 {
        let response = Response::from_frame(peer.next().await.unwrap());
        let Ok(Answer::Failed(Status::SERVER_ERROR, Some(text))) = response.answer() else { panic!("{response:?}") };
        assert!(text.starts_with("upstream reset 127.0.0.1:1"), "{text}");
        lost.push(response.head().id);
    }
    lost.dedup();
    assert!(lost.len() == 2 && lost.iter().all(|id| (10..14).contains(id)), "{lost:?}");
    // it is there again, and nothing else was lost
    let mut ports = Vec::new();
    for id in 20..28 {
        let (status, port) = ask(&mut peer, id, call("echo")).await;
        assert_eq!(status, Status::OK, "{port}");
        ports.push(port);
    }
    assert_eq!(ports.iter().filter(|port| *port == "1").count(), 4);
}
