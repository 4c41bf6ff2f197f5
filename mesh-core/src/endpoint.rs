use crate::{End, Health, Side, Ticket, Watch, live::Live};
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::NonZeroU64,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

/// The number of an endpoint, unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(NonZeroU64);

impl EndpointId {
    /// The next number that was never given out.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(NEXT.fetch_add(1, Relaxed)).unwrap_or(NonZeroU64::MAX))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).map(Self)
    }
}

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port: `127.0.0.1:80`, `[::1]:80`.
    Tcp(SocketAddr),
    /// A Unix socket: `unix:/run/app.sock`.
    Unix(PathBuf),
}

impl Address {
    /// The IP address and port; `None` of a Unix socket.
    pub fn as_tcp(&self) -> Option<SocketAddr> {
        match self {
            Address::Tcp(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Tcp(address)
    }
}

/// Not an address; says what one looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an address: expected `IP:PORT`, `[IPv6]:PORT` or `unix:/PATH`", self.0)
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Address::Unix(path.into())),
            Some(_) => Err(AddressError(text.into())),
            None => text.parse().map(Address::Tcp).map_err(|_| AddressError(text.into())),
        }
    }
}

/// What a discovery says of an endpoint. Its identity is the address: a target that comes back is the same endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// Its share of the load beside the others; 0 gets none.
    pub weight: u32,
    /// The zone it stands in.
    pub zone: Option<String>,
    /// What else is known of it.
    pub metadata: BTreeMap<String, String>,
}

impl Target {
    /// A target of weight 1.
    pub fn new(address: impl Into<Address>) -> Self {
        Self { address: address.into(), weight: 1, zone: None, metadata: BTreeMap::new() }
    }

    /// With another weight.
    pub fn with_weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }
}

/// One endpoint: what is shared of it by all workers. It lives as long as a request holds it, also after it has left
/// its set.
///
/// As a [`Watch`] it counts the calls in flight: a balancer opens a ticket per pick.
pub struct Endpoint {
    id: EndpointId,
    target: Target,
    state: Arc<EndpointState>,
    live: Arc<Live>,
}

/// What is written of an endpoint while it is in use: its counts, its health, and what balancers know of it. All
/// descriptions of the endpoint share it.
///
/// It is apart from the description so that a balancer can keep it in its table: a pick then reads one pair of cache
/// lines for each endpoint that it looks at, and two endpoints never share such a pair (prefetching ties them together).
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct EndpointState {
    picks: AtomicU64,
    /// Picks that have ended; the rest is in flight. So each of the two is one addition.
    ended: AtomicU64,
    latency: AtomicU64,
    faults: AtomicU64,
    failures: AtomicU64,
    health: Health,
    /// In how many sets it is, and [`MEMBER`].
    sets: AtomicU32,
}

/// Beside the number of sets that an endpoint is in: it has been in one.
const MEMBER: u32 = 1 << 31;

impl Endpoint {
    /// A new endpoint, with an identity of its own.
    pub fn new(target: Target) -> Arc<Self> {
        Self::with_id(EndpointId::next(), target)
    }

    fn with_id(id: EndpointId, target: Target) -> Arc<Self> {
        let live = Arc::new(Live::new(id, target.address.clone()));
        Arc::new(Self { id, target, state: Arc::default(), live })
    }

    /// The same endpoint under a changed description: its number, health and counts go on.
    pub(crate) fn retargeted(&self, target: Target) -> Arc<Self> {
        Arc::new(Self { id: self.id, target, state: self.state.clone(), live: self.live.clone() })
    }

    /// For whoever keeps something for it: whether it has left.
    pub fn presence(&self) -> Presence {
        Presence(self.state.clone())
    }

    /// It is in one more set, until this is dropped.
    pub(crate) fn enter(&self) -> Membership {
        Membership::new(self.state.clone())
    }

