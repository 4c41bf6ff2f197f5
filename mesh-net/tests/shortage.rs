//! A process without free file descriptors: its accept loop waits, and goes on when there are some.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use mesh_net::{Acceptor, Drain, ListenOptions};
use tokio::time::timeout;

const INSIDE: &str = "MESH_NET_FEW_DESCRIPTORS";

/// Runs itself once more in a process with few descriptors.
#[tokio::test(start_paused = true)]
async fn an_accept_loop_outlives_a_shortage_of_descriptors() {
    if std::env::var_os(INSIDE).is_some() {
        return inside().await;
    }
    let status = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact an_accept_loop_outlives_a_shortage_of_descriptors"])
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

async fn inside() {
    let listeners = ListenOptions::default().bind("127.0.0.1:0".parse().unwrap(), NonZeroUsize::MIN).unwrap();
    let (address, drain) = (listeners.local_addr(), Drain::new());
    let mut acceptor = Acceptor::new(listeners.into_iter().next().unwrap(), &drain.watch()).unwrap();
    let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(files.len() < 64);
    assert!(timeout(Duration::from_secs(60), acceptor.accept()).await.is_err());

    files.truncate(files.len() - 1);
    let first = acceptor.accept().await.unwrap();
    assert!(first.is_some());
    assert!(timeout(Duration::from_secs(60), acceptor.accept()).await.is_err());

    drop(first);
    assert!(acceptor.accept().await.unwrap().is_some());
}
