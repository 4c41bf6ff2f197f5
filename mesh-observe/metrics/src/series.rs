//! The series of a gate: looked up once each, found again without a lock, an allocation or a reference count, and
//! bounded.

use mesh_core::{Code, Name, Outcome};
use metrics::{Counter, Histogram};
use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What tells one series from another. Nothing of it comes from the wire: names are those of the configuration, a
/// status is a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) listener: Name,
    pub(crate) route: Name,
    pub(crate) cluster: Name,
    pub(crate) protocol: Name,
    class: u16,
    outcome: Outcome,
}

impl Key {
    pub(crate) fn new(names: [Name; 4], code: Code, outcome: Outcome) -> Self {
        let [listener, route, cluster, protocol] = names;
        Self { listener, route, cluster, protocol, class: class(code), outcome }
    }

    fn hash(&self) -> usize {
        let pair = |high: u32, low: u32| (u64::from(high) << 32) | u64::from(low);
        let mut hash = pair(self.listener.number(), self.route.number());
        for part in
            [pair(self.cluster.number(), self.protocol.number()), pair(u32::from(self.class), self.outcome as u32)]
        {
            // Fibonacci hashing; the high half, which it mixes best, comes down for the next step and the mask
            hash = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part).rotate_left(29);
        }
        (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
    }
}

/// A number for what [`Code::class`] gives a text for.
fn class(code: Code) -> u16 {
    const OTHER: u16 = 99;
    match code {
        Code::None => 0,
        Code::Http(status) => match status / 100 {
            class @ 1..=5 => 0x100 | class,
            _ => 0x100 | OTHER,
        },
        Code::Grpc(status @ 0..=16) => 0x200 | status,
        Code::Grpc(_) => 0x200 | OTHER,
        Code::Dubbo(_) if code.class() == "other" => 0x300 | OTHER,
        Code::Dubbo(status) => 0x300 | u16::from(status),
    }
}

/// The handles of one series of each instrument.
pub(crate) struct Handles {
    pub(crate) count: Counter,
    pub(crate) duration: Histogram,
}

/// A hash table that only grows: a chain of segments, each four times as large as the one before. A key sits in the
/// first place that was free in its way through them, so that whoever looks for it may stop at the first free one.
pub(crate) struct Table {
    first: Segment,
    limit: usize,
    len: AtomicUsize,
    /// One writer at a time.
    writing: Mutex<()>,
}

struct Segment {
    slots: Box<[OnceLock<(Key, Handles)>]>,
    next: OnceLock<Box<Segment>>,
}

/// Places of the first segment; a power of two.
const FIRST: usize = 32;
/// Places that a key may take in a segment.
const WAY: usize = 8;

impl Segment {
    fn new(len: usize) -> Self {
        Self { slots: (0..len).map(|_| OnceLock::new()).collect(), next: OnceLock::new() }
    }

    /// The places where a key with this hash may be.
    fn way(&self, hash: usize) -> impl Iterator<Item = &OnceLock<(Key, Handles)>> {
        let mask = self.slots.len() - 1;
        (0..WAY).map(move |step| &self.slots[(hash.wrapping_add(step)) & mask])
    }
}

impl Table {
    /// For at most so many series.
    pub(crate) fn new(limit: usize) -> Self {
        Self { first: Segment::new(FIRST), limit, len: AtomicUsize::new(0), writing: Mutex::new(()) }
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<&Handles> {
        let hash = key.hash();
        let mut segment = &self.first;
        loop {
            for slot in segment.way(hash) {
                match slot.get() {
                    Some((present, handles)) if present == key => return Some(handles),
                    Some(_) => {}
                    None => return None,
                }
            }
            segment = segment.next.get()?;
        }
    }

    /// The series of this key, made if it is new; `None` if it would be one too many.
    #[cold]
    pub(crate) fn insert(&self, key: Key, make: impl FnOnce() -> Handles) -> Option<&Handles> {
        if self.len() >= self.limit {
            return None;
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = self.get(&key) {
            return Some(present);
        }
        if self.len() >= self.limit {
            return None;
        }
        let hash = key.hash();
        let mut segment = &self.first;
        loop {
            if let Some(free) = segment.way(hash).find(|slot| slot.get().is_none()) {
                self.len.fetch_add(1, Relaxed);
                return Some(&free.get_or_init(|| (key, make())).1);
            }
            segment = segment.next.get_or_init(|| Box::new(Segment::new(segment.slots.len() * 4)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn key(number: u32, code: Code) -> Key {
        let name = |text: &str| Name::intern(&format!("{text}{number}"));
        Key::new([name("l"), name("r"), name("c"), Name::HTTP], code, Outcome::Success)
    }

    fn handles() -> Handles {
        Handles { count: Counter::noop(), duration: Histogram::noop() }
    }

    #[test]
    fn a_number_for_each_class() {
        let codes = (0..=1000_u16).map(Code::Http);
        let codes = codes.chain((0..=100).map(Code::Grpc)).chain((0..=255).map(Code::Dubbo)).chain([Code::None]);
        let mut texts = std::collections::BTreeMap::new();
        for code in codes {
            let protocol = std::mem::discriminant(&code);
            let text = texts.entry(class(code)).or_insert((protocol, code.class()));
            assert_eq!(*text, (protocol, code.class()), "{code:?}");
        }
        // none; five and other; 17 and other; eleven and other
        assert_eq!(texts.len(), 1 + 6 + 18 + 12);
    }

    #[test]
    fn what_was_put_in_is_found_and_no_more_than_the_limit() {
        let table = Table::new(300);
        for number in 0..400 {
            let inserted = table.insert(key(number, Code::Http(200)), handles).is_some();
            assert_eq!(inserted, number < 300, "{number}");
        }
        assert_eq!(table.len(), 300);
        for number in 0..400 {
            assert_eq!(table.get(&key(number, Code::Http(299))).is_some(), number < 300, "{number}");
            assert!(table.get(&key(number, Code::Http(300))).is_none());
        }
    }

    #[test]
    fn two_threads_make_a_series_once() {
        let (table, made) = (Table::new(1000), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..500 {
                        let key = key(number, Code::None);
                        let count = || {
                            made.fetch_add(1, Relaxed);
                            handles()
                        };
                        assert!(table.get(&key).or_else(|| table.insert(key, count)).is_some());
                    }
                });
            }
        });
        assert_eq!((table.len(), made.into_inner()), (500, 500));
    }
}
