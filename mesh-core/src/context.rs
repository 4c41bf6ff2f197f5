use crate::{Cause, EndpointId, Name, Nanos, Peer, time};
use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

/// What is known of a request beside the request itself: one record, shared by all attempts to answer it. Clones are
/// handles on the same record, so a retry above sees what a balancer below wrote.
///
/// Records are recycled per worker. A context without a record ([`Context::none`]) reads as empty and forgets what is
/// written to it.
#[derive(Default)]
pub struct Context(Option<Arc<Record>>);

#[derive(Default)]
struct Record {
    peer: Option<Arc<Peer>>,
    arrived: AtomicU64,
    deadline: AtomicU64,
    request_ended: AtomicU64,
    request_bytes: AtomicU64,
    draw: AtomicU64,
    attempts: AtomicU32,
    tries: AtomicU32,
    tried: [AtomicU64; 4],
    endpoint: AtomicU64,
    listener: AtomicU32,
    route: AtomicU32,
    template: AtomicU32,
    cluster: AtomicU32,
    protocol: AtomicU32,
    trace_flags: AtomicU32,
    cause: AtomicU32,
    /// The two halves of the trace's id and that of the span; or with [`DIGITS`] their digits, as they came.
    trace_ids: [AtomicU64; 6],
}

/// The trace a request belongs to, as plain data: for logs, and for layers further in. What goes on with the request is
/// its headers; whoever writes this writes those too, where they are to change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TraceContext {
    /// The 128-bit id of the trace; never zero.
    pub trace_id: u128,
    /// The id of the span that is the parent of what is called next; never zero.
    pub span_id: u64,
    /// The W3C trace flags; bit 0 is *sampled*.
    pub flags: u8,
}

/// Set in `trace_flags` beside the eight bits of the flags: there is a trace.
const TRACED: u32 = 1 << 8;
/// Set beside that: its ids are kept as digits.
const DIGITS: u32 = 1 << 9;
/// How many records a thread keeps for the next requests.
const KEPT: usize = 1024;

thread_local!(static FREE: RefCell<Vec<Arc<Record>>> = const { RefCell::new(Vec::new()) });

impl Context {
    /// A context without a record.
    pub const fn none() -> Self {
        Self(None)
    }

    /// A fresh record for a request that arrived at `arrived`, from `peer` if that is known.
    pub fn begin(arrived: Nanos, peer: Option<Arc<Peer>>) -> Self {
        let mut record = FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten().unwrap_or_default();
        if let Some(record) = Arc::get_mut(&mut record) {
            record.peer = peer;
            *record.arrived.get_mut() = arrived.as_nanos();
        }
        Self(Some(record))
    }

    /// Whether there is a record behind this handle.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// When the request arrived.
    pub fn arrived(&self) -> Option<Nanos> {
        self.moment(|record| &record.arrived)
    }

    /// Who sent the request; [`Peer::UNKNOWN`] where nobody said.
    pub fn peer(&self) -> &Peer {
        self.0.as_ref().and_then(|record| record.peer.as_deref()).unwrap_or(&Peer::UNKNOWN)
    }

    /// When an answer is no longer of use.
    pub fn deadline(&self) -> Option<Nanos> {
        self.moment(|record| &record.deadline)
    }

    /// Sets the deadline unless an earlier one is there already: deadlines only come nearer.
    pub fn limit_deadline(&self, deadline: Nanos) {
        let Some(record) = &self.0 else { return };
        let _ = record.deadline.fetch_update(Relaxed, Relaxed, |present| {
            (present == 0 || deadline.as_nanos() < present).then_some(deadline.as_nanos())
        });
    }

    /// When the last byte of the request was sent on; `None` while its body is still under way.
    pub fn request_ended(&self) -> Option<Nanos> {
        self.moment(|record| &record.request_ended)
    }

