//! The gate: reads the trace, decides, and where it records opens a span and writes the headers.

use crate::{
    Parent, Propagation, TraceSettings, TraceSettingsError, opening,
    opening::Opening,
    propagation::{Found, Glance, Incoming, Outgoing, state_of},
    sample::Rule,
    span::{self, Open, SpanKind},
    tracestate, w3c,
};
use mesh_core::{
    At, Context, End, Gate, Head, Hears, Outcome, Rejection, RequestView, Side, Slots, Ticket, TraceContext, Watch,
    units::Ratio,
};
use std::fmt;
use tracing::Level;

/// The target of the events that say which requests were refused; see [`Trace`].
pub const REJECTIONS: &str = "mesh_rejections";

/// Carries the trace of a request on, and records a span for those that are sampled. One value is shared by all that
/// it stands before.
///
/// It is also its own control handle: [`set_sample`](Self::set_sample), [`set_parent`](Self::set_parent) and
/// [`set_enabled`](Self::set_enabled) change it while it runs; a span that is open ends as it began.
///
/// A request that a layer further in refuses is logged: an event of level DEBUG with the target [`REJECTIONS`], the
/// trace id, the layer and the reason. The answer to one that is recorded says its span in `traceresponse`.
pub struct Trace {
    rule: Rule,
    kind: SpanKind,
    /// Of requests that are not HTTP.
    protocol: &'static str,
    propagate: Box<[Propagation]>,
    spans: Slots<Open>,
}

/// The number of no span: the ticket of a request whose refusal is to be logged.
const NO_SPAN: u64 = u64::MAX;

impl Trace {
    /// A gate with these settings, whose spans are of this kind.
    ///
    /// # Errors
    /// The settings contradict themselves.
    pub fn new(settings: TraceSettings, kind: SpanKind) -> Result<Self, TraceSettingsError> {
        settings.check()?;
        Ok(Self::checked(settings, kind, "rpc"))
    }

    pub(crate) fn checked(settings: TraceSettings, kind: SpanKind, protocol: &'static str) -> Self {
        Self {
            rule: Rule::new(settings.sample, settings.parent),
            kind,
            protocol,
            propagate: settings.propagate.into(),
            spans: Slots::new(),
        }
    }

    /// Which part of the traces that begin here is recorded from now on.
    pub fn set_sample(&self, sample: Ratio) {
        self.rule.set_sample(sample);
    }

    /// What a caller's decision counts for from now on.
    pub fn set_parent(&self, parent: Parent) {
        self.rule.set_parent(parent);
    }

    /// Traces, or lets pass at the cost of one branch.
    pub fn set_enabled(&self, enabled: bool) {
        self.rule.set_enabled(enabled);
    }

    /// Whether requests that come now are traced.
    pub fn is_enabled(&self) -> bool {
        !self.rule.read().is_off()
    }

    /// How many spans are open.
    pub fn open_spans(&self) -> usize {
        self.spans.len()
    }

    /// Reads what a glance does not tell.
    #[cold]
    #[inline(never)]
    fn read<R: RequestView>(&self, request: &R) -> Option<Incoming> {
        let found = Found::of(request);
        self.propagate.iter().find_map(|propagation| propagation.read(&found))
    }

    /// The request goes on as it came.
    #[inline]
    fn pass(&self, context: &Context, caller: Option<TraceContext>) -> Option<Ticket> {
        if let Some(caller) = caller {
            context.set_trace(caller);
        }
        // this and no more is what a refusal's log costs the requests that are not refused
        tracing::event_enabled!(target: REJECTIONS, Level::DEBUG).then_some(Ticket(NO_SPAN, 0))
    }

