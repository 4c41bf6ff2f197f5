//! The state that is shared: which faults are injected, how many are at the moment, and the switch.

use crate::{
    Abort, FaultSettings,
    draw::{Fault, seeded},
};
use mesh_core::{Answer, At, Code, Gate, Nanos, Rejection, RequestView, Ticket, Watch, time, units::Ratio};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Injects faults into calls. One value is shared by all that it disturbs together.
///
/// It is also its own control handle: [`set`](Self::set) retunes it, [`switch`](Self::switch) turns it off and on
/// while it runs, [`injected`](Self::injected) and [`eligible`](Self::eligible) say what it did.
///
/// As a gate it aborts and cannot delay; see [`FaultInjectionLayer`](crate::FaultInjectionLayer).
#[derive(Debug)]
pub struct FaultInjection {
    /// All that a call looks at when there is nothing to inject.
    armed: AtomicBool,
    switched_on: AtomicBool,
    /// Whether each call is looked at more closely: for its headers, its id, or the end of the time to live.
    looks_closer: AtomicBool,
    delay_ppm: AtomicU32,
    abort_ppm: AtomicU32,
    expires: AtomicU64,
    settings: Mutex<FaultSettings>,
    active: AtomicU32,
    eligible: AtomicU64,
    delays: AtomicU64,
    aborts: AtomicU64,
}

/// What a call is to suffer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) delay: Option<Duration>,
    pub(crate) abort: Option<Abort>,
}

/// Envoy's names, so that its users' tools go on working.
mod header {
    pub(super) const DELAY: &str = "x-envoy-fault-delay-request";
    pub(super) const DELAY_PERCENTAGE: &str = "x-envoy-fault-delay-request-percentage";
    pub(super) const ABORT: &str = "x-envoy-fault-abort-request";
    pub(super) const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
    pub(super) const ABORT_PERCENTAGE: &str = "x-envoy-fault-abort-request-percentage";
    pub(super) const ALL: [&str; 5] = [DELAY, DELAY_PERCENTAGE, ABORT, ABORT_GRPC, ABORT_PERCENTAGE];
}

/// How many faults were injected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Calls that were delayed.
    pub delays: u64,
    /// Calls that were aborted.
    pub aborts: u64,
}

impl FaultInjection {
    /// Injects what these settings say.
    pub fn new(settings: FaultSettings) -> Self {
        let faults = Self {
            armed: AtomicBool::new(false),
            switched_on: AtomicBool::new(true),
            looks_closer: AtomicBool::new(false),
            delay_ppm: AtomicU32::new(0),
            abort_ppm: AtomicU32::new(0),
            expires: AtomicU64::new(u64::MAX),
            settings: Mutex::new(FaultSettings::default()),
            active: AtomicU32::new(0),
            eligible: AtomicU64::new(0),
            delays: AtomicU64::new(0),
            aborts: AtomicU64::new(0),
        };
        faults.set(settings);
        faults
    }

    /// The settings in force.
    pub fn settings(&self) -> FaultSettings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other settings in force. Calls that are delayed go on as they began; `until` counts from now.
    pub fn set(&self, settings: FaultSettings) {
        let mut present = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        *present = settings;
        self.delay_ppm.store(settings.delay.map_or(0, |delay| delay.percent.ppm()), Relaxed);
        self.abort_ppm.store(settings.abort.map_or(0, |abort| abort.percent.ppm()), Relaxed);
        let expires = settings.until.map_or(u64::MAX, |until| time::now().plus(until).as_nanos());
        self.expires.store(expires, Relaxed);
        let closer = settings.header || settings.seed.is_some() || settings.until.is_some();
        self.looks_closer.store(closer, Relaxed);
        self.arm(&settings);
    }

    /// Off: calls go through as if the layer were not there. On again: as the settings say.
    pub fn switch(&self, on: bool) {
        let present = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        self.switched_on.store(on, Relaxed);
        self.arm(&present);
    }

    fn arm(&self, settings: &FaultSettings) {
        let asked = settings.delay.is_some() || settings.abort.is_some();
        self.armed.store(asked && self.switched_on.load(Relaxed), Relaxed);
    }

    /// How many calls are delayed at the moment.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// How many faults were injected so far.
    pub fn injected(&self) -> Injected {
        Injected { delays: self.delays.load(Relaxed), aborts: self.aborts.load(Relaxed) }
    }

    /// How many calls were drawn for and hit, also where `max_active` spared them.
    pub fn eligible(&self) -> u64 {
        self.eligible.load(Relaxed)
    }

    /// What the call of this request is to suffer; as a rule nothing.
    #[inline]
    pub(crate) fn plan(&self, request: Option<&mut dyn RequestView>, now: impl FnOnce() -> Nanos) -> Option<Plan> {
        if !self.armed.load(Relaxed) {
            return None;
        }
        let hit = |ppm: &AtomicU32| {
            let ppm = ppm.load(Relaxed);
            ppm != 0 && Ratio::from_ppm(ppm).is_some_and(|ratio| ratio.contains(fastrand::u64(..)))
        };
        let (delay, abort) = (hit(&self.delay_ppm), hit(&self.abort_ppm));
        if !self.looks_closer.load(Relaxed) && !delay && !abort {
            return None;
        }
        self.hit(request, delay, abort, now)
    }

