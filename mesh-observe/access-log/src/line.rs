//! Writing the line, when all is known.

use crate::{
    draft::{Draft, Speaks},
    escape::Mode,
    format::{Compiled, Part, Value},
    number::{push_address, push_id, push_ip, push_number, push_socket},
    operator::{GrpcForm, Operator},
};
use mesh_core::{
    Answer, Cause, Code, End, Kind, Name, Nanos, Outcome, Side,
    http::{grpc_status, http_status},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A request that has ended.
pub(crate) struct Ended<'a> {
    pub(crate) draft: &'a Draft,
    pub(crate) end: &'a End<'a>,
    pub(crate) arrived: Nanos,
    /// The time from its arrival to its end.
    pub(crate) duration: Duration,
}

impl<'a> Ended<'a> {
    pub(crate) fn new(draft: &'a Draft, end: &'a End<'a>) -> Self {
        let arrived = end.context().arrived().unwrap_or(draft.began);
        Self { draft, end, arrived, duration: end.at().now().since(arrived) }
    }

    /// Appends the line.
    pub(crate) fn write(&self, format: &Compiled, into: &mut Vec<u8>) {
        for part in &format.parts {
            match part {
                Part::Literal(bytes) => into.extend_from_slice(bytes),
                Part::Value { value, whole } => self.value(value, *whole, format, into),
            }
        }
    }

    fn value(&self, value: &Value, whole: bool, format: &Compiled, into: &mut Vec<u8>) {
        let kept = |place| self.draft.value(place);
        let is_text = !matches!(value, Value::End(operator) if is_number(operator));
        let start = into.len();
        if whole && is_text {
            into.push(b'"');
        }
        let written = match value {
            Value::Request(slot) => kept(*slot).map(|value| into.extend_from_slice(value)).is_some(),
            Value::Response(slot) => {
                kept(format.request.len() + slot).map(|value| into.extend_from_slice(value)).is_some()
            }
            Value::End(operator) => self.operator(operator, format.mode, into),
        };
        match (written, whole) {
            (true, true) if is_text => into.push(b'"'),
            (true, _) => {}
            (false, true) => {
                into.truncate(start);
                into.extend_from_slice(b"null");
            }
            (false, false) => into.push(b'-'),
        }
    }

