//! One client on several threads, over a socket: the connection's task is on one of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use mesh_codec_dubbo::{
    Answer, DubboError, Request, Response,
    client::{Client, Options as Upstream},
    hessian2::Token,
    server::{Options, Server},
};
use mesh_core::{Endpoint, Target};
use mesh_net::Drain;
use std::{future::Future, sync::Arc, thread};
use tokio::net::TcpListener;
use tower::{Service, service_fn};

const CALLS: i32 = 2000;
const THREADS: i32 = 3;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn int(mut reader: mesh_codec_dubbo::hessian2::Reader<'_>) -> i32 {
    match reader.read() {
        Ok(Token::Int(value)) => value,
        other => panic!("{other:?}"),
    }
}

async fn calls(client: Client, first: i32) {
    let one = |value: i32| {
        let mut client = client.clone();
        async move {
            let call = Request::of("demo.Echo", "echo").arguments("I", |writer| writer.int(value)).build();
            let response = client.call(call).await.unwrap();
            let Ok(Answer::Value(reader)) = response.answer() else { panic!("{response:?}") };
            assert_eq!(int(reader), value);
        }
    };
    for start in (first..first + CALLS).step_by(20) {
        let together: Vec<_> = (start..start + 20).map(|value| tokio::spawn(one(value))).collect();
        for call in together {
            call.await.unwrap();
        }
    }
}

#[test]
fn a_client_may_be_called_from_any_thread() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(Target::new(listener.local_addr().unwrap()));
        let drain = Drain::new();
        let watch = drain.watch();
        let provider = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let echo = service_fn(|call: Request| async move {
                let value = int(call.arguments().unwrap());
                if value % 7 == 0 {
                    tokio::task::yield_now().await;
                }
                Ok::<_, DubboError>(Response::value(&call, |writer| writer.int(value)))
            });
            Server::new(Options::default()).serve(stream, Arc::default(), echo, watch).await
        });
        // fewer places than calls at once: they wait for each other's
        let client = Client::new(&endpoint, Upstream { max_in_flight: 10, ..Upstream::default() });
        let mut first = client.clone();
        first.call(Request::of("s", "m").arguments("I", |writer| writer.int(1)).build()).await.unwrap();
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let client = client.clone();
                thread::spawn(move || block_on(calls(client, thread * CALLS)))
            })
            .collect();
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|one| one.join().unwrap()));
        joined.await.unwrap();
        assert_eq!(client.in_flight(), 0);
        drop((client, first));
        provider.await.unwrap().unwrap();
    });
}
