//! Sockets for proxies that run one thread per core, over TCP and Unix sockets: a listening socket for each worker, an
//! accept loop that survives a shortage of file descriptors, limits that are exact over all workers, an even spread of
//! few connections over many of them, HTTP/1 and HTTP/2 told apart on one port, connections to endpoints with errors
//! that say who is to blame, a relay of bytes under tower layers, and a graceful stop. On tokio, any runtime flavour;
//! nothing here knows of HTTP beyond the preface.
//!
//! ```
//! use std::num::NonZeroUsize;
//! use std::time::Duration;
//! use mesh_net::{Acceptor, Connector, Detected, Drain, ListenOptions, detect};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! let listeners = ListenOptions::default().bind("127.0.0.1:0".parse()?, NonZeroUsize::MIN)?;
//! let address = listeners.local_addr();
//! for listener in listeners { // each on a thread and a runtime of its own
//!     let mut acceptor = Acceptor::new(listener, &drain.watch())?;
//!     tokio::spawn(async move {
//!         while let Some(accepted) = acceptor.accept().await? {
//!             tokio::spawn(async move {
//!                 let _until_the_end = accepted.guard;
//!                 match detect(accepted.stream).await? {
//!                     Detected::Http1(mut io) => io.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await,
//!                     Detected::Http2(_) | Detected::Closed => Ok(()),
//!                 }
//!             });
//!         }
//!         std::io::Result::Ok(())
//!     });
//! }
//!
//! let mut stream = Connector::default().connect(&address.into(), Duration::from_secs(1)).await?;
//! stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await?;
//! let mut answer = [0; 12];
//! stream.read_exact(&mut answer).await?;
//! assert_eq!(&answer, b"HTTP/1.1 204");
//!
//! drain.start(Duration::from_secs(5));
//! assert_eq!(drain.finished().await, 0);
//! # Ok(()) }
//! ```
//!
//! # Options
//! | option | default | of |
//! | --- | --- | --- |
//! | `backlog` | 1024 connections, at most `net.core.somaxconn` | [`ListenOptions`] |
//! | `nodelay` | on | both |
//! | `keep_alive` | 30 s | both |
//! | `user_timeout` | 2 min | both |
//! | `dual_stack` | off: `[::]` is IPv6 only | [`ListenOptions`] |
//!
//! # What it costs
//! - A connection accepted: `accept4` and tokio's `epoll_ctl`, since its options are inherited from the listener (and
//!   `getsockname` where that is bound to all addresses); a reference count and an atomic addition for its guard.
//! - Detection: one read of at most 24 bytes into the future itself, no allocation; then one comparison per read.
//! - A connection made: `socket`, four options, `connect`, `epoll_ctl`, `getsockopt`, `getsockname`; one timer.
//! - A connection counted: one atomic operation. Given to another worker: two `epoll_ctl`, a box, and its wake-up.
//! - A relayed connection: one task and its timer, no buffer while it is quiet; a read and a write for what comes.
//! - A drain that has not started: one atomic load where [`Watch::is_draining`] is asked, one list entry per waiter.
//!
//! # What is where
//! `listen` makes sockets (`unix` those with a file), `accept` takes connections from them, `limit` counts them, `spread`
//! gives them to workers, `detect` looks at their first bytes, `connect` is the way out, `relay` carries bytes there and
//! back, under layers that see a whole `connection` as one request, `drain` ends it all; `descriptors` knows how many
//! sockets there may be. What wraps a connection (TLS, PROXY protocol) goes between `accept` and
//! `detect`, which takes any stream.

mod accept;
mod connect;
mod connection;
mod descriptors;
mod detect;
mod drain;
mod limit;
mod listen;
mod relay;
mod spread;
mod stream;
mod unix;

pub use accept::{Accepted, Acceptor, Listener};
pub use connect::{ConnectError, ConnectErrorKind, Connector};
pub use connection::{Connected, Connection, ConnectionError, ConnectionRequest, Dial};
pub use descriptors::{descriptor_limit, raise_descriptor_limit};
pub use detect::{Detected, Rewind, detect};
pub use drain::{Drain, Guard, Watch};
pub use limit::{ConnectionCount, Permit};
pub use listen::{BindError, ListenOptions, Listeners};
pub use relay::{PIPE_DESCRIPTORS, RelayEnd, RelayOptions, Relayed, relay};
pub use spread::{Inbox, Load, Place};
pub use stream::{Detached, Stream};
pub use unix::UnixSocket;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
