//! Unix sockets: whose file it is, who may connect, and who did.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mesh_core::Address;
use mesh_net::{Acceptor, ConnectErrorKind, Connector, Drain, ListenOptions, Stream, UnixSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A directory of this test's own.
fn directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("mesh-net-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory).unwrap();
    directory
}

fn bind(path: &PathBuf) -> Result<UnixSocket, mesh_net::BindError> {
    ListenOptions::default().bind_unix(path, 0o600)
}

#[tokio::test]
async fn both_ends_speak_and_the_kernel_vouches_for_the_peer() {
    let path = directory().join("s");
    let drain = Drain::new();
    let mut acceptor = Acceptor::new(bind(&path).unwrap(), &drain.watch()).unwrap();
    assert_eq!(acceptor.address(), &Address::Unix(path.clone()));
    let connector = Connector::default();
    let address = Address::Unix(path.clone());
    let mut client = connector.connect(&address, Duration::from_secs(60)).await.unwrap();
    let mut accepted = acceptor.accept().await.unwrap().unwrap();
    let credentials = accepted.peer.credentials.unwrap();
    assert_eq!(credentials.pid, Some(std::process::id().try_into().unwrap()));
    assert_eq!(credentials.uid, fs::metadata("/proc/self").map(|of| std::os::unix::fs::MetadataExt::uid(&of)).unwrap());
    assert_eq!((accepted.peer.address, accepted.local), (None, None));
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    accepted.stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"hello");
}

#[test]
fn the_file_has_its_mode_and_is_gone_at_the_end() {
    let path = directory().join("s");
    for mode in [0o600, 0o666, 0o660] {
        let socket = ListenOptions::default().bind_unix(&path, mode).unwrap();
        assert_eq!(socket.path(), path);
        let found = fs::metadata(&path).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, mode);
        drop(socket);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_drain_removes_the_file_and_takes_what_is_queued() {
    let path = directory().join("s");
    let drain = Drain::new();
    let mut acceptor = Acceptor::new(bind(&path).unwrap(), &drain.watch()).unwrap();
    let _clients: Vec<_> = (0..5).map(|_| UnixStream::connect(&path).unwrap()).collect();
    drain.start(Duration::from_secs(3600));
    for left in (0..5).rev() {
        let accepted = acceptor.accept().await.unwrap().unwrap();
        assert!(matches!(accepted.stream, Stream::Unix(_)), "{left}");
        assert!(!path.exists());
    }
    assert!(acceptor.accept().await.unwrap().is_none());
}

#[test]
fn the_file_of_a_process_that_is_gone_is_replaced() {
    let path = directory().join("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _socket = bind(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn one_that_somebody_listens_on_is_an_error_and_stays() {
    let path = directory().join("s");
    let theirs = UnixListener::bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(error.to_string(), format!("cannot listen on unix:{}: somebody listens there", path.display()));
    UnixStream::connect(&path).unwrap();
    theirs.set_nonblocking(true).unwrap();
    theirs.accept().unwrap();
}

#[test]
fn what_is_not_a_socket_is_never_touched() {
    let directory = directory();
    let (file, link) = (directory.join("f"), directory.join("l"));
    fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link, &directory] {
        assert_eq!(bind(path).unwrap_err().kind(), ErrorKind::AlreadyExists, "{path:?}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

#[test]
fn another_in_its_place_is_left_alone() {
    let path = directory().join("s");
    let ours = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    drop(ours);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn of_several_that_start_at_once_on_a_stale_file_one_wins() {
    for _ in 0..20 {
        let path = directory().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let together = Barrier::new(4);
        let won: Vec<UnixSocket> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        bind(&path)
                    })
                })
                .collect();
            tries.into_iter().filter_map(|one| one.join().unwrap().ok()).collect()
        });
        assert_eq!(won.len(), 1);
        UnixStream::connect(&path).unwrap();
    }
}

#[test]
fn a_path_that_is_too_long_or_without_a_directory_is_an_error() {
    assert_eq!(bind(&directory().join("a".repeat(108))).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(bind(&directory().join("none/s")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn connecting_tells_who_is_to_blame() {
    let directory = directory();
    let connector = Connector::default();
    let kind = async |path: PathBuf| {
        let error = connector.connect(&Address::Unix(path), Duration::from_secs(5)).await.unwrap_err();
        error.kind()
    };
    assert_eq!(kind(directory.join("nothing")).await, ConnectErrorKind::Refused);
    let stale = directory.join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    assert_eq!(kind(stale).await, ConnectErrorKind::Refused);

    // its queue is full
    let path = directory.join("full");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    assert_eq!(kind(path.clone()).await, ConnectErrorKind::TimedOut);

    let address = Address::Unix(path);
    let waiting = connector.connect(&address, Duration::from_secs(5));
    let (connected, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        socket.accept().unwrap();
    });
    connected.unwrap();
}