    /// The request's body has been sent on to its end, or nobody will read it on. The first call counts.
    pub fn end_request(&self) {
        if let Some(record) = &self.0
            && record.request_ended.load(Relaxed) == 0
        {
            record.request_ended.store(time::now().as_nanos(), Relaxed);
        }
    }

    /// The request's body goes out once more: it has not ended after all.
    pub fn reopen_request(&self) {
        if let Some(record) = &self.0 {
            record.request_ended.store(0, Relaxed);
        }
    }

    /// As [`Context::end_request`], for a request that came without a body: it ended when it arrived.
    pub fn end_request_on_arrival(&self) {
        if let Some(record) = &self.0 {
            record.request_ended.store(record.arrived.load(Relaxed), Relaxed);
        }
    }

    /// Bytes of the request's body so far.
    pub fn request_bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |record| record.request_bytes.load(Relaxed))
    }

    /// Counts bytes of the request's body. One reader writes it, so a plain store does.
    pub fn add_request_bytes(&self, bytes: u64) {
        if let Some(record) = &self.0 {
            record.request_bytes.store(record.request_bytes.load(Relaxed) + bytes, Relaxed);
        }
    }

    /// How often the request has been sent out so far; an attempt in progress counts.
    pub fn attempts(&self) -> u32 {
        self.0.as_ref().map_or(0, |record| record.attempts.load(Relaxed))
    }

    /// Counts an attempt and gives its number, from 1; 1 for every attempt where there is no record.
    pub fn begin_attempt(&self) -> u32 {
        self.0.as_ref().map_or(1, |record| record.attempts.fetch_add(1, Relaxed) + 1)
    }

    /// How the last attempt failed that brought no answer; `None` where none has, or nobody said.
    pub fn cause(&self) -> Option<Cause> {
        let cause = self.0.as_ref()?.cause.load(Relaxed);
        Cause::ALL.into_iter().find(|other| *other as u32 + 1 == cause)
    }

    /// Written by whoever calls an endpoint, when an attempt brings no answer.
    pub fn set_cause(&self, cause: Cause) {
        if let Some(record) = &self.0 {
            record.cause.store(cause as u32 + 1, Relaxed);
        }
    }

    /// Whether this endpoint is among the last four that were tried.
    pub fn tried(&self, endpoint: EndpointId) -> bool {
        self.0.as_ref().is_some_and(|record| {
            record.tries.load(Relaxed) != 0 && record.tried.iter().any(|tried| tried.load(Relaxed) == endpoint.get())
        })
    }

    /// How many endpoints have been tried.
    pub fn tries(&self) -> u32 {
        self.0.as_ref().map_or(0, |record| record.tries.load(Relaxed))
    }

    /// A balancer's pick: remembered as tried (two hedged attempts may do so at once), and as the request's endpoint.
    pub fn add_tried(&self, endpoint: EndpointId) {
        if let Some(record) = &self.0 {
            let index = record.tries.fetch_add(1, Relaxed) as usize;
            record.tried[index % record.tried.len()].store(endpoint.get(), Relaxed);
            record.endpoint.store(endpoint.get(), Relaxed);
        }
    }

    /// The endpoint that was picked last.
    pub fn endpoint(&self) -> Option<EndpointId> {
        EndpointId::from_raw(self.0.as_ref()?.endpoint.load(Relaxed))
    }

    /// 64 random bits, drawn at the first call and the same at each later one: a weighted split stays where it fell
    /// over all retries. Without a record each call draws anew.
    pub fn draw(&self) -> u64 {
        let Some(record) = &self.0 else { return fastrand::u64(1..) };
        let drawn = fastrand::u64(1..);
        match record.draw.compare_exchange(0, drawn, Relaxed, Relaxed) {
            Ok(_) => drawn,
            Err(earlier) => earlier,
        }
    }

    /// The listener that took the request.
    pub fn listener(&self) -> Name {
        self.name(|record| &record.listener)
    }

    /// Written by the listener.
    pub fn set_listener(&self, listener: Name) {
        self.set_name(|record| &record.listener, listener);
    }

    /// The route that was chosen.
    pub fn route(&self) -> Name {
        self.name(|record| &record.route)
    }

    /// Written by the router.
    pub fn set_route(&self, route: Name) {
        self.set_name(|record| &record.route, route);
    }

    /// The template of the path that the route matches, `/users/{id}`; [`Name::NONE`] where it has none.
    pub fn template(&self) -> Name {
        self.name(|record| &record.template)
    }

    /// Written by the router.
    pub fn set_template(&self, template: Name) {
        self.set_name(|record| &record.template, template);
    }

    /// The cluster the request went to, the last one where a fallback chose another.
    pub fn cluster(&self) -> Name {
        self.name(|record| &record.cluster)
    }

    /// Written by the route's leaf.
    pub fn set_cluster(&self, cluster: Name) {
        self.set_name(|record| &record.cluster, cluster);
    }

    /// The protocol of the request as metrics and logs name it: `http`, `grpc`, `dubbo`.
    pub fn protocol(&self) -> Name {
        self.name(|record| &record.protocol)
    }

    /// Written by whoever begins the record.
    pub fn set_protocol(&self, protocol: Name) {
        self.set_name(|record| &record.protocol, protocol);
    }

    /// The trace this request belongs to.
    pub fn trace(&self) -> Option<TraceContext> {
        let record = self.0.as_ref()?;
        let flags = record.trace_flags.load(Relaxed);
        if flags & TRACED == 0 {
            return None;
        }
        let word = |index: usize| record.trace_ids[index].load(Relaxed);
        let [high, low, span_id] = match flags & DIGITS {
            0 => [0, 1, 2].map(word),
            _ => [0, 2, 4].map(|first| (half_of_id(word(first)) << 32) | half_of_id(word(first + 1))),
        };
        let trace_id = (u128::from(high) << 64) | u128::from(low);
        Some(TraceContext { trace_id, span_id, flags: flags as u8 })
    }

    /// The flags of [`Context::trace`] alone.
    #[inline]
    pub fn trace_flags(&self) -> Option<u8> {
        let flags = self.0.as_ref()?.trace_flags.load(Relaxed);
        (flags & TRACED != 0).then_some(flags as u8)
    }

    /// Written by the tracing layer before the request goes on.
    pub fn set_trace(&self, trace: TraceContext) {
        if let Some(record) = &self.0 {
            let ids = [(trace.trace_id >> 64) as u64, trace.trace_id as u64, trace.span_id];
            record.trace_ids.iter().zip(ids).for_each(|(word, id)| word.store(id, Relaxed));
            record.trace_flags.store(u32::from(trace.flags) | TRACED, Relaxed);
        }
    }

    /// As [`Context::set_trace`], for ids of hexadecimal digits that have been looked at: most are never asked for, so
    /// that they become numbers only then. What is no digit makes another id, and nothing worse.
    #[inline]
    pub fn set_trace_digits(&self, trace_id: &[u8; 32], span_id: &[u8; 16], flags: u8) {
        if let Some(record) = &self.0 {
            let words = trace_id.as_chunks().0.iter().chain(span_id.as_chunks().0);
            for (word, digits) in record.trace_ids.iter().zip(words) {
                word.store(u64::from_le_bytes(*digits), Relaxed);
            }
            record.trace_flags.store(u32::from(flags) | TRACED | DIGITS, Relaxed);
        }
    }

    fn moment(&self, field: impl Fn(&Record) -> &AtomicU64) -> Option<Nanos> {
        match field(self.0.as_ref()?).load(Relaxed) {
            0 => None,
            nanos => Some(Nanos::from_nanos(nanos)),
        }
    }

    fn name(&self, field: impl Fn(&Record) -> &AtomicU32) -> Name {
        self.0.as_ref().map_or(Name::NONE, |record| Name::from_number(field(record).load(Relaxed)))
    }

    fn set_name(&self, field: impl Fn(&Record) -> &AtomicU32, name: Name) {
        if let Some(record) = &self.0 {
            field(record).store(name.number(), Relaxed);
        }
    }
}

