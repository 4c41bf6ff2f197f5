//! The state that is shared: which faults are injected, how many are at the moment, and the switch.

use crate::{
    Abort, FaultSettings,
    draw::{Fault, hits, next, seeded},
};
use arc_swap::ArcSwap;
use mesh_core::{Answer, At, Code, Gate, Nanos, Rejection, RequestView, Ticket, Watch, time};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Injects faults into calls. One value is shared by all that it disturbs together.
///
/// It is also its own control handle: [`set`](Self::set) retunes it, [`switch`](Self::switch) turns it off and on
/// while it runs, [`injected`](Self::injected) and [`eligible`](Self::eligible) say what it did.
///
/// As a gate it aborts and never delays; [`FaultInjectionLayer`](crate::FaultInjectionLayer) does both, and so does the
/// layer of a pipeline.
#[derive(Debug)]
pub struct FaultInjection {
    /// All that a call looks at when there is nothing to inject: [`OFF`], [`DRAWS`] or [`LOOKS`].
    mode: AtomicU8,
    delay_ppm: AtomicU32,
    abort_ppm: AtomicU32,
    present: ArcSwap<Present>,
    /// Whether it is switched on. Locked while anything above is written.
    switch: Mutex<bool>,
    active: AtomicU32,
    /// Numbers the requests that are drawn for by a seed and have no id.
    unnamed: AtomicU64,
    eligible: AtomicU64,
    delays: AtomicU64,
    aborts: AtomicU64,
}

const OFF: u8 = 0;
/// Each call is drawn for.
const DRAWS: u8 = 1;
/// Each call is looked at: at its headers or its id.
const LOOKS: u8 = 2;

