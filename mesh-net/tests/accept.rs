//! The accept loop on real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use mesh_net::{Acceptor, Drain, ListenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn acceptor(address: &str, drain: &Drain) -> Acceptor {
    let listeners =
        ListenOptions::default().dual_stack(true).bind(address.parse().unwrap(), NonZeroUsize::MIN).unwrap();
    Acceptor::new(listeners.into_iter().next().unwrap(), &drain.watch()).unwrap()
}

fn tcp(acceptor: &Acceptor) -> SocketAddr {
    acceptor.address().as_tcp().unwrap()
}

#[tokio::test]
async fn a_connection_comes_with_both_its_ends() {
    let drain = Drain::new();
    let mut acceptor = acceptor("127.0.0.1:0", &drain);
    let mut client = TcpStream::connect(tcp(&acceptor)).await.unwrap();
    let mut accepted = acceptor.accept().await.unwrap().unwrap();
    assert_eq!(accepted.peer.address, Some(client.local_addr().unwrap()));
    assert_eq!(accepted.local, Some(client.peer_addr().unwrap()));
    client.write_all(b"hello").await.unwrap();
    let mut bytes = [0; 5];
    accepted.stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
}

#[tokio::test]
async fn on_all_addresses_the_one_used_is_told_as_what_it_is() {
    let drain = Drain::new();
    let mut acceptor = acceptor("[::]:0", &drain);
    let port = tcp(&acceptor).port();
    for host in ["127.0.0.1", "127.0.0.2", "::1"] {
        let target = SocketAddr::new(host.parse().unwrap(), port);
        let client = TcpStream::connect(target).await.unwrap();
        let accepted = acceptor.accept().await.unwrap().unwrap();
        assert_eq!(accepted.local, Some(target));
        assert_eq!(accepted.peer.address, Some(client.local_addr().unwrap()));
    }
}

#[tokio::test]
async fn a_drain_takes_what_is_queued_then_closes_the_socket() {
    let drain = Drain::new();
    let mut acceptor = acceptor("127.0.0.4:0", &drain);
    let address = tcp(&acceptor);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(std::net::TcpStream::connect(address).unwrap());
    }
    while queued(address) < clients.len() {
        std::thread::yield_now();
    }
    // Nothing was polled since: the runtime does not know yet that the socket is ready.
    drain.start(Duration::from_secs(3600));
    let mut served = Vec::new();
    while let Some(accepted) = acceptor.accept().await.unwrap() {
        assert!(accepted.guard.is_draining());
        served.push(accepted);
    }
    assert_eq!(served.len(), clients.len());
    assert!(acceptor.accept().await.unwrap().is_none());
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);

    for accepted in &mut served {
        accepted.stream.write_all(b"bye").await.unwrap();
    }
    assert_eq!(drain.live(), 21);
    drop(served);
    assert_eq!(drain.live(), 1);
    drop(acceptor);
    assert_eq!(drain.finished().await, 0);
}

/// The connections that the kernel has queued at a listening socket: column `rx_queue` of its table.
fn queued(address: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", address.port());
    let is_ours = |row: &Vec<&str>| row[1].ends_with(&port) && row[3] == "0A";
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect());
    let row: Vec<&str> = rows.into_iter().find(is_ours).unwrap();
    usize::from_str_radix(row[4].split(':').nth(1).unwrap(), 16).unwrap()
}

#[tokio::test]
async fn a_waiting_acceptor_is_woken_by_the_drain_from_another_thread() {
    let drain = Drain::new();
    let mut acceptor = acceptor("127.0.0.1:0", &drain);
    let worker = tokio::spawn(async move { acceptor.accept().await.unwrap().is_none() });
    tokio::task::yield_now().await;
    let control = drain.clone();
    std::thread::spawn(move || control.start(Duration::from_secs(3600))).join().unwrap();
    assert!(worker.await.unwrap());
    assert_eq!(drain.finished().await, 0);
}

#[tokio::test]
async fn a_dropped_accept_loses_no_connection() {
    let drain = Drain::new();
    let mut acceptor = acceptor("127.0.0.1:0", &drain);
    let mut clients = Vec::new();
    for _ in 0..10 {
        // Polled once, then dropped.
        let _ = poll_once(acceptor.accept()).await;
        clients.push(std::net::TcpStream::connect(tcp(&acceptor)).unwrap());
        assert!(acceptor.accept().await.unwrap().is_some());
    }
}

async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
