//! A proxy made of the crates, without a spec: the README's twenty lines, and a `main` that reads addresses.
//!
//! `cargo run -p mesh-examples --bin proxy -- 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002` takes requests at the first
//! address and sends them to the others in turn.

use mesh_codec_http::{
    server::{Options, Server},
    upstream::{Upstream, UpstreamOptions, sweep},
};
use mesh_core::{BoxError, Endpoints, Target, time};
use mesh_lb::{Balance, Policy};
use mesh_metrics::MetricsLayer;
use mesh_net::{Accepted, Acceptor, Drain};
use mesh_rate_limit::RateLimitLayer;
use mesh_timeout::TimeoutLayer;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tower::ServiceBuilder;

async fn proxy(listener: TcpListener, targets: Vec<SocketAddr>) -> Result<(), BoxError> {
    let endpoints = Endpoints::fixed(targets.into_iter().map(Target::new));
    let service = ServiceBuilder::new()
        .layer(MetricsLayer::new())
        .layer(TimeoutLayer::new(Duration::from_secs(2)))
        .layer(RateLimitLayer::new("5000/s".parse()?))
        .service(Balance::new(endpoints, Policy::RoundRobin, |endpoint| {
            Upstream::new(endpoint, UpstreamOptions::default())
        }));
    let (server, drain) = (Server::new(Options::default()), Drain::new());
    let mut acceptor = Acceptor::new(listener, &drain.watch())?;
    while let Some(Accepted { stream, peer, guard, .. }) = acceptor.accept().await? {
        let serving = server.serve(stream, Arc::new(peer), service.clone(), (*guard).clone());
        tokio::spawn(async move { serving.await.map(|_| drop(guard)) });
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let addresses: Vec<SocketAddr> =
        std::env::args().skip(1).map(|address| address.parse()).collect::<Result<_, _>>()?;
    let [listen, targets @ ..] = &addresses[..] else { return Err("usage: proxy LISTEN UPSTREAM…".into()) };
    // closes connections that have been idle for too long
    tokio::spawn(async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            sweep(time::now());
        }
    });
    proxy(TcpListener::bind(listen)?, targets.to_vec()).await
}
