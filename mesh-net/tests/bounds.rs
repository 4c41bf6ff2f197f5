//! What users of the crate rely on without seeing it: sizes per connection, and futures that any runtime can run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroUsize;
use std::time::Duration;

use mesh_net::{Acceptor, Connector, Drain, Guard, ListenOptions, Rewind, detect};
use tokio::net::TcpStream;

fn size_of_sendable<T: Send>(value: &T) -> usize {
    size_of_val(value)
}

#[tokio::test]
async fn futures_are_send_and_small() {
    let listeners = ListenOptions::default().bind("127.0.0.1:0".parse().unwrap(), NonZeroUsize::MIN).unwrap();
    let address = listeners.local_addr().into();
    let drain = Drain::new();
    let watch = drain.watch();
    let mut acceptor = Acceptor::new(listeners.into_iter().next().unwrap(), &watch).unwrap();
    let connector = Connector::default();

    // 64-bit figures, with some room for other versions of tokio.
    assert!(size_of_sendable(&acceptor.accept()) <= 448);
    let connect = connector.connect(&address, Duration::from_secs(1));
    let size = size_of_sendable(&connect);
    assert!(size <= 640, "{size}");
    let stream = connect.await.unwrap();
    assert!(size_of_sendable(&detect(stream)) <= 160);
    assert!(size_of_sendable(&watch.signaled()) <= 128);
    assert!(size_of_sendable(&drain.finished()) <= 256);
    assert!(size_of::<Rewind<TcpStream>>() <= size_of::<TcpStream>() + 40);
    assert_eq!(size_of::<Guard>(), size_of::<usize>());
}