    /// Appends what the operator says; `false` where there is nothing to say.
    fn operator(&self, operator: &Operator, mode: Mode, into: &mut Vec<u8>) -> bool {
        let Self { draft, end, .. } = self;
        let context = end.context();
        let number = |number: Option<u64>, into: &mut Vec<u8>| match number {
            Some(number) => {
                push_number(into, number);
                true
            }
            None => false,
        };
        let name = |name: Name, into: &mut Vec<u8>| {
            mode.escape(name.as_str().as_bytes(), into);
            !name.is_none()
        };
        let word = |word: Option<&str>, into: &mut Vec<u8>| {
            into.extend_from_slice(word.unwrap_or("").as_bytes());
            word.is_some()
        };
        match operator {
            Operator::StartTime(format) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                format.write(now.saturating_sub(self.duration), into);
                true
            }
            Operator::ResponseCode => {
                let code = self.response_code();
                // as Envoy's, a text says 0 where there is none
                number(code.map(u64::from).or((mode == Mode::Text).then_some(0)), into)
            }
            Operator::ResponseCodeDetails => word(Some(self.details()), into),
            Operator::ResponseFlags => word(self.flags(), into),
            Operator::GrpcStatus(form) => match (self.grpc_status(), form) {
                (None, _) => false,
                (Some(status), GrpcForm::Number) => number(Some(status.into()), into),
                (Some(status), form) => match GRPC_NAMES.get(usize::from(status)) {
                    Some((camel, _)) if *form == GrpcForm::Camel => word(Some(camel), into),
                    Some((_, snake)) => word(Some(snake), into),
                    None => number(Some(status.into()), into),
                },
            },
            Operator::Duration => number(Some(millis(self.duration)), into),
            Operator::RequestDuration => {
                number(context.request_ended().map(|ended| millis(ended.since(self.arrived))), into)
            }
            Operator::ResponseDuration => number(draft.head_at.map(|head| millis(head.since(self.arrived))), into),
            Operator::BytesReceived => number(Some(context.request_bytes()), into),
            Operator::BytesSent => number(Some(end.response_bytes), into),
            Operator::UpstreamHost => {
                let shown =
                    context.endpoint().and_then(|id| id.with_address(|address| push_address(into, address, mode)));
                shown.is_some()
            }
            Operator::UpstreamCluster => name(context.cluster(), into),
            Operator::Attempts => number(Some(context.attempts().into()), into),
            Operator::RouteName => name(context.route(), into),
            Operator::ListenerName => name(context.listener(), into),
            Operator::RemoteAddress => context.peer().address.map(|address| push_socket(into, address)).is_some(),
            Operator::RemoteIp => context.peer().address.map(|address| push_ip(into, address.ip())).is_some(),
            Operator::RemotePort => number(context.peer().address.map(|address| address.port().into()), into),
            Operator::TraceId => context.trace().map(|trace| push_id(into, trace.trace_id)).is_some(),
            Operator::RejectedBy => name(end.rejection().map_or(Name::NONE, mesh_core::Rejection::layer), into),
            Operator::Outcome => word(Some(end.outcome.as_str()), into),
            // kept of the request and the head, never asked of the end
            Operator::Request { .. } | Operator::Response { .. } => false,
        }
    }

    /// The code that the client was answered. Where a refusal or an error is still to become an answer: the code that
    /// it becomes, by the one table there is of it.
    pub(crate) fn response_code(&self) -> Option<u16> {
        let (speaks, end) = (self.draft.speaks, self.end);
        match (end.rejection(), end.code) {
            // what was cut off had begun; of a fault the code is what it asks for
            (Some(rejection), code) if code != Code::None && rejection.kind() != Kind::Fault => {
                return self.of_code(code);
            }
            (Some(rejection), _) if rejection.answer() == Some(Answer::Reset) => return None,
            (Some(_), _) if speaks == Speaks::Grpc => return Some(200),
            (Some(rejection), _) if speaks == Speaks::Http => return Some(http_status(rejection).as_u16()),
            (_, Code::None) => {}
            (_, code) => return self.of_code(code),
        }
        match (end.outcome, end.side) {
            _ if speaks == Speaks::Other => None,
            (Outcome::Cancelled, _) => Some(499),
            (Outcome::TimedOut | Outcome::Failure, Side::Upstream | Side::Downstream) if speaks == Speaks::Grpc => {
                Some(200)
            }
            (Outcome::TimedOut, _) => Some(504),
            (Outcome::Failure, Side::Upstream) => Some(502),
            (Outcome::Failure, Side::Downstream) => Some(400),
            _ => None,
        }
    }

    fn of_code(&self, code: Code) -> Option<u16> {
        match code {
            Code::None => None,
            Code::Http(status) => Some(status),
            // a gRPC answer is HTTP 200, whatever it says
            Code::Grpc(_) => (self.draft.speaks != Speaks::Other).then_some(200),
            Code::Dubbo(status) => Some(status.into()),
        }
    }

    fn grpc_status(&self) -> Option<u16> {
        let end = self.end;
        match (end.code, end.rejection()) {
            (Code::Grpc(status), _) => Some(status),
            _ if self.draft.speaks != Speaks::Grpc => None,
            (_, Some(rejection)) => Some(grpc_status(rejection)),
            _ => match (end.outcome, end.side) {
                (Outcome::Cancelled, _) => Some(1),
                (Outcome::TimedOut, _) => Some(4),
                (Outcome::Failure, Side::Upstream) => Some(14),
                (Outcome::Failure, _) => Some(13),
                _ => None,
            },
        }
    }

    /// Whether the answer broke off: its code says it went well, and it did not.
    fn broke_off(&self) -> bool {
        !matches!(self.end.code, Code::None) && !self.end.code.outcome().is_failure()
    }

    /// Envoy's letters, where one of them says what happened.
    fn flags(&self) -> Option<&'static str> {
        if let Some(rejection) = self.end.rejection() {
            return match rejection.kind() {
                Kind::NoRoute => Some("NR"),
                Kind::NoEndpoint => Some("UH"),
                Kind::Saturated | Kind::CircuitOpen | Kind::PoolFull => Some("UO"),
                Kind::RateLimited => Some("RL"),
                Kind::Forbidden => Some("UAEX"),
                Kind::Timeout => Some("UT"),
                Kind::Fault => Some("FI"),
                Kind::Malformed
                | Kind::HeaderTimeout
                | Kind::BodyTooLarge
                | Kind::UriTooLong
                | Kind::HeadersTooLarge => Some("DPE"),
                Kind::Foreign => Some("LR"),
            };
        }
        match (self.end.outcome, self.end.side) {
            (Outcome::Success, _) | (Outcome::Rejected, _) => None,
            (Outcome::Cancelled, _) => Some("DC"),
            (Outcome::TimedOut, _) => Some("UT"),
            (Outcome::Failure, Side::Downstream) => Some("DPE"),
            (Outcome::Failure, Side::Ours) => Some("LR"),
            (Outcome::Failure, Side::Upstream) => match self.end.cause() {
                Some(Cause::Connect) => Some("UF"),
                Some(Cause::Refused) => Some("UR"),
                Some(Cause::Reset) => Some("UC"),
                None if self.broke_off() => Some("UC"),
                None => None,
            },
        }
    }

    fn details(&self) -> &'static str {
        if let Some(rejection) = self.end.rejection() {
            return rejection.kind().as_str();
        }
        match self.end.cause() {
            Some(Cause::Connect) => return "upstream_reset_before_response_started{connection_failure}",
            Some(Cause::Refused) => return "upstream_reset_before_response_started{remote_refused_stream_reset}",
            Some(Cause::Reset) => return "upstream_reset_before_response_started{connection_termination}",
            None => {}
        }
        match (self.end.outcome, self.end.side) {
            (Outcome::Cancelled, _) => "downstream_remote_disconnect",
            (Outcome::TimedOut, _) => "timeout",
            (Outcome::Failure, Side::Downstream) => "downstream_error",
            (Outcome::Failure, Side::Ours) => "internal_error",
            (Outcome::Failure, Side::Upstream) if self.broke_off() => "upstream_reset_after_response_started",
            _ if self.end.context().cluster().is_none() => "direct_response",
            _ => "via_upstream",
        }
    }
}

/// Whether it is a number in JSON.
fn is_number(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::ResponseCode
            | Operator::GrpcStatus(GrpcForm::Number)
            | Operator::Duration
            | Operator::RequestDuration
            | Operator::ResponseDuration
            | Operator::BytesReceived
            | Operator::BytesSent
            | Operator::Attempts
            | Operator::RemotePort
    )
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The statuses of gRPC by number, as Envoy writes them.
const GRPC_NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];
