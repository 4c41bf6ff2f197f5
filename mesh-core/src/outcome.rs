use crate::{At, Context, Head, Rejection};
use std::{cell::Cell, error::Error, fmt, io, sync::Arc};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was answered, and the answer blames nobody below: a client's error (HTTP 4xx) is one.
    Success,
    /// What is below has failed.
    Failure,
    /// A layer of ours refused it.
    Rejected,
    /// Whoever asked went away first.
    Cancelled,
    /// It was given up because it took too long.
    TimedOut,
}

impl Outcome {
    /// The name that metrics and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Rejected => "rejected",
            Outcome::Cancelled => "cancelled",
            Outcome::TimedOut => "timed_out",
        }
    }

    /// Whether what is below is to blame: a failure, or it took too long.
    pub const fn is_failure(self) -> bool {
        matches!(self, Outcome::Failure | Outcome::TimedOut)
    }
}

/// Who decided how a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client: a malformed request, a broken or abandoned one.
    Downstream,
    /// A layer of ours.
    Ours,
    /// What is called. Only its failures count against an endpoint.
    Upstream,
}

/// The status code of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Code {
    /// There was no answer, or the protocol has no codes.
    #[default]
    None,
    /// An HTTP status.
    Http(u16),
    /// A gRPC status, from the trailers or from a head without a body.
    Grpc(u16),
    /// A Dubbo response status.
    Dubbo(u8),
}

impl Code {
    /// The class that metrics use as `status_class`: `2xx` for HTTP, the number for gRPC and Dubbo, `none`.
    pub fn class(self) -> &'static str {
        const GRPC: [&str; 17] =
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];
        match self {
            Code::None => "none",
            Code::Http(status) => match status / 100 {
                1 => "1xx",
                2 => "2xx",
                3 => "3xx",
                4 => "4xx",
                5 => "5xx",
                _ => "other",
            },
            Code::Grpc(status) => GRPC.get(usize::from(status)).copied().unwrap_or("other"),
            Code::Dubbo(status) => match status {
                20 => "20",
                30 => "30",
                31 => "31",
                35 => "35",
                40 => "40",
                50 => "50",
                60 => "60",
                70 => "70",
                80 => "80",
                90 => "90",
                100 => "100",
                _ => "other",
            },
        }
    }

    /// What the code says by default of the thing called (`resilience4j` and Envoy agree but for 501): a failure is
    /// an HTTP 5xx except 501 and a gRPC 2, 4, 13, 14, 15; every other answer is a success.
    pub const fn outcome(self) -> Outcome {
        match self {
            Code::None => Outcome::Success,
            Code::Http(status) if status >= 500 && status != 501 => Outcome::Failure,
            Code::Http(_) => Outcome::Success,
            Code::Grpc(2 | 4 | 13 | 14 | 15) => Outcome::Failure,
            // a number outside the table is the peer's mistake
            Code::Grpc(0..=16) => Outcome::Success,
            Code::Grpc(_) => Outcome::Failure,
            Code::Dubbo(20 | 40 | 90) => Outcome::Success,
            Code::Dubbo(_) => Outcome::Failure,
        }
    }
}

/// Outcome, side and code together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How the call ended.
    pub outcome: Outcome,
    /// Who decided it.
    pub side: Side,
    /// The status code that was answered.
    pub code: Code,
}

impl Verdict {
    /// What an answer with this code from upstream means by default.
    pub const fn of_code(code: Code) -> Self {
        Self { outcome: code.outcome(), side: Side::Upstream, code }
    }

    /// An end without an answer.
    pub const fn without_answer(outcome: Outcome, side: Side) -> Self {
        Self { outcome, side, code: Code::None }
    }

    /// What a ticket hears that is dropped without being told: what [`drop_as`] says, else *cancelled*; in a panic,
    /// a failure.
    pub(crate) fn of_drop() -> Self {
        if std::thread::panicking() {
            return Self::without_answer(Outcome::Failure, Side::Ours);
        }
        let outcome = DROPPED_AS.try_with(Cell::get).unwrap_or(Outcome::Cancelled);
        let side = if outcome.is_failure() { Side::Upstream } else { Side::Downstream };
        Self::without_answer(outcome, side)
    }
}

/// How a call failed that brought no answer, and so whether what was called can have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// There was no connection: nothing was sent.
    Connect,
    /// What is called refused the request before it looked at it: an HTTP/2 `REFUSED_STREAM`.
    Refused,
    /// Anything else: what is called may have seen the request, and acted on it.
    Reset,
}

impl Cause {
    pub(crate) const ALL: [Cause; 3] = [Cause::Connect, Cause::Refused, Cause::Reset];

    /// What the I/O error behind an error says; [`Cause::Reset`] where there is none, since nothing is known then.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut error = Some(error);
        while let Some(present) = error {
            error = present.source();
            if let Some(io) = present.downcast_ref::<io::Error>() {
                let unreachable = matches!(
                    io.kind(),
                    io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::HostUnreachable
                        | io::ErrorKind::NetworkUnreachable
                );
                if unreachable {
                    return Cause::Connect;
                }
                // the source of an I/O error is that of the error within
                error = io.get_ref().map(|within| within as &(dyn Error + 'static)).or(error);
            }
        }
        Cause::Reset
    }
}

/// What a layer hears when a request is over.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// How it ended, by the default verdict. A layer that judges takes a [`Classifier`].
    pub outcome: Outcome,
    /// Who decided that.
    pub side: Side,
    /// The status code, from the head or from the trailers.
    pub code: Code,
    /// Bytes of the answer's body that were handed on.
    pub response_bytes: u64,
    rejection: Option<&'a Rejection>,
    at: &'a At,
    context: &'a Context,
}