    /// Its number.
    #[inline]
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// What discovery says of it.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.target.address
    }

    /// Its share of the load beside the others.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.target.weight
    }

    /// What is written of it while it is in use.
    #[inline]
    pub fn state(&self) -> &Arc<EndpointState> {
        &self.state
    }

    /// Its health.
    #[inline]
    pub fn health(&self) -> &Health {
        &self.state.health
    }

    /// As [`EndpointState::in_flight`].
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.state.in_flight()
    }

    /// How often it was picked.
    pub fn picks(&self) -> u64 {
        self.state.picks.load(Relaxed)
    }

    /// How many calls ended in a failure of its own.
    pub fn failures(&self) -> u64 {
        self.state.failures.load(Relaxed)
    }

    /// As [`EndpointState::pick`].
    #[inline]
    pub fn pick(&self) -> Ticket {
        self.state.pick();
        Ticket::default()
    }
}

impl EndpointState {
    /// Its health.
    #[inline]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Calls that have not ended, bodies included.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        // in this order: each pick whose end is seen is seen, too, so the difference is never below zero
        let ended = self.ended.load(Acquire);
        self.picks.load(Relaxed).wrapping_sub(ended) as u32
    }

    /// A word in which balancers keep how long it takes to answer; its meaning is theirs, zero is nothing known. It is
    /// kept as long as the counts are, so what was learned outlives a change of weight and a short absence. All
    /// balancers over the endpoint share it.
    #[inline]
    pub fn latency_word(&self) -> &AtomicU64 {
        &self.latency
    }

    /// The same for its failures of late.
    #[inline]
    pub fn fault_word(&self) -> &AtomicU64 {
        &self.faults
    }

    /// Counts a pick. Each must be [ended](Self::end) once.
    #[inline]
    pub fn pick(&self) {
        self.picks.fetch_add(1, Relaxed);
    }

    /// Ends the count of a pick, and counts a failure of the endpoint's own.
    #[inline]
    pub fn end(&self, end: &End<'_>) {
        self.ended.fetch_add(1, Release);
        if end.outcome.is_failure() && end.side == Side::Upstream {
            self.failures.fetch_add(1, Relaxed);
        }
    }
}

/// Tells of an endpoint whether it has left. A handle, which does not keep the endpoint's address findable.
#[derive(Clone)]
pub struct Presence(Arc<EndpointState>);

impl Presence {
    /// Whether it has left every set it was in. One that never was in a set has not. One load.
    #[inline]
    pub fn has_left(&self) -> bool {
        self.0.sets.load(Relaxed) == MEMBER
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("has_left", &self.has_left()).finish()
    }
}

/// An endpoint's place in a set.
pub(crate) struct Membership(Arc<EndpointState>);

impl Membership {
    fn new(state: Arc<EndpointState>) -> Self {
        state.sets.fetch_add(1, Relaxed);
        // after it was counted: in between it has not left either
        state.sets.fetch_or(MEMBER, Relaxed);
        Self(state)
    }
}

impl Clone for Membership {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.sets.fetch_sub(1, Relaxed);
    }
}

impl Watch for Endpoint {
    #[inline]
    fn on_end(&self, _: Ticket, end: &End<'_>) {
        self.state.end(end);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("id", &self.id)
            .field("address", &self.target.address)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(text.into()));
        }
        for text in ["localhost:80", "unix:app.sock", "127.0.0.1", ""] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn two_endpoints_never_share_a_line() {
        assert_eq!((size_of::<EndpointState>(), align_of::<EndpointState>()), (128, 128));
    }

    #[test]
    fn what_is_in_flight_and_remembered_outlives_a_new_description() {
        let endpoint = Endpoint::new(Target::new(SocketAddr::from(([127, 0, 0, 1], 80))));
        endpoint.pick();
        endpoint.pick();
        endpoint.state().latency_word().store(7, Relaxed);
        let other = endpoint.retargeted(endpoint.target().clone().with_weight(2));
        let at = crate::At::unread();
        let context = crate::Context::none();
        let verdict = crate::Verdict::without_answer(crate::Outcome::Failure, Side::Upstream);
        endpoint.on_end(Ticket::default(), &End::new(verdict, &at, &context));
        assert_eq!((other.in_flight(), other.picks(), other.failures()), (1, 2, 1));
        assert_eq!(other.state().latency_word().load(Relaxed), 7);
        let (id, address) = (other.id(), other.address().clone());
        drop(endpoint);
        assert_eq!(id.with_address(Clone::clone), Some(address));
        drop(other);
        assert_eq!(id.with_address(|_| ()), None, "nobody holds it any more");
    }
}
