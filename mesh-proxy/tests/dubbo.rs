//! Calls of Dubbo through the engine: routes, layers, rejections, reload.

use mesh_codec_dubbo::{
    Answer, DubboError, Request, Response,
    client::{self, Client},
    server::{self, Server},
};
use mesh_core::{Address, Endpoint, RequestView as _, Target};
use mesh_net::Drain;
use mesh_proxy::{Engine, Layers, Plan, read};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;
use tower_service::Service as _;

fn plan(text: &str) -> Result<Plan, String> {
    let told = |faults: Vec<read::Diagnostic>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let document = read::read(text, "test.yaml", &|_| None).map_err(told)?;
    Plan::check(&document, &Layers::stock()).map_err(told)
}

/// A provider that answers every call with its name and the method.
async fn provider(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let drain = Drain::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = tower::service_fn(move |call: Request| {
                let text = format!("{name} {} {}", call.method(), call.service());
                std::future::ready(Ok::<_, DubboError>(Response::value(&call, |writer| writer.string(&text))))
            });
            let serving = Server::new(server::Options::default()).serve(stream, Arc::default(), service, drain.watch());
            tokio::spawn(async move { drop(serving.await) });
        }
    });
    address
}

fn consumer(engine: &Engine) -> Client {
    let (_, address): (String, Address) = engine.listeners().next().expect("a listener");
    Client::new(&Endpoint::new(Target::new(address)), client::Options::default())
}

async fn called(client: &mut Client, call: Request) -> Result<String, (u8, String)> {
    let response = client.call(call).await.expect("an answer");
    let status = response.status().0;
    match response.answer().expect("one that can be read") {
        Answer::Value(mut value) => {
            Ok(value.read_text().expect("text").expect("not null").to_string_lossy().into_owned())
        }
        other => Err((status, format!("{other:?}"))),
    }
}

fn call(service: &str, method: &str, argument: &str, lane: Option<&str>) -> Request {
    let mut call =
        Request::of(service, method).arguments("Ljava/lang/String;", |writer| writer.string(argument)).build();
    if let Some(lane) = lane {
        mesh_core::RequestView::set(&mut call, "lane", lane.as_bytes());
    }
    call
}

fn spec(stable: SocketAddr, canary: SocketAddr, pipeline: &str) -> String {
    format!(
        "workers: 1
listeners:
  rpc:
    bind: 127.0.0.1:0
    protocol: dubbo
    pipeline: {pipeline}
    routes:
      - match: {{ service: a.Orders, attachments: {{ lane: canary }} }}
        cluster: canary
      - match: {{ service: a.*, arguments: {{ '0': {{ prefix: x }} }} }}
        cluster: canary
      - match: {{ service: a.Orders, method: find }}
        cluster: stable
      - match: {{ service: '*.Users' }}
        cluster: stable
        pipeline: [ rate_limit: {{ rate: 1/h, burst: 1 }} ]
clusters:
  stable: {{ discovery: {{ static: [ \"{stable}\" ] }}, protocol: dubbo }}
  canary: {{ discovery: {{ static: [ \"{canary}\" ] }}, protocol: dubbo }}
"
    )
}

#[tokio::test]
async fn calls_are_routed_and_governed() {
    let (stable, canary) = (provider("stable").await, provider("canary").await);
    let engine = Engine::start(plan(&spec(stable, canary, "[ metrics ]")).expect("good")).expect("started");
    let mut client = consumer(&engine);
    for (call, expected) in [
        (call("a.Orders", "find", "q", None), "stable find a.Orders"),
        (call("a.Orders", "find", "q", Some("canary")), "canary find a.Orders"),
        (call("a.Orders", "find", "xyz", None), "canary find a.Orders"),
        (call("b.Users", "get", "q", None), "stable get b.Users"),
    ] {
        assert_eq!(called(&mut client, call).await, Ok(expected.to_owned()));
    }
    let (status, why) = called(&mut client, call("a.Orders", "drop", "q", None)).await.expect_err("no route");
    assert!(status == 60 && why.contains("no_route"), "{status} {why}");
    let (status, why) = called(&mut client, call("b.Users", "get", "q", None)).await.expect_err("the second");
    assert!(status == 100 && why.contains("rate_limit"), "{status} {why}");

    // a connection lives on, and its next call takes the new spec
    engine.reload(plan(&spec(canary, stable, "[ metrics ]")).expect("good")).expect("taken");
    assert_eq!(called(&mut client, call("a.Orders", "find", "q", None)).await, Ok("canary find a.Orders".to_owned()));
    // a limit does not forget
    let (status, _) = called(&mut client, call("b.Users", "get", "q", None)).await.expect_err("the third");
    assert_eq!(status, 100);
    engine.shutdown(std::time::Duration::ZERO, std::time::Duration::from_secs(5)).await;
}

#[test]
fn a_cluster_speaks_what_comes_to_it() {
    let dubbo = "listeners: { a: { bind: 127.0.0.1:0, protocol: dubbo, routes: [ cluster: c ] } }\n\
                 clusters: { c: { discovery: { static: [] } } }";
    let why = plan(dubbo).map(drop).expect_err("it speaks HTTP");
    assert!(
        why.contains("cluster `c` speaks HTTP, and here comes Dubbo") && why.contains("`protocol: dubbo`"),
        "{why}"
    );
    let http = "listeners: { a: { bind: 127.0.0.1:0, routes: [ cluster: c ] } }\n\
                clusters: { c: { discovery: { static: [] }, protocol: dubbo } }";
    let why = plan(http).map(drop).expect_err("it speaks Dubbo");
    assert!(why.contains("cluster `c` speaks Dubbo, and here comes HTTP"), "{why}");
}
