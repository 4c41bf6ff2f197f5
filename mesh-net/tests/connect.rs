//! Connections to endpoints.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use mesh_net::{ConnectErrorKind, Connector, Stream};
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(60);

fn tcp(stream: Stream) -> TcpStream {
    let Stream::Tcp(stream) = stream else { panic!("over TCP") };
    stream
}

#[tokio::test]
async fn a_connection_has_the_options() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let stream = tcp(Connector::default().connect(&address.into(), LONG).await.unwrap());
        assert_eq!(stream.peer_addr().unwrap(), address);
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(120)));

        let plain = Connector::default().nodelay(false).keep_alive(None);
        let stream = tcp(plain.connect(&address.into(), LONG).await.unwrap());
        assert!(!stream.nodelay().unwrap());
        assert!(!SockRef::from(&stream).keepalive().unwrap());
    }
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    // Bound but not listening, so that nobody else gets the port.
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let error = Connector::default().connect(&address.into(), LONG).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Refused);
    assert_eq!(error.address(), &address.into());
    assert!(error.to_string().starts_with(&format!("cannot connect to {address}: ")), "{error}");
}

/// A listener whose queue is full does not answer.
#[tokio::test(start_paused = true)]
async fn silence_is_a_timeout_and_a_drop_gives_up() {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_queue = std::net::TcpStream::connect(address).unwrap();

    let start = tokio::time::Instant::now();
    let error = Connector::default().connect(&address.into(), Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 5);
    assert!(error.to_string().contains("5s"), "{error}");

    let (connector, address) = (Connector::default(), address.into());
    tokio::select! {
        biased;
        _ = connector.connect(&address, LONG) => panic!("the queue is full"),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
}