    /// Decides on a request whose caller has not, or is not asked, and on one that is to be recorded.
    #[cold]
    #[inline(never)]
    fn decide<R: RequestView>(&self, request: &mut R, incoming: Option<Incoming>) -> Option<Ticket> {
        let rule = self.rule.read();
        if rule.follows()
            && let Some(Incoming { caller: Some(caller), sampled: Some(false), .. }) = incoming
        {
            return self.pass(request.context(), Some(caller));
        }
        let caller = incoming.and_then(|incoming| incoming.caller);
        let said = incoming.and_then(|incoming| incoming.sampled);
        let asked = said.filter(|_| rule.follows());
        let begins_none =
            caller.is_none() && (asked == Some(false) || (asked.is_none() && rule.threshold().is_never()));
        if begins_none || !span::is_wanted() {
            return self.pass(request.context(), caller);
        }
        let trace_id = caller.map_or_else(new_trace_id, |caller| caller.trace_id);
        let threshold = rule.threshold();
        let sampled = asked.unwrap_or_else(|| {
            let named =
                incoming.filter(|incoming| incoming.is_w3c).and_then(|_| tracestate::randomness(&state_of(request)));
            threshold.passes(named.unwrap_or(trace_id as u64))
        });
        let decided = asked.is_none().then(|| sampled.then_some(threshold.get()));
        // of the caller's flags *random*, which is the trace's; the others have no meaning yet
        let random = caller.map_or(w3c::RANDOM, |caller| caller.flags & w3c::RANDOM);
        let flags = random | if sampled { w3c::SAMPLED } else { 0 };
        let trace = TraceContext { trace_id, span_id: fastrand::u64(1..), flags };
        let outgoing = Outgoing { trace, incoming: incoming.as_ref(), decided };
        if !sampled {
            // those behind take the same random bits, so that they only need to be told what they cannot see
            if caller.is_some() && said != Some(true) {
                return self.pass(request.context(), caller);
            }
            outgoing.write(request, &self.propagate);
            return self.pass(request.context(), Some(trace));
        }
        let opened =
            Opening { trace_id, span_id: trace.span_id, parent_id: caller.map(|caller| caller.span_id), flags };
        let Some(open) = opening::with(opened, || Open::new(request, trace, self.kind, self.protocol)) else {
            return self.pass(request.context(), caller);
        };
        outgoing.write(request, &self.propagate);
        request.context().set_trace(trace);
        Some(Ticket(self.spans.put(open), 0))
    }
}

/// Random in all its bits, and not zero.
fn new_trace_id() -> u128 {
    (u128::from(fastrand::u64(1..)) << 64) | u128::from(fastrand::u64(..))
}

impl<R: RequestView> Gate<R> for Trace {
    #[inline]
    fn admit(&self, request: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        let rule = self.rule.read();
        if rule.is_off() {
            return Ok(None);
        }
        // one further out has read it and does not record it
        if rule.follows() && request.context().trace_flags().is_some_and(|flags| flags & w3c::SAMPLED == 0) {
            return Ok(self.pass(request.context(), None));
        }
        let glance = Glance::of(request);
        if rule.follows()
            && self.propagate.first() == Some(&Propagation::W3c)
            && let Some(w3c::Unsampled { trace_id, span_id, flags }) = glance.unsampled()
        {
            request.context().set_trace_digits(trace_id, span_id, flags);
            return Ok(self.pass(request.context(), None));
        }
        let incoming = if glance.is_empty() { None } else { self.read(request) };
        Ok(self.decide(request, incoming))
    }
}

impl Watch for Trace {
    fn hears(&self) -> Hears {
        Hears::HeadAndEnd
    }

    /// Says the span in the answer to a request that was refused: nobody else can.
    fn on_response(&self, ticket: &mut Ticket, head: &mut dyn Head) {
        let is_refusal =
            head.side() == Side::Ours || matches!(head.outcome(), Some(Outcome::Rejected | Outcome::TimedOut));
        if is_refusal && let Some(trace) = self.spans.with(ticket.0, |open| open.trace) {
            head.set("traceresponse", &w3c::format(&trace));
        }
    }

    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        let open = self.spans.take(ticket.0);
        if let Some(rejection) = end.rejection() {
            log(rejection, open.as_ref().map(|open| open.trace).or_else(|| end.context().trace()), end.context());
        }
        if let Some(open) = open {
            open.close(self.kind, end);
        }
    }
}

fn log(rejection: &Rejection, trace: Option<TraceContext>, context: &Context) {
    /// 32 digits, without an allocation.
    struct TraceId(u128);
    impl fmt::Display for TraceId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:032x}", self.0)
        }
    }
    tracing::debug!(
        target: REJECTIONS,
        trace_id = trace.map(|trace| tracing::field::display(TraceId(trace.trace_id))),
        layer = rejection.layer().as_str(),
        reason = rejection.kind().as_str(),
        listener = context.listener().as_str(),
        route = context.route().as_str(),
        cluster = context.cluster().as_str(),
        "refused"
    );
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("enabled", &self.is_enabled())
            .field("kind", &self.kind)
            .field("propagate", &self.propagate)
            .field("open_spans", &self.open_spans())
            .finish_non_exhaustive()
    }
}
