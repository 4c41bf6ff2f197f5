//! What a team writes that has a protocol of its own, servers that are not all as they should be, and tower: a proxy
//! for questions and answers of one line each.

use mesh_circuit_breaker::{CircuitBreakerLayer, WindowSettings};
use mesh_lb::{
    BalanceLayer, Policy,
    mesh_core::{Address, BoxError, Endpoint, Endpoints, Outcome},
};
use std::{io, num::NonZeroU32, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// A service of questions over `endpoints`, chosen by `policy`; one that fails half of its last twenty is left alone, at
/// first for `open_for`.
pub fn balanced(
    endpoints: Endpoints,
    policy: Policy,
    open_for: Duration,
) -> impl Service<String, Response = String, Error = BoxError, Future: Send> + Clone + Send + 'static {
    let calls = |number| NonZeroU32::new(number).expect("not zero");
    let window = WindowSettings { calls: calls(20), min_calls: Some(calls(10)), ..WindowSettings::default() };
    BalanceLayer::new(endpoints, policy).judge(judge).layer(move |endpoint: &Arc<Endpoint>| {
        let breaker = CircuitBreakerLayer::window(window.clone()).open_for(open_for).endpoint(endpoint.clone());
        let address = endpoint.address().clone();
        ServiceBuilder::new()
            .layer(breaker.judge(judge))
            .service(service_fn(move |question| ask(address.clone(), question)))
    })
}

/// What an answer says of who gave it.
fn judge(answer: &String) -> Outcome {
    if answer.starts_with("error") { Outcome::Failure } else { Outcome::Success }
}

/// Asks a server.
async fn ask(address: Address, question: String) -> Result<String, BoxError> {
    let Address::Tcp(address) = address else { return Err(format!("no socket address: {address}").into()) };
    let (reading, mut writing) = TcpStream::connect(address).await?.into_split();
    write_line(&mut writing, question).await?;
    BufReader::new(reading).lines().next_line().await?.ok_or_else(|| "no answer".into())
}

/// Answers questions on the connections that `listener` accepts, until that fails.
pub async fn serve<S>(listener: TcpListener, service: S) -> io::Result<()>
where
    S: Service<String, Response = String, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    loop {
        let (connection, _) = listener.accept().await?;
        let mut service = service.clone();
        tokio::spawn(async move {
            let (reading, mut writing) = connection.into_split();
            let mut questions = BufReader::new(reading).lines();
            while let Ok(Some(question)) = questions.next_line().await {
                let answered = match service.ready().await {
                    Ok(service) => service.call(question).await,
                    Err(error) => Err(error),
                };
                let answer = answered.unwrap_or_else(|error| format!("error: {error}"));
                if write_line(&mut writing, answer).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn write_line(to: &mut OwnedWriteHalf, mut line: String) -> io::Result<()> {
    line.push('\n');
    to.write_all(line.as_bytes()).await
}
