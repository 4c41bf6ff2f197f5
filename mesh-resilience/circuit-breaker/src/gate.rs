//! The gate: asks the decision core about each call, and tells it how the call ended.

use crate::{
    CircuitBreakerSettings, Force, State, Transition,
    failure::{Failures, class_of, hint, read_number},
    layer::NAME,
    observe::Surroundings,
    policy::{Core, Pass, Refused},
};
use mesh_core::{At, Classifier, End, Gate, Head, Hears, Kind, Nanos, Rejection, Ticket, Watch, time};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Refuses calls to what keeps failing, and tries it again after a while. One value is shared by all that it watches
/// together: by reference count, between clones, services and worker threads.
///
/// It is also its own control handle: [`state`](Self::state) and [`counts`](Self::counts) read it while it runs,
/// [`force_open`](Self::force_open), [`disable`](Self::disable) and [`reset`](Self::reset) take it out of its own
/// hands and give it back, [`listen`](Self::listen) tells every change, [`set_settings`](Self::set_settings) retunes it.
pub struct CircuitBreaker {
    core: Core<Surroundings>,
    failures: Failures,
    classifier: Option<Classifier>,
    settings: Mutex<CircuitBreakerSettings>,
    listeners: Mutex<Vec<Arc<Listener>>>,
}

type Listener = dyn Fn(&Transition) + Send + Sync;

/// What a breaker has counted since it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Failures in a row.
    pub consecutive_failures: u64,
    /// Calls in the window; 0 where none is set.
    pub calls: u64,
    /// Failures among them.
    pub failures: u64,
}

impl CircuitBreaker {
    /// A breaker in a stack of one's own. Closed, unless its settings force another state.
    pub fn new(settings: CircuitBreakerSettings) -> Self {
        Self::at(settings, Surroundings::library(NAME, None), None)
    }

    pub(crate) fn at(
        settings: CircuitBreakerSettings,
        surroundings: Surroundings,
        classifier: Option<Classifier>,
    ) -> Self {
        let breaker = Self {
            core: Core::new(settings.rules(), surroundings),
            failures: Failures::new(&settings.failure),
            classifier,
            listeners: Mutex::default(),
            settings: Mutex::new(settings),
        };
        let force = breaker.settings().force;
        if force.is_some() {
            breaker.apply(force);
        }
        breaker
    }

    /// The state it is in. One whose time to be open is over is open until the next call.
    pub fn state(&self) -> State {
        self.core.word().phase().state()
    }

    /// How long it will still be open; `None` where it is not, or is by force.
    pub fn open_for(&self) -> Option<Duration> {
        let word = self.core.word();
        (word.phase().state() == State::Open).then(|| word.moment().since(time::now()))
    }

    /// What it has counted.
    pub fn counts(&self) -> Counts {
        let (calls, failures, consecutive_failures) = self.core.totals();
        Counts { consecutive_failures, calls, failures }
    }

    /// Refuses every call from now on, until [`reset`](Self::reset) or [`disable`](Self::disable).
    pub fn force_open(&self) {
        self.force(State::ForcedOpen);
    }

    /// Admits every call from now on and counts none, until [`reset`](Self::reset) or
    /// [`force_open`](Self::force_open).
    pub fn disable(&self) {
        self.force(State::Disabled);
    }

    /// Closes it, whatever state it is in, and forgets what was counted. From now on it decides by itself.
    pub fn reset(&self) {
        self.force(State::Closed);
    }

    /// Tells every change of state from now on to `listener`, for as long as the breaker lives. It is called by the
    /// thread that made the change, on the way of a call: it should only pass the news on. It may read and control the
    /// breaker. Changes that follow each other closely may be told out of order; [`Transition::generation`] numbers
    /// them.
    pub fn listen(&self, listener: impl Fn(&Transition) + Send + Sync + 'static) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(listener));
    }

    /// The settings in force.
    pub fn settings(&self) -> CircuitBreakerSettings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other settings in force. State, trips and what has been counted go on; of a window that is smaller now
    /// the latest calls. A breaker that is open stays so for as long as it was told. `force` is followed when it
    /// changes: what an operator did through this handle outlasts a reload of settings that say nothing of it.
    pub fn set_settings(&self, settings: CircuitBreakerSettings) {
        let mut present = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if *present == settings {
            return;
        }
        self.core.set_rules(settings.rules());
        self.failures.set(&settings.failure);
        let force = (present.force != settings.force).then_some(settings.force);
        *present = settings;
        drop(present);
        if let Some(force) = force {
            self.apply(force);
        }
    }

    fn apply(&self, force: Option<Force>) {
        match force {
            Some(Force::Open) => self.force_open(),
            Some(Force::Disabled) => self.disable(),
            None => self.reset(),
        }
    }

    fn force(&self, state: State) {
        self.tell(self.core.force(state, time::now()));
    }

