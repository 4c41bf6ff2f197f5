use crate::{
    At, End, Gate, Guards, Head, Hears, Kind, Name, Pause, PausingGate, Rejection, RequestView, Ticket,
    guards::{ENDED, Owner, Slot, Wants, guarded},
};
use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// What a stack knows of a gate beside the gate: its name, whether it only shadows, and the counters of its refusals.
/// Shared by all workers.
pub(crate) struct GateControl {
    name: Name,
    shadow: AtomicBool,
    refused: RefusalCounter,
    shadowed: RefusalCounter,
}

impl GateControl {
    pub(crate) fn new(name: Name, shadow: bool) -> Arc<Self> {
        Arc::new(Self {
            name,
            shadow: AtomicBool::new(shadow),
            refused: RefusalCounter::new("mesh_rejections_total"),
            shadowed: RefusalCounter::new("mesh_shadow_rejections_total"),
        })
    }

    pub(crate) fn name(&self) -> Name {
        self.name
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.shadow.load(Relaxed)
    }

    pub(crate) fn set_shadow(&self, shadow: bool) {
        self.shadow.store(shadow, Relaxed);
    }

    /// What becomes of a refusal: `Ok` if it is only counted.
    #[cold]
    #[inline(never)]
    pub(crate) fn refuse(&self, mut rejection: Rejection) -> Result<(), Rejection> {
        rejection.stamp(self.name);
        if self.is_shadow() {
            self.shadowed.count(rejection.layer(), rejection.kind());
            return Ok(());
        }
        self.refused.count(rejection.layer(), rejection.kind());
        Err(rejection)
    }
}

/// Counts refusals by layer and reason. A layer has one reason as a rule: its counter is kept, others are looked up.
pub(crate) struct RefusalCounter {
    metric: &'static str,
    usual: OnceLock<(Name, Kind, metrics::Counter)>,
}

impl RefusalCounter {
    pub(crate) const fn new(metric: &'static str) -> Self {
        Self { metric, usual: OnceLock::new() }
    }

    pub(crate) fn count(&self, layer: Name, kind: Kind) {
        let register = || metrics::counter!(self.metric, "layer" => layer.as_str(), "reason" => kind.as_str());
        let (usual, reason, counter) = self.usual.get_or_init(|| (layer, kind, register()));
        if (*usual, *reason) == (layer, kind) { counter.increment(1) } else { register().increment(1) }
    }
}

/// A gate in its place in a run.
pub(crate) struct Placed<R> {
    gate: Arc<dyn Gate<R>>,
    /// The same gate, where it may have a request wait.
    pauses: Option<Arc<dyn PausingGate<R>>>,
    hears: Hears,
    longest_hold: Option<Duration>,
    control: Arc<GateControl>,
}

impl<R: 'static> Placed<R> {
    pub(crate) fn new(gate: Arc<dyn Gate<R>>, control: Arc<GateControl>) -> Self {
        Self { hears: gate.hears(), longest_hold: gate.longest_hold(), gate, pauses: None, control }
    }

    pub(crate) fn pausing(gate: Arc<dyn PausingGate<R>>, control: Arc<GateControl>) -> Self {
        Self { pauses: Some(gate.clone()), ..Self::new(gate, control) }
    }
}

impl<R> Clone for Placed<R> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            pauses: self.pauses.clone(),
            hears: self.hears,
            longest_hold: self.longest_hold,
            control: self.control.clone(),
        }
    }
}

/// Consecutive gates, passed in one loop. Each worker has a run of its own over shared gates: the one reference count
/// that a request touches is the worker's.
pub(crate) struct Run<R> {
    gates: Box<[Placed<R>]>,
    wants: Wants,
}