impl<'a> End<'a> {
    /// The end of the call that `context` belongs to.
    pub fn new(verdict: Verdict, at: &'a At, context: &'a Context) -> Self {
        let Verdict { outcome, side, code } = verdict;
        Self { outcome, side, code, response_bytes: 0, rejection: None, at, context }
    }

    /// The same, refused by one of ours, or cut off by it when the answer had begun.
    pub fn refused(rejection: &'a Rejection, at: &'a At, context: &'a Context) -> Self {
        // an injected fault says which code it stands for, what was cut off with which it had begun; that of others is
        // their codec's
        let verdict = Verdict { code: rejection.code(), ..rejection.kind().verdict() };
        Self { rejection: Some(rejection), ..Self::new(verdict, at, context) }
    }

    pub(crate) fn with_bytes(self, response_bytes: u64) -> Self {
        Self { response_bytes, ..self }
    }

    pub(crate) fn with_context(self, context: &'a Context) -> Self {
        if context.is_some() { Self { context, ..self } } else { self }
    }

    /// The refusal, where a layer further in refused.
    pub fn rejection(&self) -> Option<&'a Rejection> {
        self.rejection
    }

    /// How the call failed, where what is called failed without an answer. What calls it says so in the
    /// [record](Context::set_cause); where nobody has, nothing more is known: [`Cause::Reset`].
    pub fn cause(&self) -> Option<Cause> {
        let failed = self.outcome == Outcome::Failure && self.side == Side::Upstream;
        (failed && self.code == Code::None && self.rejection.is_none())
            .then(|| self.context.cause().unwrap_or(Cause::Reset))
    }

    /// The moment of the end; the clock is read by whoever asks first.
    pub fn at(&self) -> &'a At {
        self.at
    }

    /// The record of the request.
    pub fn context(&self) -> &'a Context {
        self.context
    }
}

impl fmt::Debug for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("outcome", &self.outcome)
            .field("side", &self.side)
            .field("code", &self.code)
            .field("rejection", &self.rejection)
            .finish_non_exhaustive()
    }
}

/// Judges an end. The default takes the outcome as it is: failures are transport errors, timeouts, HTTP 5xx except
/// 501 and gRPC 2, 4, 13, 14, 15.
#[derive(Clone, Default)]
pub struct Classifier(Option<Arc<Judge>>);

type Judge = dyn Fn(&End<'_>) -> Outcome + Send + Sync;

impl Classifier {
    /// A classifier of one's own.
    pub fn new(judge: impl Fn(&End<'_>) -> Outcome + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(judge)))
    }

    /// What this end counts as.
    pub fn classify(&self, end: &End<'_>) -> Outcome {
        match &self.0 {
            None => end.outcome,
            Some(judge) => judge(end),
        }
    }
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Classifier(custom)" } else { "Classifier(default)" })
    }
}

thread_local!(static DROPPED_AS: Cell<Outcome> = const { Cell::new(Outcome::Cancelled) });

/// Drops a call for a reason: the tickets that end inside `drop` hear `outcome` instead of *cancelled*. For whoever
/// gives a call up: a timeout, a hedge that was won elsewhere. Also right when `drop` panics.
pub fn drop_as(outcome: Outcome, drop: impl FnOnce()) {
    struct Restore(Outcome);
    impl Drop for Restore {
        fn drop(&mut self) {
            DROPPED_AS.with(|cell| cell.set(self.0));
        }
    }
    let _restore = Restore(DROPPED_AS.with(|cell| cell.replace(outcome)));
    drop();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_verdict() {
        for failure in [500, 502, 503, 504, 599] {
            assert_eq!(Code::Http(failure).outcome(), Outcome::Failure, "{failure}");
        }
        for success in [200, 304, 404, 429, 501] {
            assert_eq!(Code::Http(success).outcome(), Outcome::Success, "{success}");
        }
        let failures: Vec<u16> = (0..=16).filter(|c| Code::Grpc(*c).outcome() == Outcome::Failure).collect();
        assert_eq!(failures, [2, 4, 13, 14, 15]);
    }

    #[test]
    fn a_cause_is_looked_for_behind_an_error() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Cause::of(&io::Error::other(refused)), Cause::Connect);
        assert_eq!(Cause::of(&io::Error::from(io::ErrorKind::ConnectionReset)), Cause::Reset);
        assert_eq!(Cause::of(&fmt::Error), Cause::Reset);
    }

    #[test]
    fn a_panic_inside_drop_as_restores_the_reason() {
        let result = std::panic::catch_unwind(|| drop_as(Outcome::TimedOut, || panic!("in drop")));
        assert!(result.is_err());
        assert_eq!(Verdict::of_drop().outcome, Outcome::Cancelled);
        drop_as(Outcome::TimedOut, || assert_eq!(Verdict::of_drop().outcome, Outcome::TimedOut));
    }
}
