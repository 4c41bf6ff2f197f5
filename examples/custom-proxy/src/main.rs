//! A whole HTTP proxy on hyper, made of the governance crates and nothing of the sidecar: limits, a timeout, the power of
//! two choices over the endpoints, and a circuit breaker for each of them.
//!
//! `cargo run -p custom-proxy -- 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002` takes requests at the first address and
//! sends them to the others.

use http::{Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self as client, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use mesh_circuit_breaker::CircuitBreakerLayer;
use mesh_concurrency_limit::ConcurrencyLimitLayer;
use mesh_core::{
    BoxError, Endpoint, Endpoints, Target,
    http::{GovernedBody, answered, lift},
};
use mesh_lb::{BalanceLayer, Policy};
use mesh_rate_limit::RateLimitLayer;
use mesh_timeout::TimeoutLayer;
use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// Sends a request to one endpoint, over a pool of connections that all endpoints share.
async fn send(
    client: Client<HttpConnector, Incoming>,
    endpoint: Arc<Endpoint>,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, client::Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = format!("http://{}{path}", endpoint.address());
    let uri = Uri::try_from(uri).expect("an address and a path that was one make a URI");
    *request.uri_mut() = uri;
    HOP_BY_HOP.iter().for_each(|name| _ = request.headers_mut().remove(*name));
    let mut response = client.request(request).await?;
    HOP_BY_HOP.iter().for_each(|name| _ = response.headers_mut().remove(*name));
    response.headers_mut().append(header::VIA, header::HeaderValue::from_static("1.1 custom-proxy"));
    Ok(response)
}

fn bad_gateway() -> Response<GovernedBody<Incoming>> {
    let mut response = Response::new(GovernedBody::default());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let addresses: Vec<SocketAddr> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [listen, targets @ ..] = &addresses[..] else { return Err("usage: custom-proxy LISTEN UPSTREAM…".into()) };

    let client = Client::builder(TokioExecutor::new()).build_http();
    let balancer = BalanceLayer::new(Endpoints::fixed(targets.iter().copied().map(Target::new)), Policy::default());
    let balanced = balancer.layer(move |endpoint: &Arc<Endpoint>| {
        let (client, to) = (client.clone(), endpoint.clone());
        let breaker = CircuitBreakerLayer::consecutive_failures(FIVE).endpoint(endpoint.clone());
        breaker.layer(lift(service_fn(move |request| send(client.clone(), to.clone(), request))))
    });
    let governed = answered(
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(Duration::from_secs(2)))
            .layer(RateLimitLayer::new("5000/s".parse()?))
            .layer(ConcurrencyLimitLayer::new(THOUSAND).until_end())
            .service(balanced),
    );
    // refusals are answers by now; what is left are servers that could not be reached
    let service = governed.map_result(|result| Ok::<_, client::Error>(result.unwrap_or_else(|_| bad_gateway())));

    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}

const FIVE: NonZeroU32 = NonZeroU32::new(5).unwrap();
const THOUSAND: NonZeroU32 = NonZeroU32::new(1000).unwrap();
