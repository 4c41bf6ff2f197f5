//! A call that is sent, or waits to be, and its answer.

#[cfg(doc)]
use super::Client;
use super::{Shared, driver::drive, state::Phase, wake};
use crate::{DubboError, Request, Response};
use mesh_core::{Kind, Nanos, Rejection, RequestView, time};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// The response future of a [`Client`]. Dropping it gives the call up.
pub struct ResponseFuture {
    shared: Arc<Shared>,
    at: At,
}

enum At {
    Waiting { request: Request, ticket: Option<u64> },
    Sent { id: u64 },
    Done(Option<Result<Response, DubboError>>),
}

enum Sent {
    /// An answer will come for this id.
    Two(u64),
    /// None will.
    One,
}

impl ResponseFuture {
    /// Sends the call at once, which is the usual case, or when it is polled.
    pub(super) fn begin(shared: Arc<Shared>, request: Request) -> Self {
        let mut future = Self { shared, at: At::Waiting { request, ticket: None } };
        if let Poll::Ready(result) = future.try_send(&mut Context::from_waker(Waker::noop()), false) {
            future.at = match result {
                Ok(Sent::Two(id)) => At::Sent { id },
                Ok(Sent::One) => At::Done(Some(Ok(Response::to_one_way()))),
                Err(error) => At::Done(Some(Err(error))),
            };
        }
        future
    }

    /// Sends the call if that can be, else waits; `may_wait`: with a waker that is somebody's.
    fn try_send(&mut self, cx: &mut Context<'_>, may_wait: bool) -> Poll<Result<Sent, DubboError>> {
        let At::Waiting { request, ticket } = &mut self.at else { panic!("polled after completion") };
        let shared = &self.shared;
        if let Some(deadline) = request.context().deadline() {
            say_deadline(request, deadline)?;
        }
        if request.is_malformed() {
            return Poll::Ready(Err(Rejection::new(Kind::Malformed).into()));
        }
        let mut state = shared.lock();
        let begins = match &state.phase {
            Phase::Open => {
                let is_its_turn = state.waiting.len() == 0 || (ticket.is_some() && state.waiting.is_called(*ticket));
                if is_its_turn && shared.has_room(&state) {
                    let is_one_way = request.is_one_way();
                    let id = if is_one_way { state.lone_id() } else { state.begin() };
                    // the task looks when it is woken, and is woken once
                    let task = if state.out.is_empty() { state.task.take() } else { None };
                    request.write(id, &mut state.out);
                    let next = if shared.has_room(&state) { state.waiting.call_one() } else { None };
                    drop(state);
                    wake(task);
                    wake(next);
                    return Poll::Ready(Ok(if is_one_way { Sent::One } else { Sent::Two(id) }));
                }
                false
            }
            Phase::ReadOnly => return Poll::Ready(Err(Rejection::new(Kind::NoEndpoint).elsewhere().into())),
            Phase::Failed { until, why } if time::now() < *until => return Poll::Ready(Err(shared.error(why))),
            Phase::Connecting => false,
            Phase::Idle | Phase::Failed { .. } => true,
        };
        if begins {
            state.phase = Phase::Connecting;
        }
        let result = if !may_wait {
            Poll::Pending
        } else if ticket.is_none() && state.waiting.len() >= shared.options.max_pending {
            Poll::Ready(Err(Rejection::new(Kind::PoolFull).elsewhere().into()))
        } else {
            state.waiting.wait(ticket, cx.waker());
            Poll::Pending
        };
        drop(state);
        if begins {
            tokio::spawn(drive(shared.clone()));
        }
        result
    }
}

/// Says in the attachments how much time is left, unless the call says less already.
fn say_deadline(request: &mut Request, deadline: Nanos) -> Result<(), DubboError> {
    let now = time::now();
    if deadline <= now {
        return Err(Rejection::new(Kind::Timeout).into());
    }
    let left = deadline.since(now).as_nanos().div_ceil(1_000_000);
    if request.timeout().is_none_or(|said| u128::from(said.as_millis() as u64) > left) {
        let mut digits = [0; 40];
        request.set_attachment("timeout", decimal(left, &mut digits));
    }
    Ok(())
}

/// A number as text, on the stack.
fn decimal(mut number: u128, digits: &mut [u8; 40]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[at..]).unwrap_or("0")
}

impl Future for ResponseFuture {
    type Output = Result<Response, DubboError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.at {
                At::Waiting { .. } => match self.try_send(cx, true) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(Sent::Two(id))) => self.at = At::Sent { id },
                    Poll::Ready(Ok(Sent::One)) => {
                        self.at = At::Done(None);
                        return Poll::Ready(Ok(Response::to_one_way()));
                    }
                    Poll::Ready(Err(error)) => {
                        self.leave();
                        self.at = At::Done(None);
                        return Poll::Ready(Err(error));
                    }
                },
                At::Sent { id } => {
                    let id = *id;
                    let mut state = self.shared.lock();
                    let Some(answer) = state.take(id, cx.waker()) else { return Poll::Pending };
                    let wakers = self.shared.after_one(&mut state);
                    drop(state);
                    wake(wakers);
                    self.at = At::Done(None);
                    return Poll::Ready(answer.map_err(|why| self.shared.error(&why)));
                }
                At::Done(result) => match result.take() {
                    Some(result) => return Poll::Ready(result),
                    None => panic!("polled after completion"),
                },
            }
        }
    }
}

impl ResponseFuture {
    /// Lets go of what it holds of the connection.
    fn leave(&mut self) {
        let wakers = match &self.at {
            At::Waiting { ticket: Some(ticket), .. } => {
                let mut state = self.shared.lock();
                // it had been called: another takes its turn
                if state.waiting.leave(*ticket) {
                    return;
                }
                self.shared.after_one(&mut state)
            }
            At::Sent { id } => {
                let mut state = self.shared.lock();
                if !state.give_up(*id) {
                    return;
                }
                self.shared.after_one(&mut state)
            }
            At::Waiting { ticket: None, .. } | At::Done(_) => return,
        };
        wake(wakers);
    }
}

impl Drop for ResponseFuture {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = match self.at {
            At::Waiting { .. } => "waiting",
            At::Sent { .. } => "sent",
            At::Done(_) => "done",
        };
        f.debug_tuple("ResponseFuture").field(&at).finish()
    }
}