impl<R: RequestView + 'static> Run<R> {
    pub(crate) fn new(gates: Vec<Placed<R>>) -> Arc<Self> {
        Arc::new(Self {
            wants: Wants {
                head: gates.iter().any(|placed| placed.hears != Hears::End),
                hold: gates.iter().any(|placed| placed.longest_hold.is_some()),
            },
            gates: gates.into(),
        })
    }

    /// Passes a request through the gates, outermost first. What is given back holds the tickets of those that
    /// want to hear more.
    pub(crate) fn admit(self: &Arc<Self>, request: &mut R) -> Result<Guards, Stopped> {
        self.admit_from(0, request, Guards::new())
    }

    /// The same, from this gate on.
    #[inline]
    fn admit_from(self: &Arc<Self>, first: usize, request: &mut R, mut guards: Guards) -> Result<Guards, Stopped> {
        let at = At::unread();
        for (index, placed) in self.gates.iter().enumerate().skip(first) {
            match placed.gate.admit(request, &at) {
                Ok(None) => {}
                Ok(Some(ticket)) => {
                    if let Some(pause) = placed.pauses.as_ref().and_then(|gate| gate.pause(ticket)) {
                        return Err(Stopped::Paused(Box::new(Paused { pause, gate: index, guards })));
                    }
                    guards.open_in_run(self, (index as u32, ticket), request.context());
                }
                Err(rejection) => self.refuse(index, rejection, request, &mut guards).map_err(Stopped::Refused)?,
            }
        }
        Ok(guards)
    }

    /// Goes on with a request that has waited for this result.
    pub(crate) fn go_on(
        self: &Arc<Self>,
        gate: usize,
        mut guards: Guards,
        result: Result<Option<Ticket>, Rejection>,
        request: &mut R,
    ) -> Result<Guards, Stopped> {
        match result {
            Ok(None) => {}
            Ok(Some(ticket)) => guards.open_in_run(self, (gate as u32, ticket), request.context()),
            Err(rejection) => self.refuse(gate, rejection, request, &mut guards).map_err(Stopped::Refused)?,
        }
        self.admit_from(gate + 1, request, guards)
    }

    /// What becomes of a refusal of this gate; the gates further out are told. `Ok`: the request goes on.
    #[cold]
    #[inline(never)]
    fn refuse(&self, gate: usize, rejection: Rejection, request: &R, guards: &mut Guards) -> Result<(), Rejection> {
        let control = &self.gates[gate].control;
        match control.refuse(rejection) {
            Ok(()) => guards.mark_shadow(control.name(), request.context()),
            Err(mut rejection) => {
                guards.refuse(&mut rejection);
                return Err(rejection);
            }
        }
        Ok(())
    }
}

/// Why a request did not pass all gates of a run.
pub(crate) enum Stopped {
    Refused(Rejection),
    Paused(Box<Paused>),
}

/// A request waits at a gate.
pub(crate) struct Paused {
    pub(crate) pause: Pause,
    pub(crate) gate: usize,
    pub(crate) guards: Guards,
}

impl<R: 'static> Owner for Run<R> {
    fn respond(&self, slots: &mut [Slot], head: &mut dyn Head, end: &End<'_>) -> bool {
        let mut ended = false;
        for (index, ticket) in slots.iter_mut().rev() {
            let placed = &self.gates[*index as usize];
            if placed.hears != Hears::End {
                guarded(|| placed.control.name, || placed.gate.on_response(ticket, head));
            }
            if placed.hears == Hears::Response {
                *index = ENDED;
                ended = true;
                guarded(|| placed.control.name, || placed.gate.on_end(*ticket, end));
            }
        }
        ended
    }

    fn finish(&self, slots: &[Slot], end: &End<'_>) {
        // one guard for all as long as nobody panics
        let mut left = slots.len();
        while left > 0 {
            let telling = Cell::new(Name::NONE);
            guarded(
                || telling.get(),
                || {
                    while left > 0 {
                        left -= 1;
                        let (index, ticket) = slots[left];
                        if index != ENDED {
                            let placed = &self.gates[index as usize];
                            telling.set(placed.control.name);
                            placed.gate.on_end(ticket, end);
                        }
                    }
                },
            );
        }
    }

    fn wants(&self) -> Wants {
        self.wants
    }

    fn longest_hold(&self, gate: u32) -> Option<Duration> {
        self.gates.get(gate as usize)?.longest_hold
    }
}

impl<R> fmt::Debug for Run<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.gates.iter().map(|placed| placed.control.name)).finish()
    }
}
