//! `cargo run -- LISTEN SERVER...`: proxies lines, `127.0.0.1:7000 127.0.0.1:7001 127.0.0.1:7002` for one.

use mesh_lb::{
    Policy,
    mesh_core::{BoxError, Endpoints, Target},
};
use std::{env, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let addresses = env::args().skip(1).map(|text| text.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let Some((listen, servers)) = addresses.split_first() else { return Err("usage: team LISTEN SERVER...".into()) };
    let endpoints = Endpoints::fixed(servers.iter().copied().map(Target::new));
    let service = team::balanced(endpoints, Policy::default(), Duration::from_secs(5));
    Ok(team::serve(TcpListener::bind(listen).await?, service).await?)
}
