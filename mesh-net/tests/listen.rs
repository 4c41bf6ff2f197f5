//! Listening sockets of the real kernel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::time::Duration;

use mesh_net::ListenOptions;
use socket2::{Domain, SockRef, Socket, Type};

fn workers(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// The next connection of any of the sockets. The kernel may still be busy with it when the client is connected.
fn accept_any(sockets: &[TcpListener]) -> (usize, TcpStream) {
    loop {
        for (worker, socket) in sockets.iter().enumerate() {
            if let Ok((stream, _)) = socket.accept() {
                return (worker, stream);
            }
        }
        std::thread::yield_now();
    }
}

/// Somebody else's socket.
fn foreign(address: SocketAddr, reuse_port: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[test]
fn all_workers_get_the_port_that_was_chosen() {
    let listeners = ListenOptions::default().bind(loopback(), workers(4)).unwrap();
    let address = listeners.local_addr();
    assert_ne!(address.port(), 0);
    let sockets: Vec<TcpListener> = listeners.into_iter().collect();
    assert_eq!(sockets.len(), 4);
    assert!(sockets.iter().all(|socket| socket.local_addr().unwrap() == address));
}

#[test]
fn a_connection_is_queued_at_exactly_one_worker_and_each_gets_some() {
    let listeners = ListenOptions::default().bind(loopback(), workers(3)).unwrap();
    let address = listeners.local_addr();
    let clients: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
    let sockets: Vec<TcpListener> = listeners.into_iter().collect();
    let mut taken = [0; 3];
    for _ in &clients {
        taken[accept_any(&sockets).0] += 1;
    }
    assert!(sockets.iter().all(|socket| socket.accept().is_err()));
    // A worker without any of 300 would be a chance of 10⁻⁵² were the hash a fair die.
    assert!(taken.iter().all(|&taken| taken > 0), "{taken:?}");
}

#[test]
fn a_port_that_somebody_listens_on_is_an_error_that_names_it() {
    for reuse_port in [false, true] {
        let theirs = foreign(loopback(), reuse_port).unwrap();
        theirs.listen(1).unwrap();
        let address = theirs.local_addr().unwrap().as_socket().unwrap();
        for number in [1, 2] {
            let error = ListenOptions::default().bind(address, workers(number)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert_eq!(error.address(), &address.into());
            assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
        }
    }
}

#[test]
fn a_second_instance_is_refused() {
    for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let ours = ListenOptions::default().bind(loopback(), workers(first)).unwrap();
        let error = ListenOptions::default().bind(ours.local_addr(), workers(second)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "{first} and {second} workers");
    }
}

/// `SO_REUSEADDR` lets two sockets that do not listen yet have one port. Had the group been opened with `SO_REUSEPORT`
/// before its first socket listened, such a one could listen beside it.
#[test]
fn whoever_was_bound_before_but_listens_later_is_refused() {
    for reuse_port in [false, true] {
        let theirs = foreign(loopback(), reuse_port).unwrap();
        let address = theirs.local_addr().unwrap().as_socket().unwrap();
        let _ours = ListenOptions::default().bind(address, workers(1)).unwrap();
        assert_eq!(theirs.listen(1).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
    let theirs = foreign(loopback(), false).unwrap();
    let address = theirs.local_addr().unwrap().as_socket().unwrap();
    // This one keeps the others of the group from being bound; either way nothing is shared.
    let ours = ListenOptions::default().bind(address, workers(2));
    assert!(ours.is_err() || theirs.listen(1).is_err());
}

#[test]
fn a_port_is_free_again_at_once_while_its_connections_are_in_time_wait() {
    // An address of its own: another test's socket could get the port in between.
    let loopback = "127.0.0.3:0".parse().unwrap();
    for number in [1, 2] {
        let listeners = ListenOptions::default().bind(loopback, workers(number)).unwrap();
        let address = listeners.local_addr();
        let sockets: Vec<TcpListener> = listeners.into_iter().collect();
        let client = TcpStream::connect(address).unwrap();
        let (_, served) = accept_any(&sockets);
        // Closed by the server's side first, which is then the one in TIME_WAIT.
        drop((served, client, sockets));
        ListenOptions::default().bind(address, workers(number)).unwrap();
    }
}

#[test]
fn accepted_connections_inherit_the_options() {
    let accepted = |options: ListenOptions| {
        let listeners = options.bind(loopback(), workers(1)).unwrap();
        let _client = TcpStream::connect(listeners.local_addr()).unwrap();
        listeners.into_iter().next().unwrap().accept().unwrap().0
    };
    let stream = accepted(ListenOptions::default());
    assert!(stream.nodelay().unwrap());
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(120)));

    let stream = accepted(ListenOptions::default().keep_alive(Duration::from_millis(1)));
    assert_eq!(SockRef::from(&stream).tcp_keepalive_time().unwrap(), Duration::from_secs(1));

    let stream = accepted(ListenOptions::default().nodelay(false).keep_alive(None).user_timeout(None));
    assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), None);
    assert!(!stream.nodelay().unwrap());
    assert!(!SockRef::from(&stream).keepalive().unwrap());
}

#[test]
fn ipv6_leaves_ipv4_alone_unless_asked() {
    let any: SocketAddr = "[::]:0".parse().unwrap();
    // The port may be taken in IPv4 already, by another test.
    let both = (0..100).any(|_| {
        let v6 = ListenOptions::default().bind(any, workers(2)).unwrap();
        let v4 = SocketAddr::from(([0, 0, 0, 0], v6.local_addr().port()));
        ListenOptions::default().bind(v4, workers(2)).is_ok()
    });
    assert!(both);

    let listeners = ListenOptions::default().dual_stack(true).bind(any, workers(2)).unwrap();
    TcpStream::connect(("127.0.0.1", listeners.local_addr().port())).unwrap();
    TcpStream::connect(("::1", listeners.local_addr().port())).unwrap();
}
