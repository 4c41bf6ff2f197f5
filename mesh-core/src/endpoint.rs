use crate::{End, Nanos, Side, Ticket, Watch, live::Live, time};
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
            Ordering::{AcqRel, Acquire, Relaxed},
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

/// A reason to leave an endpoint alone. Each has one writer; the endpoint is eligible while none is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HealthFlag {
    /// Its circuit breaker is open.
    CircuitOpen = 1,
    /// It stood out as bad among its peers.
    Ejected = 1 << 1,
    /// An active check failed.
    CheckFailed = 1 << 2,
    /// It has left the set and finishes what it has.
    Draining = 1 << 3,
    /// It asked to be left alone for a while.
    Pushback = 1 << 4,
}

impl HealthFlag {
    /// All of them.
    pub const ALL: [HealthFlag; 5] = [
        HealthFlag::CircuitOpen,
        HealthFlag::Ejected,
        HealthFlag::CheckFailed,
        HealthFlag::Draining,
        HealthFlag::Pushback,
    ];

    /// The name that `/clusters` and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            HealthFlag::CircuitOpen => "circuit_open",
            HealthFlag::Ejected => "ejected",
            HealthFlag::CheckFailed => "check_failed",
            HealthFlag::Draining => "draining",
            HealthFlag::Pushback => "pushback",
        }
    }
}

/// The health of an endpoint: written by breakers, ejection and checks, read by balancers.
///
/// A reason may have an end, so that nobody needs a timer to take it back: an open breaker says until when, and the
/// first request after that is its trial.
///
/// Where reasons speak against too many of a set, leaving those alone would only break the rest: then a balancer
/// [spares](Self::spare_until) them all for a while.
#[derive(Debug, Default)]
pub struct Health {
    flags: AtomicU32,
    /// When each reason ends, in nanoseconds; of those that are set.
    ends: [AtomicU64; HealthFlag::ALL.len()],
    /// Until when reasons are passed over.
    spared: AtomicU64,
}

impl Health {
    /// Whether it may be picked at this moment: nothing speaks against it, or it is spared. One load; where there is a
    /// reason, a reading of the clock.
    #[inline]
    pub fn is_eligible(&self) -> bool {
        self.flags.load(Acquire) == 0 || self.is_spared() || self.is_healthy()
    }

    /// Whether nothing speaks against it at this moment.
    #[cold]
    #[inline(never)]
    pub fn is_healthy(&self) -> bool {
        let (flags, now) = (self.flags.load(Acquire), time::now().as_nanos());
        HealthFlag::ALL.into_iter().all(|flag| flags & flag as u32 == 0 || self.end(flag).load(Relaxed) <= now)
    }

    /// Passes over whatever speaks against it, until this moment: it may be picked, and its breaker lets calls through.
    /// For balancers, and all of a set together.
    pub fn spare_until(&self, until: Nanos) {
        self.spared.fetch_max(until.as_nanos(), Relaxed);
    }

    /// Whether what speaks against it is passed over at this moment.
    #[cold]
    pub fn is_spared(&self) -> bool {
        let until = self.spared.load(Relaxed);
        until != 0 && until > time::now().as_nanos()
    }

    /// Whether this reason holds at this moment.
    pub fn has(&self, flag: HealthFlag) -> bool {
        self.flags.load(Acquire) & flag as u32 != 0 && self.end(flag).load(Relaxed) > time::now().as_nanos()
    }

    /// Sets a reason until it is taken back, or takes it back; whether it was not set, or was.
    pub fn set(&self, flag: HealthFlag, on: bool) -> bool {
        if on { self.set_until(flag, Nanos::from_nanos(u64::MAX)) } else { self.mark(flag, false) }
    }

    /// Sets a reason until this moment; it may be moved. Whether it was not set before: one that is over counts as
    /// set until it is taken back.
    pub fn set_until(&self, flag: HealthFlag, until: Nanos) -> bool {
        self.end(flag).store(until.as_nanos(), Relaxed);
        self.mark(flag, true)
    }

    /// When this reason ends; `None` where it does not hold, or has no end.
    pub fn until(&self, flag: HealthFlag) -> Option<Nanos> {
        let end = self.end(flag).load(Relaxed);
        (self.has(flag) && end != u64::MAX).then_some(Nanos::from_nanos(end))
    }

    /// The reasons that hold at this moment.
    pub fn reasons(&self) -> impl Iterator<Item = HealthFlag> {
        HealthFlag::ALL.into_iter().filter(|flag| self.has(*flag))
    }

    fn mark(&self, flag: HealthFlag, on: bool) -> bool {
        let bit = flag as u32;
        let before = if on { self.flags.fetch_or(bit, AcqRel) } else { self.flags.fetch_and(!bit, AcqRel) };
        (before & bit != 0) != on
    }

    fn end(&self, flag: HealthFlag) -> &AtomicU64 {
        &self.ends[(flag as u32).trailing_zeros() as usize]
    }
}

