//! The decision core: what an end of an attempt says of another one.

use crate::{Condition, Conditions, RetrySettings};
use mesh_core::{Answer, Cause, Code, Governed, Head, Kind, Refusal, Rejection, Side};
use std::time::Duration;

/// Without a deadline a server that asks for more time than this is taken at its word: not now.
pub(crate) const LONGEST_PUSHBACK: Duration = Duration::from_secs(5);

/// What an attempt came to, as far as a retry asks. Made by a [`Repeat`](crate::Repeat).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    happened: Conditions,
    sureness: Seen,
    pushback: Pushback,
}

/// Whether what is called can have acted on the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    /// It can.
    #[default]
    Perhaps,
    /// It cannot: safe to send again, whatever the method.
    No,
    /// It was not even sent, and another endpoint may be tried: a refusal of ours.
    NotSent,
    /// It does not matter: the user said that a failure is tried again.
    Whatever,
}

/// What the answer says of when to come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pushback {
    #[default]
    None,
    After(Duration),
    Never,
}

impl Verdict {
    /// Not to be tried again.
    pub const DONE: Self = Self { happened: Conditions::NONE, sureness: Seen::Perhaps, pushback: Pushback::None };

    /// To be tried again, whatever the settings' conditions and methods.
    pub const FAILED: Self = Self { sureness: Seen::Whatever, ..Self::DONE };

    /// A refusal of ours that another endpoint need not share: to be tried again, at once, and without a cost to the
    /// budget.
    pub(crate) const ELSEWHERE: Self = Self { sureness: Seen::NotSent, ..Self::DONE };

    /// By what a protocol says; `grpc`: of a gRPC request.
    pub fn of<Res: Governed, E: Refusal>(result: &mut Result<Res, E>, grpc: bool) -> Self {
        match result {
            Ok(response) => Self::of_head(response.head(), grpc),
            Err(error) => match error.rejection() {
                Some(rejection) => Self::of_rejection(rejection, grpc),
                None => error.cause().map_or(Self::DONE, |cause| Self::of_cause(cause, grpc)),
            },
        }
    }

    pub(crate) fn of_head(head: &dyn Head, grpc: bool) -> Self {
        if head.side() != Side::Upstream {
            return Self::DONE;
        }
        let verdict = Self::of_code(head.code(), grpc);
        if verdict.happened.is_empty() {
            return verdict;
        }
        Self { pushback: pushback(head), ..verdict }
    }

    pub(crate) fn of_code(code: Code, grpc: bool) -> Self {
        use Condition::{
            Cancelled, DeadlineExceeded, GatewayError, Internal, ResourceExhausted, Retriable4xx, ServerError,
            Unavailable,
        };
        let happened = match code {
            Code::Http(409) => Conditions::NONE.with(Retriable4xx),
            Code::Http(502..=504) => Conditions::NONE.with(GatewayError),
            Code::Http(500..) => Conditions::NONE.with(ServerError),
            Code::Grpc(1) => Conditions::NONE.with(Cancelled),
            Code::Grpc(4) => Conditions::NONE.with(DeadlineExceeded),
            Code::Grpc(8) => Conditions::NONE.with(ResourceExhausted),
            Code::Grpc(13) => Conditions::NONE.with(Internal),
            Code::Grpc(14) => Conditions::NONE.with(Unavailable),
            Code::Dubbo(_) if code.outcome().is_failure() => Conditions::NONE.with(ServerError),
            _ => Conditions::NONE,
        };
        let taken_for_unavailable = grpc && matches!(code, Code::Http(429 | 502..=504));
        Self { happened: if taken_for_unavailable { happened.with(Unavailable) } else { happened }, ..Self::DONE }
    }

    pub(crate) fn of_cause(cause: Cause, grpc: bool) -> Self {
        let (condition, sureness) = match cause {
            Cause::Connect => (Condition::ConnectFailure, Seen::No),
            Cause::Refused => (Condition::RefusedStream, Seen::No),
            Cause::Reset => (Condition::Reset, Seen::Perhaps),
        };
        let happened = Conditions::NONE.with(condition);
        Self { happened: if grpc { happened.with(Condition::Unavailable) } else { happened }, sureness, ..Self::DONE }
    }

    /// A refusal of ours would only be repeated, unless it lies in the endpoint.
    pub(crate) fn of_rejection(rejection: &Rejection, grpc: bool) -> Self {
        if rejection.may_go_elsewhere() {
            return Self::ELSEWHERE;
        }
        match (rejection.kind(), rejection.answer()) {
            (Kind::Timeout, _) => {
                let happened = Conditions::NONE.with(Condition::GatewayError);
                Self {
                    happened: if grpc { happened.with(Condition::DeadlineExceeded) } else { happened },
                    ..Self::DONE
                }
            }
            // an injected fault is to be taken for what it plays
            (Kind::Fault, Some(Answer::Code(code))) => Self::of_code(code, grpc),
            (Kind::Fault, Some(Answer::Reset)) => Self::of_cause(Cause::Reset, grpc),
            _ => Self::DONE,
        }
    }

    /// Whether the request was not sent on.
    pub(crate) fn is_local(&self) -> bool {
        self.sureness == Seen::NotSent
    }

    pub(crate) fn pushback(&self) -> Pushback {
        self.pushback
    }

    /// Whether another attempt is wanted. `repeatable`: the request may be sent again after it may have been acted on.
    pub(crate) fn wants_another(&self, settings: &RetrySettings, repeatable: bool) -> bool {
        match self.sureness {
            Seen::Whatever | Seen::NotSent => true,
            Seen::No => settings.on.match_any(self.happened),
            Seen::Perhaps => repeatable && settings.on.match_any(self.happened),
        }
    }
}

/// `grpc-retry-pushback-ms` (gRFC A6: what is no number from 0 says *never*), or the seconds of `retry-after`; a date
/// there is passed over, since decisions take no wall clock.
fn pushback(head: &dyn Head) -> Pushback {
    let number = |value: &[u8]| std::str::from_utf8(value).ok()?.trim().parse::<u32>().ok();
    if let Some(value) = head.get("grpc-retry-pushback-ms") {
        return number(value).map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis.into())));
    }
    match head.get("retry-after").and_then(number) {
        Some(seconds) => Pushback::After(Duration::from_secs(seconds.into())),
        None => Pushback::None,
    }
}
