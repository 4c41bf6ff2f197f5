use crate::{End, Head, Nanos, Rejection, time};
use std::{cell::Cell, future::Future, pin::Pin};

/// Sixteen bytes of a gate's own that stand for one admitted request. The framework keeps it and gives it back
/// exactly once, in [`Watch::on_end`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(pub u64, pub u64);

/// How long a watcher listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// To the response, whose head it may write; the ticket ends there.
    Response,
    /// The end of the body only.
    End,
    /// The head, and the end of the body.
    HeadAndEnd,
}

/// Hears how a request went on. Called exactly once per ticket, on every way out: end of body, error, drop, panic.
/// The framework owns the ticket, so that an author can neither lose it nor end it twice.
pub trait Watch: Send + Sync + 'static {
    /// What this watcher wants to hear. Asked when the gate is put into a stack, and taken to be constant.
    fn hears(&self) -> Hears {
        Hears::End
    }

    /// The longest time a ticket may be kept open after the head, for a body that never ends. When it is over the
    /// ticket ends as the head said. `None`: as long as the body lasts. Asked once, like [`Watch::hears`].
    fn longest_hold(&self) -> Option<std::time::Duration> {
        None
    }

    /// The head of the answer, or of the refusal that will become one; may be written to. Only called as
    /// [`Watch::hears`] says.
    fn on_response(&self, ticket: &mut Ticket, head: &mut dyn Head) {
        let _ = (ticket, head);
    }

    /// The ticket's end.
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        let _ = (ticket, end);
    }
}

/// Looks at a request, and admits or refuses it.
///
/// Admission is decided in `call`, never in `poll_ready`. It takes no lock and allocates nothing on the way through.
pub trait Gate<R>: Watch {
    /// `Ok(Some(ticket))`: go on, and tell me how it ends. `Ok(None)`: go on.
    ///
    /// # Errors
    /// The refusal. It is told, as the head of an answer and as an end, to all that stand further out.
    fn admit(&self, request: &mut R, at: &At) -> Result<Option<Ticket>, Rejection>;

    /// Whether it only observes: it admits whatever comes and changes nothing of it. Such a gate is also told of requests
    /// that are refused before they get to its pipeline, because they are malformed or too large; see
    /// [`Observers`](crate::pipeline::Observers). Asked once.
    fn observes(&self) -> bool {
        false
    }
}

/// A gate that has some requests wait before they go on: in a [`Pipeline`](crate::Pipeline). Anywhere else it admits at
/// once, as any gate.
pub trait PausingGate<R>: Gate<R> {
    /// What a request that was admitted with this ticket waits for. Asked once, right after [`Gate::admit`]. `None`: it
    /// goes on, and the ticket is like any other.
    fn pause(&self, ticket: Ticket) -> Option<Pause>;
}

/// The wait of one request. It ends as an admission does: the request goes on, with a ticket or without, or is refused.
/// The ticket that it is of does not end otherwise. Dropped, where the request is given up.
pub type Pause = Pin<Box<dyn Future<Output = Result<Option<Ticket>, Rejection>> + Send>>;

/// A moment for everyone who is asked at once: the clock is read by whoever asks first.
#[derive(Clone, Debug, Default)]
pub struct At(Cell<Option<Nanos>>);

impl At {
    /// A moment that is not read yet.
    pub const fn unread() -> Self {
        Self(Cell::new(None))
    }

    /// A moment that is known.
    pub const fn known(now: Nanos) -> Self {
        Self(Cell::new(Some(now)))
    }

    /// The moment, by this thread's clock.
    pub fn now(&self) -> Nanos {
        self.0.get().unwrap_or_else(|| {
            let now = time::now();
            self.0.set(Some(now));
            now
        })
    }
}

/// A gate that is one function and only refuses; see [`gate_fn`].
#[derive(Clone, Copy, Debug)]
pub struct GateFn<F>(F);

/// Makes a gate of a function that admits (`Ok`) or refuses.
pub fn gate_fn<R, F>(admit: F) -> GateFn<F>
where
    F: Fn(&mut R) -> Result<(), Rejection>,
{
    GateFn(admit)
}

impl<F: Send + Sync + 'static> Watch for GateFn<F> {}

impl<R, F> Gate<R> for GateFn<F>
where
    F: Fn(&mut R) -> Result<(), Rejection> + Send + Sync + 'static,
{
    fn admit(&self, request: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        (self.0)(request).map(|()| None)
    }
}
