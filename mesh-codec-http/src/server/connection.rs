use super::{Options, Protocol};
use crate::forward::Rules;
use mesh_core::{Context, Name, Nanos, Peer, time};
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Listener {
    options: Options,
    http: Name,
    grpc: Name,
}

impl Listener {
    pub(super) fn new(options: Options) -> Self {
        Self { options, http: Name::intern("http"), grpc: Name::intern("grpc") }
    }
}

/// Beside the number of open requests: the next answer is the connection's last.
const LAST: u32 = 1 << 31;

/// What the parts of one connection share: its codec, its driver, its requests.
#[derive(Debug)]
pub(super) struct Connection {
    listener: Arc<Listener>,
    peer: Arc<Peer>,
    rules: Rules,
    /// Requests whose response has not ended, and [`LAST`].
    open: AtomicU32,
    /// When the first byte of the head came that is being read; 0: none has.
    head_began: AtomicU64,
    /// When the last response ended; of use while nothing is open.
    idle_since: AtomicU64,
}

impl Connection {
    pub(super) fn new(listener: Arc<Listener>, peer: Arc<Peer>) -> Self {
        let rules = Rules::new(&peer, listener.options.forwarded, listener.options.request_id);
        Self {
            listener,
            peer,
            rules,
            open: AtomicU32::new(0),
            head_began: AtomicU64::new(0),
            idle_since: AtomicU64::new(time::now().as_nanos()),
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.listener.options
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn always_answers_grpc(&self) -> bool {
        self.listener.options.protocol == Protocol::Grpc
    }

    /// When the request arrived whose head is complete: when its head began, if that was noted.
    pub(super) fn arrival(&self) -> Nanos {
        match self.head_began.swap(0, Relaxed) {
            0 => time::now(),
            began => Nanos::from_nanos(began),
        }
    }

    /// The record of a request.
    pub(super) fn begin(&self, arrived: Nanos, grpc: bool) -> Context {
        let context = Context::begin(arrived, Some(self.peer.clone()));
        context.set_listener(self.listener.options.listener);
        context.set_protocol(if grpc { self.listener.grpc } else { self.listener.http });
        context
    }

    /// Bytes came: while nothing is open they are of a head. The clock is read once per head.
    pub(super) fn note_bytes(&self) {
        if self.open() == 0 && self.head_began.load(Relaxed) == 0 {
            self.head_began.store(time::now().as_nanos(), Relaxed);
        }
    }

    pub(super) fn head_began(&self) -> Option<Nanos> {
        match self.head_began.load(Relaxed) {
            0 => None,
            began => Some(Nanos::from_nanos(began)),
        }
    }

    pub(super) fn open(&self) -> u32 {
        self.open.load(Relaxed) & !LAST
    }

    /// From now on answers say that the connection ends (HTTP/1).
    pub(super) fn end_with_next_answer(&self) {
        self.open.fetch_or(LAST, Relaxed);
    }

    pub(super) fn idle_since(&self) -> Nanos {
        Nanos::from_nanos(self.idle_since.load(Relaxed))
    }
}

/// A request that is open until this is dropped, with the body of its response.
#[derive(Debug)]
pub(super) struct Open(Arc<Connection>);

impl Open {
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        connection.open.fetch_add(1, Relaxed);
        Self(connection.clone())
    }
}

impl Open {
    /// Whether the answer is to say that it is the connection's last.
    pub(super) fn is_last(&self) -> bool {
        self.0.open.load(Relaxed) & LAST != 0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Relaxed) & !LAST == 1 {
            self.0.idle_since.store(time::now().as_nanos(), Relaxed);
        }
    }
}
