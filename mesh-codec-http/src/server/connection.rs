use super::{Options, Protocol, refusal::OnRefusal, tunnel::Tunnel};
use crate::forward::Rules;
use mesh_core::{Context, Name, Nanos, Peer, time};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Listener {
    options: Options,
    on_refusal: Option<OnRefusal>,
    http: Name,
    grpc: Name,
}

impl Listener {
    pub(super) fn new(options: Options) -> Self {
        Self { options, on_refusal: None, http: Name::intern("http"), grpc: Name::intern("grpc") }
    }

    pub(super) fn on_refusal(&self, told: OnRefusal) -> Self {
        Self { on_refusal: Some(told), ..Self::new(self.options.clone()) }
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
    /// The connection ends with something unread.
    unread: AtomicBool,
    /// What an HTTP/1 connection is to become when the answer has been written.
    tunnel: Mutex<Option<Box<Tunnel>>>,
    /// Since when the peer takes nothing of what is to be written; 0: it does.
    stalled_since: AtomicU64,
}

impl Connection {
    pub(super) fn new(listener: Arc<Listener>, peer: Arc<Peer>) -> Self {
        let rules = Rules::new(&peer, listener.options.forwarded, listener.options.request_id)
            .trusted_hops(listener.options.trusted_hops);
        Self {
            listener,
            peer,
            rules,
            open: AtomicU32::new(0),
            head_began: AtomicU64::new(0),
            idle_since: AtomicU64::new(time::now().as_nanos()),
            unread: AtomicBool::new(false),
            tunnel: Mutex::new(None),
            stalled_since: AtomicU64::new(0),
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.listener.options
    }

    /// Who is told of what is refused here.
    pub(super) fn on_refusal(&self) -> Option<&OnRefusal> {
        self.listener.on_refusal.as_ref()
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

    /// The record of a request. `client`: who sent it, where that is not the peer itself.
    pub(super) fn begin(&self, arrived: Nanos, grpc: bool, client: Option<IpAddr>) -> Context {
        let peer = match client {
            None => self.peer.clone(),
            // no port is known of
            Some(client) => Arc::new(Peer { address: Some(SocketAddr::new(client, 0)), ..Peer::clone(&self.peer) }),
        };
        let context = Context::begin(arrived, Some(peer));
        context.set_listener(self.listener.options.listener);
        context.set_protocol(if grpc { self.listener.grpc } else { self.listener.http });
        context
    }

    /// Bytes came: while nothing is open they are of a head. The clock is read once per head. Whether they are the
    /// head's first.
    pub(super) fn note_bytes(&self) -> bool {
        let first = self.open() == 0 && self.head_began.load(Relaxed) == 0;
        if first {
            self.head_began.store(time::now().as_nanos(), Relaxed);
        }
        first
    }

    pub(super) fn head_began(&self) -> Option<Nanos> {
        moment(&self.head_began)
    }

    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    pub(super) fn set_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tunnel));
    }

    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The peer has begun to take nothing, or takes something again.
    pub(super) fn note_stalled(&self, stalled: bool) {
        self.stalled_since.store(if stalled { time::now().as_nanos() } else { 0 }, Relaxed);
    }

    pub(super) fn stalled_since(&self) -> Option<Nanos> {
        moment(&self.stalled_since)
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

fn moment(since: &AtomicU64) -> Option<Nanos> {
    match since.load(Relaxed) {
        0 => None,
        nanos => Some(Nanos::from_nanos(nanos)),
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
    /// What the client sends on will not be read: HTTP/1 ends the connection with the answer.
    pub(super) fn leave_unread(&self) {
        self.0.unread.store(true, Relaxed);
    }

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