/// One endpoint: what is shared of it by all workers. It lives as long as a request holds it, also after it has left
/// its set.
///
/// As a [`Watch`] it counts the calls in flight: a balancer opens a ticket per pick.
pub struct Endpoint {
    id: EndpointId,
    target: Target,
    state: Arc<State>,
    live: Arc<Live>,
}

/// What is written per request. 128 bytes: two endpoints never share a pair of cache lines that prefetching ties
/// together.
#[repr(align(128))]
#[derive(Default)]
struct State {
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

    /// Its health.
    #[inline]
    pub fn health(&self) -> &Health {
        &self.state.health
    }

    /// Calls that have not ended, bodies included.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        // one may end between the two readings
        self.state.picks.load(Relaxed).saturating_sub(self.state.ended.load(Relaxed)) as u32
    }

    /// A word in which balancers keep how long it takes to answer; its meaning is theirs, zero is nothing known. It is
    /// kept as long as the counts are, so what was learned outlives a change of weight and a short absence. All
    /// balancers over the endpoint share it.
    #[inline]
    pub fn latency_word(&self) -> &AtomicU64 {
        &self.state.latency
    }

    /// The same for its failures of late.
    #[inline]
    pub fn fault_word(&self) -> &AtomicU64 {
        &self.state.faults
    }

    /// How often it was picked.
    pub fn picks(&self) -> u64 {
        self.state.picks.load(Relaxed)
    }

    /// How many calls ended in a failure of its own.
    pub fn failures(&self) -> u64 {
        self.state.failures.load(Relaxed)
    }

    /// Counts a pick. The ticket ends the count in flight.
    #[inline]
    pub fn pick(&self) -> Ticket {
        self.state.picks.fetch_add(1, Relaxed);
        Ticket::default()
    }
}

/// Tells of an endpoint whether it has left. A handle, which does not keep the endpoint's address findable.
#[derive(Clone)]
pub struct Presence(Arc<State>);

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
pub(crate) struct Membership(Arc<State>);

impl Membership {
    fn new(state: Arc<State>) -> Self {
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
        self.state.ended.fetch_add(1, Relaxed);
        if end.outcome.is_failure() && end.side == Side::Upstream {
            self.state.failures.fetch_add(1, Relaxed);
        }
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
        assert_eq!((size_of::<State>(), align_of::<State>()), (128, 128));
    }

    #[test]
    fn what_is_in_flight_and_remembered_outlives_a_new_description() {
        let endpoint = Endpoint::new(Target::new(SocketAddr::from(([127, 0, 0, 1], 80))));
        endpoint.pick();
        endpoint.pick();
        endpoint.latency_word().store(7, Relaxed);
        let other = endpoint.retargeted(endpoint.target().clone().with_weight(2));
        let at = crate::At::unread();
        let context = crate::Context::none();
        let verdict = crate::Verdict::without_answer(crate::Outcome::Failure, Side::Upstream);
        endpoint.on_end(Ticket::default(), &End::new(verdict, &at, &context));
        assert_eq!((other.in_flight(), other.picks(), other.failures()), (1, 2, 1));
        assert_eq!(other.latency_word().load(Relaxed), 7);
        let (id, address) = (other.id(), other.address().clone());
        drop(endpoint);
        assert_eq!(id.with_address(Clone::clone), Some(address));
        drop(other);
        assert_eq!(id.with_address(|_| ()), None, "nobody holds it any more");
    }

    #[test]
    fn health_is_the_absence_of_reasons() {
        let health = Health::default();
        assert!(health.is_eligible());
        assert!(health.set(HealthFlag::Ejected, true) && !health.set(HealthFlag::Ejected, true));
        health.set(HealthFlag::CircuitOpen, true);
        assert_eq!(health.reasons().collect::<Vec<_>>(), [HealthFlag::CircuitOpen, HealthFlag::Ejected]);
        health.set(HealthFlag::Ejected, false);
        assert!(!health.is_eligible());
        assert!(health.set(HealthFlag::CircuitOpen, false) && health.is_eligible());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_spared_may_be_picked_for_a_while() {
        let health = Health::default();
        health.set(HealthFlag::CircuitOpen, true);
        health.spare_until(time::now().plus(std::time::Duration::from_secs(1)));
        assert!(health.is_eligible() && health.is_spared() && !health.is_healthy());
        assert!(health.has(HealthFlag::CircuitOpen), "the reason is still told");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(!health.is_eligible() && !health.is_spared());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_with_an_end_is_over_by_itself() {
        let health = Health::default();
        let soon = time::now().plus(std::time::Duration::from_secs(5));
        assert!(health.set_until(HealthFlag::CircuitOpen, soon));
        assert!(!health.is_eligible() && health.has(HealthFlag::CircuitOpen));
        assert_eq!(health.until(HealthFlag::CircuitOpen), Some(soon));
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        assert!(health.is_eligible() && health.reasons().next().is_none());
        assert_eq!(health.until(HealthFlag::CircuitOpen), None);
        health.set(HealthFlag::CheckFailed, true);
        assert!(!health.is_eligible() && health.until(HealthFlag::CheckFailed).is_none());
    }
}