/// What is in force.
#[derive(Debug, Default)]
struct Present {
    settings: FaultSettings,
    expires: Option<Nanos>,
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
            mode: AtomicU8::new(OFF),
            delay_ppm: AtomicU32::new(0),
            abort_ppm: AtomicU32::new(0),
            present: ArcSwap::default(),
            switch: Mutex::new(true),
            active: AtomicU32::new(0),
            unnamed: AtomicU64::new(0),
            eligible: AtomicU64::new(0),
            delays: AtomicU64::new(0),
            aborts: AtomicU64::new(0),
        };
        faults.set(settings);
        faults
    }

    /// The settings in force.
    pub fn settings(&self) -> FaultSettings {
        self.present.load().settings
    }

    /// Puts other settings in force. Calls that are delayed go on as they began; `until` counts from now; the switch
    /// stays as it is.
    pub fn set(&self, settings: FaultSettings) {
        let on = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        let expires = settings.until.map(|until| time::now().plus(until));
        self.present.store(Arc::new(Present { settings, expires }));
        self.delay_ppm.store(settings.delay.map_or(0, |delay| delay.percent.ppm()), Relaxed);
        self.abort_ppm.store(settings.abort.map_or(0, |abort| abort.percent.ppm()), Relaxed);
        self.mode.store(mode(*on, &settings), Relaxed);
    }

    /// Off: calls go through as if the layer were not there. On again: as the settings say.
    pub fn switch(&self, on: bool) {
        let mut present = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        *present = on;
        self.mode.store(mode(on, &self.settings()), Relaxed);
    }

    /// Off for good, unless other settings came meanwhile: the next call is told by one branch.
    fn expire(&self, present: &Arc<Present>) {
        let _held = self.switch.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(present, &self.present.load()) {
            self.mode.store(OFF, Relaxed);
        }
    }

    /// How many calls are delayed at the moment.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// How many faults were injected so far.
    pub fn injected(&self) -> Injected {
        Injected { delays: self.delays.load(Relaxed), aborts: self.aborts.load(Relaxed) }
    }

    /// How many calls were drawn for and hit, also those that `max_active` spared.
    pub fn eligible(&self) -> u64 {
        self.eligible.load(Relaxed)
    }

    /// Whether a call may have to suffer something, with the draw that says so; as a rule not.
    #[inline]
    pub(crate) fn draw(&self) -> Option<u64> {
        let mode = self.mode.load(Relaxed);
        if mode == OFF {
            return None;
        }
        let drawn = fastrand::u64(..);
        let is_hit = |ppm: &AtomicU32, drawn| hits(ppm.load(Relaxed), drawn);
        (is_hit(&self.delay_ppm, drawn) || is_hit(&self.abort_ppm, next(drawn)) || mode == LOOKS).then_some(drawn)
    }

    /// What the call of this request is to suffer, given such a draw. Where it cannot wait it is not delayed.
    #[cold]
    pub(crate) fn plan(
        &self,
        request: Option<&mut dyn RequestView>,
        can_wait: bool,
        drawn: u64,
        now: impl FnOnce() -> Nanos,
    ) -> Option<Plan> {
        let present = self.present.load_full();
        if present.expires.is_some_and(|expires| now() >= expires) {
            self.expire(&present);
            return None;
        }
        let Present { settings: FaultSettings { delay, abort, header, max_active, seed, .. }, .. } = *present;
        let mut plan = Plan { delay: delay.map(|delay| delay.fixed), abort: abort.map(|abort| abort.with) };
        let mut delay_ppm = delay.map_or(0, |delay| delay.percent.ppm());
        let mut abort_ppm = abort.map_or(0, |abort| abort.percent.ppm());
        let (delay_draw, abort_draw) = match seed {
            Some(seed) => {
                let unnamed;
                let id = match request.as_ref().and_then(|request| request.get("x-request-id")) {
                    Some(id) => id,
                    None => {
                        unnamed = self.unnamed.fetch_add(1, Relaxed).to_be_bytes();
                        &unnamed
                    }
                };
                (seeded(seed, id, Fault::Delay), seeded(seed, id, Fault::Abort))
            }
            None => (drawn, next(drawn)),
        };
        if header {
            match request {
                Some(request) => asked_for(request, &mut plan, &mut delay_ppm, &mut abort_ppm),
                None => return None,
            }
        }
        plan.delay = plan.delay.filter(|_| can_wait && hits(delay_ppm, delay_draw));
        plan.abort = plan.abort.filter(|_| hits(abort_ppm, abort_draw));
        if plan == Plan::default() {
            return None;
        }
        self.eligible.fetch_add(1, Relaxed);
        if plan.delay.is_some() && !self.begin_delay(max_active.map_or(u32::MAX, |max| max.get())) {
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

/// A call that is delayed counts until it goes on or is given up.
pub(crate) struct Active(pub(crate) Arc<FaultInjection>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.end_delay();
    }
}

fn mode(on: bool, settings: &FaultSettings) -> u8 {
    match settings {
        FaultSettings { delay: None, abort: None, .. } => OFF,
        _ if !on => OFF,
        FaultSettings { header: false, seed: None, .. } => DRAWS,
        _ => LOOKS,
    }
}

/// What a request asks for itself, within what the settings allow; whoever asks for no fault gets none. The headers
/// are for us and go no further.
#[cold]
fn asked_for(request: &mut dyn RequestView, plan: &mut Plan, delay_ppm: &mut u32, abort_ppm: &mut u32) {
    let number = |request: &dyn RequestView, name: &str| {
        request.get(name).and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<u32>().ok())
    };
    let part = |percentage: Option<u32>, allowed: u32| {
        percentage.map_or(allowed, |percentage| allowed.min(percentage.saturating_mul(10_000)))
    };
    *delay_ppm = part(number(request, header::DELAY_PERCENTAGE), *delay_ppm);
    *abort_ppm = part(number(request, header::ABORT_PERCENTAGE), *abort_ppm);
    let millis = number(request, header::DELAY).map(|millis| Duration::from_millis(millis.into()));
    plan.delay = millis.and_then(|asked| plan.delay.map(|longest| asked.min(longest)));
    let status = number(request, header::ABORT).and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (200..600).contains(status)).map(Abort::Status);
    let grpc = number(request, header::ABORT_GRPC).and_then(|status| u16::try_from(status).ok());
    let grpc = grpc.filter(|status| *status <= 16).map(Abort::Grpc);
    plan.abort = plan.abort.and(grpc.or(status));
    header::ALL.iter().for_each(|name| request.remove(name));
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
        let Some(drawn) = self.draw() else { return Ok(None) };
        match self.plan(Some(request), false, drawn, || at.now()) {
            Some(Plan { abort: Some(abort), .. }) => Err(abort.rejection()),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DelaySettings;
    use mesh_core::units::Ratio;
    use std::num::NonZeroU32;

    fn drawn(faults: &FaultInjection) -> bool {
        faults.draw().and_then(|drawn| faults.plan(None, true, drawn, time::now)).is_some()
    }

    /// Eight threads begin and end delays as fast as they can; at no moment are there more than three.
    #[test]
    fn threads_keep_the_bound_between_them() {
        let delay = Some(DelaySettings { fixed: Duration::from_secs(1), percent: Ratio::ONE });
        let max_active = NonZeroU32::new(3);
        let faults = FaultInjection::new(FaultSettings { delay, max_active, ..FaultSettings::default() });
        let (delayed, seen) = (AtomicU64::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if drawn(&faults) {
                            seen.fetch_max(faults.active(), Relaxed);
                            delayed.fetch_add(1, Relaxed);
                            faults.end_delay();
                        }
                    }
                });
            }
        });
        assert!((1..=3).contains(&seen.load(Relaxed)), "{seen:?}");
        assert_eq!((faults.active(), faults.eligible()), (0, 160_000));
        assert_eq!(faults.injected(), Injected { delays: delayed.load(Relaxed), aborts: 0 });
    }

    /// Whoever finds that the time is over does not switch off what was set meanwhile.
    #[test]
    fn new_settings_are_not_ended_by_the_end_of_the_old() {
        let abort = Some(crate::AbortSettings { with: Abort::Reset, percent: Ratio::ONE });
        let settings = FaultSettings { abort, until: Some(Duration::ZERO), ..FaultSettings::default() };
        let faults = FaultInjection::new(settings);
        let old = faults.present.load_full();
        faults.set(FaultSettings { until: None, ..settings });
        faults.expire(&old);
        assert!(drawn(&faults));
        faults.expire(&faults.present.load_full());
        assert!(!drawn(&faults));
    }
}
