//! Reading a trace from a request's headers, and writing it into them.

use crate::{b3, tracestate, w3c};
use mesh_core::{RequestView, TraceContext};

/// Headers that carry a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
pub enum Propagation {
    /// W3C Trace Context: `traceparent`, `tracestate`.
    W3c,
    /// Zipkin's in one: `b3`.
    B3,
    /// Zipkin's in several: `x-b3-traceid`, `x-b3-spanid`, `x-b3-parentspanid`, `x-b3-sampled`, `x-b3-flags`.
    B3Multi,
}

/// The headers that are read.
const READ: [&str; 6] = [w3c::TRACEPARENT, b3::B3, b3::TRACE_ID, b3::SPAN_ID, b3::SAMPLED, b3::FLAGS];

/// What there is of these headers, as far as most requests need it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Glance<'a> {
    /// The first `traceparent`.
    traceparent: Option<&'a [u8]>,
    /// There is another.
    twice: bool,
    /// There are headers of B3.
    b3: bool,
}

impl<'a> Glance<'a> {
    #[inline]
    pub(crate) fn of<R: RequestView>(request: &'a R) -> Self {
        let (mut traceparent, mut twice, mut b3) = (None, false, false);
        request.get_several(&READ, &mut |place, value| match place {
            0 => {
                twice |= traceparent.is_some();
                traceparent = Some(value);
            }
            _ => b3 = true,
        });
        Self { traceparent, twice, b3 }
    }

    /// Whether none of the headers is there.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.traceparent.is_none() && !self.b3
    }

    /// W3C's trace, if it is plain to see that it is not recorded.
    #[inline]
    pub(crate) fn unsampled(&self) -> Option<w3c::Unsampled<'a>> {
        w3c::unsampled(self.traceparent.filter(|_| !self.twice)?)
    }
}

/// The first value of each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found<'a> {
    values: [Option<&'a [u8]>; READ.len()],
    /// There is more than one `traceparent`.
    twice: bool,
}

impl<'a> Found<'a> {
    pub(crate) fn of<R: RequestView>(request: &'a R) -> Self {
        let mut found = Self::default();
        request.get_several(&READ, &mut |place, value| match &mut found.values[place] {
            Some(_) => found.twice |= place == 0,
            first => *first = Some(value),
        });
        found
    }
}

/// What a request says of its trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    /// The span that called, with the W3C flags: *sampled* also where it is B3's. `None` where only a decision came.
    pub(crate) caller: Option<TraceContext>,
    /// What the caller decided.
    pub(crate) sampled: Option<bool>,
    /// B3: the trace id has 16 digits.
    pub(crate) is_narrow: bool,
    /// B3: the decision is *debug*.
    pub(crate) is_debug: bool,
    /// W3C: there may be a `tracestate`.
    pub(crate) is_w3c: bool,
}

impl From<b3::B3Context> for Incoming {
    fn from(b3: b3::B3Context) -> Self {
        let sampled = b3.decision.map(|decision| decision != b3::Decision::Deny);
        let flags = if sampled == Some(true) { w3c::SAMPLED } else { 0 };
        Self {
            caller: b3.ids.map(|ids| TraceContext { trace_id: ids.trace_id, span_id: ids.span_id, flags }),
            sampled,
            is_narrow: b3.ids.is_some_and(|ids| ids.is_narrow),
            is_debug: b3.decision == Some(b3::Decision::Debug),
            is_w3c: false,
        }
    }
}

impl Propagation {
    /// The name in specs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Propagation::W3c => "w3c",
            Propagation::B3 => "b3",
            Propagation::B3Multi => "b3_multi",
        }
    }

    /// What a request says in these headers; `None` where they are not there, or not valid.
    #[inline]
    pub(crate) fn read(self, found: &Found<'_>) -> Option<Incoming> {
        match self {
            Propagation::W3c => {
                let caller = w3c::parse(found.values[0]?)?;
                // one that comes twice is none at all
                (!found.twice).then_some(Incoming {
                    sampled: Some(caller.flags & w3c::SAMPLED != 0),
                    caller: Some(caller),
                    is_narrow: false,
                    is_debug: false,
                    is_w3c: true,
                })
            }
            Propagation::B3 => Some(b3::parse(found.values[1]?)?.into()),
            Propagation::B3Multi => {
                let [_, _, trace_id, span_id, sampled, flags] = found.values;
                Some(b3::parse_multi(trace_id, span_id, sampled, flags)?.into())
            }
        }
    }

    fn is_in<R: RequestView>(self, request: &R) -> bool {
        let names: &[&str] = match self {
            Propagation::W3c => &[w3c::TRACEPARENT],
            Propagation::B3 => &[b3::B3],
            Propagation::B3Multi => &[b3::TRACE_ID, b3::SAMPLED, b3::FLAGS],
        };
        names.iter().any(|name| request.get(name).is_some())
    }
}

