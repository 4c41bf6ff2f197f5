use crate::{
    At, Context, End, Governed, Head, Hears, Name, Outcome, Reach, Record, Refusal, Ticket, Verdict, Watch,
    guards::{Seen, ends_if_it_panics, guarded, mark_shadows},
};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Cx, Poll},
};

/// An open ticket of a watcher that is known by type. It ends exactly once: told, left with a response, or dropped.
///
/// A watcher that panics when it is told a result makes the call panic, as any code on its way would; one that panics
/// when the ticket is dropped is caught and reported.
///
/// Layers made by [`GateLayer`](crate::GateLayer) need none of this. It is for services that give out tickets of their
/// own: a balancer opens one per pick.
pub struct Open<W: Watch, C: Record = Context>(State<W, C>);

enum State<W, C> {
    Ticket(Opened<W, C>),
    /// Nobody will hear of the call.
    Nobody(Shadow),
}

/// Zero, or one more than the number of a layer that only shadows: the answer will say so. As wide as a word of the
/// ticket, in whose place it is: two halves would be read and written one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shadow(u64);

impl Shadow {
    const NONE: Self = Self(0);

    fn of(layer: Name) -> Self {
        Self(u64::from(layer.number()) + 1)
    }

    fn layer(self) -> Name {
        Name::from_number((self.0 - 1) as u32)
    }
}

/// Taken by value on every way out: where no reference to it leaves a call, the compiler keeps it in registers.
struct Opened<W, C> {
    watch: Arc<W>,
    ticket: Ticket,
    record: C,
}

impl<W: Watch, C: Record> Open<W, C> {
    /// Opens a ticket for the request that `record` belongs to.
    #[inline]
    pub fn new(watch: Arc<W>, ticket: Ticket, record: C) -> Self {
        Self(State::Ticket(Opened { watch, ticket, record }))
    }

    /// No ticket: nobody will hear of it.
    #[inline]
    pub fn none() -> Self {
        Self(State::Nobody(Shadow::NONE))
    }

    /// No ticket, and a mark on the answer that this layer would have refused.
    pub(crate) fn shadow(layer: Name) -> Self {
        Self(State::Nobody(Shadow::of(layer)))
    }

    /// Whether somebody will still hear of it.
    #[inline]
    pub fn is_open(&self) -> bool {
        matches!(self.0, State::Ticket(_))
    }

    /// Who will hear of it.
    pub fn watch(&self) -> Option<&Arc<W>> {
        match &self.0 {
            State::Ticket(open) => Some(&open.watch),
            State::Nobody(_) => None,
        }
    }

    /// At a response whose body can be watched: tells the head to those who hear it, and leaves the ticket with the
    /// response if it is to hear the end of the body.
    #[inline]
    pub fn respond<Res: Governed>(mut self, response: &mut Res) {
        let State::Ticket(Opened { watch, ticket, .. }) = &mut self.0 else { return };
        let hears = watch.hears();
        if hears != Hears::End {
            watch.on_response(ticket, response.head());
        }
        if hears == Hears::Response {
            return self.end(Seen::of(response.head()).verdict(Outcome::Success));
        }
        if let State::Ticket(open) = self.take() {
            open.leave_with(response);
        }
    }

    /// Ends it.
    #[inline(always)]
    pub fn end(mut self, verdict: Verdict) {
        if let State::Ticket(open) = self.take() {
            open.end(verdict);
        }
    }

    /// Ends it with an error, and gives that back. A refusal is a head first.
    #[inline]
    pub fn end_error<E: Refusal>(self, error: E) -> E {
        if self.is_open() { self.told_error(error) } else { error }
    }

    /// Polls the call that the ticket is of, and tells its result. If it panics the ticket ends there: whoever catches
    /// the panic may drop the rest much later, when nothing tells a panic from a cancelled call.
    #[inline(always)]
    pub fn poll<R, F, Res, E, M>(&mut self, inner: Pin<&mut F>, reach: &M, cx: &mut Cx<'_>) -> Poll<Result<Res, E>>
    where
        F: Future<Output = Result<Res, E>>,
        E: Refusal,
        M: Reach<R, Res>,
    {
        let mut polled = ends_if_it_panics(self, || inner.poll(cx));
        if polled.is_pending() {
            return polled;
        }
        match self.take() {
            // an error by value, so that a response nobody looks at stays in registers; a response in place, since
            // wrapping it anew would copy it
            State::Ticket(open) => match polled {
                Poll::Pending => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Open(State::Ticket(open)).told_error(error))),
                Poll::Ready(Ok(ref mut response)) => reach.respond(Open(State::Ticket(open)), response),
            },
            State::Nobody(Shadow::NONE) => {}
            State::Nobody(shadow) => return polled.map(|result| marked::<R, Res, E>(reach, result, shadow.layer())),
        }
        polled
    }

    #[cold]
    #[inline(never)]
    fn told_error<E: Refusal>(mut self, mut error: E) -> E {
        if let State::Ticket(Opened { watch, ticket, .. }) = &mut self.0
            && let Some(rejection) = error.rejection_mut()
            && watch.hears() != Hears::End
        {
            watch.on_response(ticket, rejection);
        }
        let State::Ticket(Opened { watch, ticket, record }) = self.take() else { return error };
        let at = At::unread();
        // a refusal may also be there behind sources that cannot be written to
        let end = match error.rejection() {
            Some(rejection) => End::refused(rejection, &at, record.context()),
            None => End::new(error.verdict(), &at, record.context()),
        };
        watch.on_end(ticket, &end);
        error
    }

    #[inline(always)]
    fn take(&mut self) -> State<W, C> {
        std::mem::replace(&mut self.0, State::Nobody(Shadow::NONE))
    }
}

impl<W: Watch, C: Record> Default for Open<W, C> {
    /// No ticket.
    fn default() -> Self {
        Self::none()
    }
}

impl<W: Watch, C: Record> Drop for Open<W, C> {
    #[inline(always)]
    fn drop(&mut self) {
        // asked first: most have ended, and taking writes
        if self.is_open()
            && let State::Ticket(Opened { watch, ticket, record }) = self.take()
        {
            Opened::abandon(watch, ticket, record);
        }
    }
}

impl<W: Watch, C: Record> Opened<W, C> {
    #[inline(always)]
    fn end(self, verdict: Verdict) {
        let at = At::unread();
        let end = End::new(verdict, &at, self.record.context());
        self.watch.on_end(self.ticket, &end);
    }

    #[inline]
    fn leave_with<Res: Governed>(self, response: &mut Res) {
        if !response.guards().has_seen() {
            let seen = Seen::of(response.head());
            response.guards().see(seen);
        }
        response.guards().open(self.watch, self.ticket, self.record.context());
    }

    /// Dropped without a word.
    #[cold]
    #[inline(never)]
    fn abandon(watch: Arc<W>, ticket: Ticket, record: C) {
        guarded(|| Name::NONE, || Self { watch, ticket, record }.end(Verdict::of_drop()));
    }
}

/// Says in the head of an answer or a refusal that this layer would have refused.
#[cold]
#[inline(never)]
fn marked<R, Res, E: Refusal>(reach: &impl Reach<R, Res>, mut result: Result<Res, E>, layer: Name) -> Result<Res, E> {
    let head = match &mut result {
        Ok(response) => reach.governed(response).map(Governed::head),
        Err(error) => error.rejection_mut().map(|rejection| rejection as &mut dyn Head),
    };
    if let Some(head) = head {
        mark_shadows(head, &[layer]);
    }
    result
}
