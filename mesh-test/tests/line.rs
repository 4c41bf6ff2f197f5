//! The toy protocol over a connection: layers on both sides, one-way calls, refusals, requests that are sent again.

mod layers;

use layers::AtOnce;
use mesh_core::{
    GateLayer, Governed, Kind, Outcome, Pipeline, Protocol, Refusal, Rejection, RequestView, gate_fn, pipeline::Made,
};
use mesh_test::{Line, Spy, line, mock::mock};
use std::sync::{Arc, atomic::Ordering::Relaxed};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

async fn shout(request: line::Request) -> Result<line::Reply, line::Error> {
    match request.method() {
        "gone" => Err(line::Error::Io(std::io::ErrorKind::ConnectionReset.into())),
        "tell" => Ok(line::Reply::to_one_way()),
        _ => Ok(line::Reply::new(line::OK).with_result(&request.arguments.to_uppercase())),
    }
}

fn ask(method: &str) -> line::Request {
    line::Request::new("text", method).with_arguments("hello")
}

#[tokio::test]
async fn layers_on_both_sides() {
    let (near, far) = (Arc::<Spy>::default(), Arc::<Spy>::default());
    let no_robots = gate_fn(|request: &mut line::Request| match request.get("agent") {
        Some(b"robot") => Err(Rejection::new(Kind::Forbidden)),
        _ => Ok(()),
    });
    let server = Pipeline::<Line>::builder().made("spy", Made::Gate(far.clone())).gate("no_robots", no_robots).build();
    let client = line::connect(ServiceBuilder::new().layer(server).service(service_fn(shout)));
    let mut client = ServiceBuilder::new()
        .layer(Pipeline::<Line>::builder().made("spy", Made::Gate(near.clone())).build())
        .service(client);

    let mut reply = client.ready().await.unwrap().call(ask("shout")).await.unwrap();
    assert_eq!((reply.status, reply.result.as_str()), (line::OK, "HELLO"));
    reply.guards().end_well();
    let mut refused = client.call(ask("shout").with("agent", "robot")).await.unwrap();
    assert_eq!((refused.status, refused.result.as_str()), (line::REFUSED, "forbidden"));
    assert!(refused.metadata.iter().any(|(name, value)| name == "x-mesh-rejected-by" && value == b"no_robots"));
    refused.guards().end_well();
    let failed = client.call(ask("gone")).await.unwrap();
    assert_eq!(failed.status, line::FAILED);
    drop(failed);
    assert_eq!(near.outcomes(), [Outcome::Success, Outcome::Failure, Outcome::Failure]);
    assert_eq!(far.outcomes(), [Outcome::Success, Outcome::Rejected, Outcome::Failure]);
}

#[tokio::test]
async fn a_one_way_call_ends_when_it_is_written() {
    let (near, far) = (GateLayer::new(Spy::default()), GateLayer::new(Spy::default()));
    let limit = GateLayer::new(AtOnce::new(1));
    let served = ServiceBuilder::new().layer(far.clone()).service(service_fn(shout));
    let layers = ServiceBuilder::new().layer(near.clone()).layer(limit.clone());
    let mut client = layers.service(line::connect(served));
    for _ in 0..3 {
        let reply = client.ready().await.unwrap().call(ask("tell").one_way()).await.unwrap();
        assert!(reply.is_one_way());
        drop(reply);
        assert_eq!(limit.gate().now.load(Relaxed), 0);
    }
    // an answer comes after all that was written before it: nobody has answered the others
    let reply = client.call(ask("shout")).await.unwrap();
    assert_eq!(reply.result, "HELLO");
    assert_eq!(near.gate().outcomes(), [Outcome::Success; 3]);
    assert_eq!(far.gate().outcomes(), [Outcome::Success; 4]);
}

#[tokio::test]
async fn the_other_end_is_gone() {
    let spy = GateLayer::new(Spy::default());
    let (near, far) = tokio::io::duplex(64);
    drop(far);
    let mut client = ServiceBuilder::new().layer(spy.clone()).service(line::Client::new(near));
    let error = client.ready().await.unwrap().call(ask("shout")).await.unwrap_err();
    assert!(matches!(error, line::Error::Io(_)) && error.rejection().is_none());
    assert_eq!(spy.gate().outcomes(), [Outcome::Failure]);
}

#[tokio::test]
async fn what_is_no_request_ends_the_connection() {
    let (mut near, far) = tokio::io::duplex(64);
    let served = tokio::spawn(line::serve(far, service_fn(shout)));
    tokio::io::AsyncWriteExt::write_all(&mut near, b"no request\n").await.unwrap();
    assert_eq!(served.await.unwrap().unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_request_is_sent_again_while_it_is_kept() {
    let (mut service, handle) = mock::<line::Request, line::Reply, line::Error>();
    let mut first = ask("shout").with("user", "7");
    assert!(Line::replay(&mut first, 4).is_none(), "longer than what may be kept");
    let mut replay = Line::replay(&mut first, 5).unwrap();
    let context = first.context.clone();
    context.begin_attempt();
    drop(service.ready().await.unwrap().call(first));
    drop(service.ready().await.unwrap().call(replay.again().unwrap()));
    let (one, two) = (handle.try_next().unwrap(), handle.try_next().unwrap());
    assert_eq!(line::encode_request(one.request()), line::encode_request(two.request()));
    // all attempts share one record
    two.request().context.begin_attempt();
    assert_eq!(context.attempts(), 2);
}
