use crate::{
    At, Context, End, Governed, Hears, Name, Outcome, Reach, Record, Refusal, Ticket, Verdict, Watch,
    guards::{Seen, guarded},
};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Cx, Poll},
};

/// An open ticket of a watcher that is known by type. It ends exactly once: told, left with a response, or dropped.
///
/// Layers made by [`GateLayer`](crate::GateLayer) need none of this. It is for services that give out tickets of their
/// own: a balancer opens one per pick.
pub struct Open<W: Watch, C: Record = Context> {
    /// `None` once it has ended or been left with the response.
    watch: Option<Arc<W>>,
    ticket: Ticket,
    record: C,
}

impl<W: Watch, C: Record> Open<W, C> {
    /// Opens a ticket for the request that `record` belongs to.
    #[inline]
    pub fn new(watch: Arc<W>, ticket: Ticket, record: C) -> Self {
        Self { watch: Some(watch), ticket, record }
    }

    /// No ticket: nobody will hear of it.
    #[inline]
    pub fn none() -> Self {
        Self { watch: None, ticket: Ticket(0, 0), record: C::default() }
    }

    /// Whether somebody will still hear of it.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.watch.is_some()
    }

    /// Who will hear of it.
    pub fn watch(&self) -> Option<&Arc<W>> {
        self.watch.as_ref()
    }

    /// At a response whose body can be watched: tells the head to those who hear it, and leaves the ticket with the
    /// response if it is to hear the end of the body. Of a ticket that is not open any more nothing is told.
    #[inline]
    pub fn respond<Res: Governed>(&mut self, response: &mut Res) {
        let Some(watch) = self.watch.take() else { return };
        let hears = watch.hears();
        if hears != Hears::End {
            guarded(|| Name::NONE, || watch.on_response(&mut self.ticket, response.head()));
        }
        if hears == Hears::Response {
            return self.tell(&watch, Seen::of(response.head()).verdict(Outcome::Success));
        }
        if !response.guards().has_seen() {
            let seen = Seen::of(response.head());
            response.guards().see(seen);
        }
        response.guards().open(watch, self.ticket, self.record.context());
    }

    /// Ends it.
    #[inline]
    pub fn end(&mut self, verdict: Verdict) {
        if let Some(watch) = self.watch.take() {
            self.tell(&watch, verdict);
        }
    }

    /// Ends it with an error. A refusal is a head first.
    pub fn end_error<E: Refusal>(&mut self, error: &mut E) {
        let Some(watch) = self.watch.take() else { return };
        if let Some(rejection) = error.rejection_mut()
            && watch.hears() != Hears::End
        {
            guarded(|| Name::NONE, || watch.on_response(&mut self.ticket, rejection));
        }
        let at = At::unread();
        // a refusal may also be there behind sources that cannot be written to
        let end = match error.rejection() {
            Some(rejection) => End::refused(rejection, &at, self.record.context()),
            None => End::new(error.verdict(), &at, self.record.context()),
        };
        guarded(|| Name::NONE, || watch.on_end(self.ticket, &end));
    }

    #[inline]
    fn tell(&self, watch: &W, verdict: Verdict) {
        let at = At::unread();
        let end = End::new(verdict, &at, self.record.context());
        guarded(|| Name::NONE, || watch.on_end(self.ticket, &end));
    }

    /// Polls the call that the ticket is of, and tells its result. If it panics the ticket ends there: whoever catches
    /// the panic may drop the rest much later, when nothing tells a panic from a cancelled call.
    #[inline]
    pub fn poll<R, F, Res, E, M>(&mut self, inner: Pin<&mut F>, reach: &M, cx: &mut Cx<'_>) -> Poll<Result<Res, E>>
    where
        F: Future<Output = Result<Res, E>>,
        E: Refusal,
        M: Reach<R, Res>,
    {
        struct Unwinding<'a, W: Watch, C: Record>(&'a mut Open<W, C>);
        impl<W: Watch, C: Record> Drop for Unwinding<'_, W, C> {
            fn drop(&mut self) {
                self.0.abandon();
            }
        }
        let unwinding = Unwinding(self);
        // told in place: wrapping the result anew would copy the response
        let mut polled = inner.poll(cx);
        std::mem::forget(unwinding);
        if let Poll::Ready(result) = &mut polled {
            match result {
                Ok(response) => reach.respond(self, response),
                Err(error) => self.end_error(error),
            }
        }
        polled
    }

    /// Dropped without a word.
    #[cold]
    pub(crate) fn abandon(&mut self) {
        self.end(Verdict::of_drop());
    }
}

impl<W: Watch, C: Record> Drop for Open<W, C> {
    #[inline]
    fn drop(&mut self) {
        if self.watch.is_some() {
            self.abandon();
        }
    }
}