    fn tell(&self, transition: Option<Transition>) {
        if let Some(transition) = transition {
            self.publish(&transition);
        }
    }

    #[cold]
    fn publish(&self, transition: &Transition) {
        self.core.effects().report(transition);
        // called without the lock: a listener may add another
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        listeners.iter().for_each(|listener| listener(transition));
    }

    #[cold]
    fn refuse(&self, Refused(wait): Refused) -> Rejection {
        let mut rejection = Rejection::new(Kind::CircuitOpen);
        if let Some(wait) = wait {
            rejection = rejection.retry_after(wait);
        }
        // another endpoint may be well; another attempt would come to this very breaker
        if self.core.effects().endpoint.is_some() { rejection.elsewhere() } else { rejection }
    }

    #[cold]
    #[inline(never)]
    fn admit_slowly(&self, at: &At) -> Result<Option<Ticket>, Rejection> {
        let (reply, transition) = self.core.admit(|| at.now());
        self.tell(transition);
        match reply {
            Ok(Some(pass)) => {
                let began = if self.failures.ask_for_length() { at.now() } else { Nanos::ZERO };
                Ok(Some(Kept { pass, hint: Duration::ZERO, began: began.as_nanos() }.ticket()))
            }
            Ok(None) => Ok(None),
            Err(_) if self.is_spared() => Ok(None),
            Err(refused) => Err(self.refuse(refused)),
        }
    }

    /// Whether too many endpoints of a set would be out, so that its balancer has picked this one all the same. What an
    /// operator has forced stays.
    fn is_spared(&self) -> bool {
        let endpoint = self.core.effects().endpoint.as_ref();
        endpoint.is_some_and(|endpoint| endpoint.health().is_spared()) && self.state() != State::ForcedOpen
    }

    #[cold]
    #[inline(never)]
    fn on_end_slowly(&self, ticket: Ticket, end: End<'_>, is_counted: bool) {
        let end = &end;
        if is_counted {
            return self.tell(self.core.trip(ticket.0, Duration::ZERO, || end.at().now()));
        }
        let Kept { pass, hint, began } = Kept::of(ticket);
        let class = match &self.classifier {
            None => self.failures.classify(end, began),
            Some(classifier) => class_of(classifier.classify(end), &self.failures, end, began),
        };
        self.tell(self.core.record(pass, class, hint, || end.at().now()));
    }

    /// The call that is decisive may say how long to leave the thing called alone.
    #[cold]
    fn read_hint(&self, ticket: &mut Ticket, head: &dyn Head) {
        let read = |name: &str| {
            let number = read_number(head.get(name)?)?;
            Some(if name == "retry-after" { Duration::from_secs(number) } else { Duration::from_millis(number) })
        };
        *ticket = Kept { hint: hint(read), ..Kept::of(*ticket) }.ticket();
    }
}

/// What a ticket keeps.
struct Kept {
    pass: Pass,
    /// In whole seconds when it is kept, up to 300.
    hint: Duration,
    /// In nanoseconds; 0: not known.
    began: u64,
}

const PROBE: u64 = 1 << 32;
const HINT: u32 = 33;

impl Kept {
    #[inline]
    fn of(Ticket(first, began): Ticket) -> Self {
        Self {
            pass: Pass { generation: first & (PROBE - 1), is_probe: first & PROBE != 0 },
            hint: Duration::from_secs(first >> HINT),
            began,
        }
    }

    #[inline]
    fn ticket(&self) -> Ticket {
        let probe = if self.pass.is_probe { PROBE } else { 0 };
        let hint = self.hint.as_millis().div_ceil(1000).min(300) as u64;
        Ticket(self.pass.generation | probe | hint << HINT, self.began)
    }
}

impl Watch for CircuitBreaker {
    fn hears(&self) -> Hears {
        Hears::HeadAndEnd
    }

    #[inline]
    fn on_response(&self, ticket: &mut Ticket, head: &mut dyn Head) {
        if self.core.is_decisive(Kept::of(*ticket).pass) {
            self.read_hint(ticket, head);
        }
    }

    #[inline]
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        // a closed breaker's ticket without a hint is its generation
        let straight = self.classifier.is_none() && self.failures.is_success(end);
        let counted = if straight { self.core.succeed_closed(ticket.0) } else { None };
        if counted != Some(false) {
            // by value: so the end of a call that went well need not be written down
            self.on_end_slowly(ticket, *end, counted.is_some());
        }
    }
}

impl<R> Gate<R> for CircuitBreaker {
    #[inline]
    fn admit(&self, _: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        match self.core.admit_closed() {
            Some(pass) if !self.failures.ask_for_length() => Ok(Some(Ticket(pass.generation, 0))),
            _ => self.admit_slowly(at),
        }
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("at", self.core.effects())
            .field("state", &self.state())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