    #[cold]
    #[inline(never)]
    fn hit(
        &self,
        request: Option<&mut dyn RequestView>,
        mut delay: bool,
        mut abort: bool,
        now: impl FnOnce() -> Nanos,
    ) -> Option<Plan> {
        let settings = self.settings();
        let expires = self.expires.load(Relaxed);
        if expires != u64::MAX && now().as_nanos() >= expires {
            // for good: the next call is told by one branch again
            self.armed.store(false, Relaxed);
            return None;
        }
        let mut plan =
            Plan { delay: settings.delay.map(|delay| delay.fixed), abort: settings.abort.map(|abort| abort.with) };
        if let Some(request) = request
            && (settings.header || settings.seed.is_some())
        {
            let (mut delay_ppm, mut abort_ppm) = (self.delay_ppm.load(Relaxed), self.abort_ppm.load(Relaxed));
            let draws = match settings.seed {
                Some(seed) => {
                    let id = request.get("x-request-id").unwrap_or_default();
                    (seeded(seed, id, Fault::Delay), seeded(seed, id, Fault::Abort))
                }
                None => (fastrand::u64(..), fastrand::u64(..)),
            };
            if settings.header {
                (delay_ppm, abort_ppm) = asked_for(request, &mut plan, delay_ppm, abort_ppm);
            }
            let hit = |ppm, draw| Ratio::from_ppm(ppm).is_some_and(|ratio| ratio.contains(draw));
            (delay, abort) = (hit(delay_ppm, draws.0), hit(abort_ppm, draws.1));
        }
        plan.delay = plan.delay.filter(|_| delay);
        plan.abort = plan.abort.filter(|_| abort);
        if plan == Plan::default() {
            return None;
        }
        self.eligible.fetch_add(1, Relaxed);
        if plan.delay.is_some() && !self.begin_delay(settings.max_active.map_or(u32::MAX, |max| max.get())) {
            plan.delay = None;
        }
        if plan.abort.is_some() {
            self.aborts.fetch_add(1, Relaxed);
        }
        (plan != Plan::default()).then_some(plan)
    }

    fn begin_delay(&self, most: u32) -> bool {
        let begun = self.active.fetch_update(Relaxed, Relaxed, |active| (active < most).then_some(active + 1)).is_ok();
        if begun {
            self.delays.fetch_add(1, Relaxed);
        }
        begun
    }

    pub(crate) fn end_delay(&self) {
        self.active.fetch_sub(1, Relaxed);
    }
}

/// What a request asks for itself, within what the settings allow; whoever asks for no fault gets none. The headers
/// are for us and go no further.
#[cold]
fn asked_for(request: &mut dyn RequestView, plan: &mut Plan, delay_ppm: u32, abort_ppm: u32) -> (u32, u32) {
    let number = |request: &dyn RequestView, name: &str| {
        request.get(name).and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<u32>().ok())
    };
    let part = |percentage: Option<u32>, allowed: u32| {
        percentage.map_or(allowed, |percentage| allowed.min(percentage.saturating_mul(10_000)))
    };
    let delay_ppm = part(number(request, header::DELAY_PERCENTAGE), delay_ppm);
    let abort_ppm = part(number(request, header::ABORT_PERCENTAGE), abort_ppm);
    let millis = number(request, header::DELAY).map(|millis| Duration::from_millis(millis.into()));
    plan.delay = millis.and_then(|asked| plan.delay.map(|longest| asked.min(longest)));
    let status = number(request, header::ABORT).and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (200..600).contains(status)).map(Abort::Status);
    let grpc = number(request, header::ABORT_GRPC).and_then(|status| u16::try_from(status).ok());
    let grpc = grpc.filter(|status| *status <= 16).map(Abort::Grpc);
    plan.abort = plan.abort.and(grpc.or(status));
    header::ALL.iter().for_each(|name| request.remove(name));
    (delay_ppm, abort_ppm)
}

impl Abort {
    /// The refusal that stands for it.
    pub(crate) fn rejection(self) -> Rejection {
        Rejection::fault(match self {
            Abort::Status(status) => Answer::Code(Code::Http(status)),
            Abort::Grpc(status) => Answer::Code(Code::Grpc(status)),
            Abort::Reset => Answer::Reset,
        })
    }
}

impl Watch for FaultInjection {}

/// Aborts only: a gate cannot wait.
impl<R: RequestView> Gate<R> for FaultInjection {
    #[inline]
    fn admit(&self, request: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        match self.plan(Some(request), || at.now()) {
            None => Ok(None),
            Some(plan) => {
                if plan.delay.is_some() {
                    self.end_delay();
                }
                plan.abort.map_or(Ok(None), |abort| Err(abort.rejection()))
            }
        }
    }
}