/// What eight hexadecimal digits stand for, the first in the lowest byte: two, four, eight of them at a time.
fn half_of_id(digits: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    // letters are 0x61 to 0x66
    let nibbles = ((digits & (0x0f * ONES)) + 9 * ((digits >> 6) & ONES)) & (0x0f * ONES);
    let pairs = ((nibbles << 4) | (nibbles >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    u64::from(((fours | (fours >> 16)) as u32).swap_bytes())
}

impl Clone for Context {
    #[inline]
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for Context {
    /// The last handle gives the record back.
    #[inline]
    fn drop(&mut self) {
        if self.0.is_some() {
            give_back(self.0.take());
        }
    }
}

#[inline(never)]
fn give_back(record: Option<Arc<Record>>) {
    let Some(mut record) = record else { return };
    // a plain load: `get_mut` alone locks the count of weak handles first
    if Arc::strong_count(&record) > 1 {
        return;
    }
    if let Some(unshared) = Arc::get_mut(&mut record) {
        *unshared = Record::default();
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(record);
            }
        });
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("arrived", &self.arrived())
            .field("deadline", &self.deadline())
            .field("listener", &self.listener())
            .field("route", &self.route())
            .field("cluster", &self.cluster())
            .field("endpoint", &self.endpoint())
            .field("attempts", &self.attempts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_and_a_recycled_record_is_empty() {
        let context = Context::begin(Nanos::from_nanos(5), None);
        let below = context.clone();
        let endpoint = EndpointId::next();
        below.add_tried(endpoint);
        below.set_route(Name::intern("r"));
        assert!(context.tried(endpoint) && context.route() == Name::intern("r"));
        assert_eq!(context.draw(), below.draw());
        below.set_cause(Cause::Refused);
        assert_eq!(context.cause(), Some(Cause::Refused));
        drop((context, below));
        let next = Context::begin(Nanos::from_nanos(6), None);
        assert_eq!((next.tries(), next.route(), next.endpoint(), next.cause()), (0, Name::NONE, None, None));
        assert!(!next.tried(endpoint));
    }

    #[test]
    fn deadlines_only_come_nearer() {
        let context = Context::begin(Nanos::from_nanos(1), None);
        context.limit_deadline(Nanos::from_nanos(100));
        context.limit_deadline(Nanos::from_nanos(200));
        assert_eq!(context.deadline(), Some(Nanos::from_nanos(100)));
    }

    #[test]
    fn a_trace_by_numbers_and_by_digits() {
        let context = Context::begin(Nanos::from_nanos(1), None);
        assert_eq!((context.trace(), context.trace_flags()), (None, None));
        context.set_trace_digits(b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331", 2);
        let trace = TraceContext {
            trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            span_id: 0xb7ad_6b71_6920_3331,
            flags: 2,
        };
        assert_eq!((context.trace(), context.trace_flags()), (Some(trace), Some(2)));
        let other = TraceContext { trace_id: 1 << 100, span_id: 7, flags: 1 };
        context.set_trace(other);
        assert_eq!((context.trace(), context.trace_flags()), (Some(other), Some(1)));
        context.set_trace_digits(b"ffffffffffffffffffffffffffffffff", &[0xff; 16], 0);
        assert_eq!(context.trace().map(|trace| trace.trace_id), Some(u128::MAX));
        context.set_trace_digits(b"0123456789abcdeffedcba9876543210", b"89abcdef01234567", 0);
        let trace = context.trace().map(|trace| (trace.trace_id, trace.span_id));
        assert_eq!(trace, Some((0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, 0x89ab_cdef_0123_4567)));
    }

    #[test]
    fn without_a_record_nothing_is_kept() {
        let context = Context::none();
        context.set_route(Name::intern("r"));
        assert_eq!((context.route(), context.arrived(), context.begin_attempt()), (Name::NONE, None, 1));
    }
}