/// What goes on with a request whose trace is changed here.
pub(crate) struct Outgoing<'a> {
    pub(crate) trace: TraceContext,
    /// What came.
    pub(crate) incoming: Option<&'a Incoming>,
    /// The threshold that decided, where it was ours: `Some(None)` if the trace did not pass it.
    pub(crate) decided: Option<Option<u64>>,
}

impl Outgoing<'_> {
    /// Writes the trace into all headers of these that the request came with; into the first where it came with none.
    pub(crate) fn write<R: RequestView>(&self, request: &mut R, propagate: &[Propagation]) {
        let mut written = false;
        for one in propagate {
            if one.is_in(request) {
                self.write_as(*one, request);
                written = true;
            }
        }
        if !written && let Some(first) = propagate.first() {
            self.write_as(*first, request);
        }
    }

    fn write_as<R: RequestView>(&self, propagation: Propagation, request: &mut R) {
        match propagation {
            Propagation::W3c => {
                request.set(w3c::TRACEPARENT, &w3c::format(&self.trace));
                self.write_tracestate(request);
            }
            Propagation::B3 => {
                let mut text = [0; b3::LONGEST];
                let length = b3::format(&self.ids(), self.b3_decision(), self.parent(), &mut text);
                request.set(b3::B3, &text[..length]);
            }
            Propagation::B3Multi => {
                let mut text = [0; 32];
                let mut set = |request: &mut R, name, number: u128, digits: usize| {
                    crate::hex::write(number, &mut text[..digits]);
                    request.set(name, &text[..digits]);
                };
                let ids = self.ids();
                set(request, b3::TRACE_ID, ids.trace_id, if ids.is_narrow { 16 } else { 32 });
                set(request, b3::SPAN_ID, ids.span_id.into(), 16);
                match self.parent() {
                    Some(parent) => set(request, b3::PARENT_ID, parent.into(), 16),
                    None => request.remove(b3::PARENT_ID),
                }
                // *debug* stands in the flags, which are there then
                let decision = self.b3_decision();
                if decision != b3::Decision::Debug {
                    request.remove(b3::FLAGS);
                    let sampled = if decision == b3::Decision::Accept { b"1" } else { b"0" };
                    request.set(b3::SAMPLED, sampled);
                }
            }
        }
    }

    /// As it came, but where the decision is ours: the threshold is part of it. A state without its trace means nothing.
    fn write_tracestate<R: RequestView>(&self, request: &mut R) {
        let goes_on = self.incoming.is_some_and(|incoming| incoming.is_w3c && incoming.caller.is_some());
        let present = state_of(request);
        let state = match (goes_on, self.decided) {
            (true, None) => return,
            (true, Some(threshold)) => tracestate::with_threshold(&present, threshold),
            (false, decided) => tracestate::with_threshold(&[], decided.flatten()),
        };
        if !state.is_empty() {
            request.set(w3c::TRACESTATE, &state);
        } else if !present.is_empty() {
            request.remove(w3c::TRACESTATE);
        }
    }

    fn ids(&self) -> b3::Ids {
        let is_narrow = self.incoming.is_some_and(|incoming| incoming.is_narrow);
        b3::Ids { trace_id: self.trace.trace_id, span_id: self.trace.span_id, is_narrow }
    }

    fn parent(&self) -> Option<u64> {
        Some(self.incoming?.caller?.span_id)
    }

    fn b3_decision(&self) -> b3::Decision {
        match self.incoming {
            _ if self.trace.flags & w3c::SAMPLED == 0 => b3::Decision::Deny,
            Some(incoming) if incoming.is_debug => b3::Decision::Debug,
            _ => b3::Decision::Accept,
        }
    }
}

/// All of a request's `tracestate`, in one list.
pub(crate) fn state_of<R: RequestView>(request: &R) -> Vec<u8> {
    let mut state = Vec::new();
    request.get_all(w3c::TRACESTATE, &mut |value| {
        if !state.is_empty() {
            state.push(b',');
        }
        state.extend_from_slice(value);
    });
    state
}
