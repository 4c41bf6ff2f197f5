//! The proxy before two servers on sockets, of which one answers every third question only.

use mesh_lb::{
    Policy,
    mesh_core::{Endpoints, Target},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// A server: how often it was asked, and whether it is in order.
#[derive(Default)]
struct Server {
    asked: AtomicU32,
    flaky: AtomicBool,
}

impl Server {
    async fn start(flaky: bool) -> (SocketAddr, Arc<Self>) {
        let server = Arc::new(Self { asked: AtomicU32::new(0), flaky: flaky.into() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = server.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                running.answer(connection).await;
            }
        });
        (address, server)
    }

    /// In turn an answer, an error, and nothing at all; or always an answer.
    async fn answer(&self, connection: TcpStream) {
        let (reading, mut writing) = connection.into_split();
        let question = BufReader::new(reading).lines().next_line().await.unwrap().unwrap();
        let turn = self.asked.fetch_add(1, Relaxed) % 3;
        let answer = match turn {
            1 if self.flaky.load(Relaxed) => "error: out of stock\n".to_owned(),
            2 if self.flaky.load(Relaxed) => return,
            _ => format!("{question}, of course\n"),
        };
        writing.write_all(answer.as_bytes()).await.unwrap();
    }

    fn asked(&self) -> u32 {
        self.asked.load(Relaxed)
    }
}

/// A client of the proxy.
struct Client(Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf);

impl Client {
    /// Of a proxy that is made for it.
    async fn of(servers: [SocketAddr; 2], policy: Policy, open_for: Duration) -> Self {
        let endpoints = Endpoints::fixed(servers.map(Target::new));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(team::serve(listener, team::balanced(endpoints, policy, open_for)));
        let (reading, writing) = TcpStream::connect(address).await.unwrap().into_split();
        Self(BufReader::new(reading).lines(), writing)
    }

    /// Asks so often; how often that failed.
    async fn ask(&mut self, times: u32) -> u32 {
        let mut failed = 0;
        for _ in 0..times {
            self.1.write_all(b"two pounds of tea\n").await.unwrap();
            let answer = self.0.next_line().await.unwrap().unwrap();
            failed += u32::from(answer != "two pounds of tea, of course");
        }
        failed
    }
}

#[tokio::test]
async fn a_flaky_server_is_left_alone() {
    for policy in [Policy::RoundRobin, Policy::default()] {
        let ((first, flaky), (second, good)) = (Server::start(true).await, Server::start(false).await);
        let mut client = Client::of([first, second], policy, Duration::from_secs(300)).await;
        let failed = client.ask(2000).await;
        println!("{policy:?}: {failed} of 2000 failed; asked: flaky {}, good {}", flaky.asked(), good.asked());
        // as often as its breaker has to see, of which two of three fail; then never again
        assert!(flaky.asked() <= 10 && failed <= 7, "{}, {failed}", flaky.asked());
        assert_eq!(flaky.asked() + good.asked(), 2000);
    }
}

#[tokio::test]
async fn it_comes_back_when_it_is_in_order() {
    let ((first, flaky), (second, good)) = (Server::start(true).await, Server::start(false).await);
    let mut client = Client::of([first, second], Policy::RoundRobin, Duration::from_millis(1)).await;
    client.ask(200).await;
    flaky.flaky.store(false, Relaxed);
    let before = flaky.asked();
    while flaky.asked() < before + 50 {
        client.ask(1).await;
    }
    let before = (flaky.asked(), good.asked());
    assert_eq!(client.ask(200).await, 0);
    assert_eq!((flaky.asked() - before.0, good.asked() - before.1), (100, 100), "in turn");
}
