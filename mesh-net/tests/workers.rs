//! Several workers, each a thread with its own runtime and socket, stopped from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::time::Duration;

use mesh_net::{Accepted, Acceptor, Drain, ListenOptions, Watch};
use tokio::io::AsyncWriteExt;

/// Says hello, stays until the drain, says goodbye.
async fn serve(mut accepted: Accepted) {
    accepted.stream.write_all(b"hello").await.unwrap();
    accepted.guard.signaled().await;
    accepted.stream.write_all(b" bye").await.unwrap();
}

fn work(listener: std::net::TcpListener, drain: &Watch) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut acceptor = Acceptor::new(listener, drain).unwrap();
        let mut served = 0;
        while let Some(accepted) = acceptor.accept().await.unwrap() {
            tokio::spawn(serve(accepted));
            served += 1;
        }
        drop(acceptor);
        assert_eq!(drain.finished().await, 0);
        served
    })
}

#[test]
fn every_connection_of_every_worker_is_served_to_its_end() {
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listeners = ListenOptions::default().bind(address, NonZeroUsize::new(2).unwrap()).unwrap();
    let address = listeners.local_addr();
    let drain = Drain::new();
    let workers: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let watch = drain.watch();
            std::thread::spawn(move || work(listener, &watch))
        })
        .collect();

    let mut clients: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    for client in &mut clients {
        let mut hello = [0; 5];
        client.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
    }
    // The connections, and the two accept loops.
    assert_eq!(drain.live(), 102);

    assert!(drain.start(Duration::from_secs(3600)));
    for client in &mut clients {
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, " bye");
    }
    let served: Vec<usize> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    assert_eq!(served.iter().sum::<usize>(), 100);
    assert!(served.iter().all(|&served| served > 0), "{served:?}");
    assert_eq!(drain.live(), 0);
}
