//! What ends say of another attempt: the tables of conditions, and the backoff.

use crate::{BackoffSettings, Condition, Conditions, RetrySettings, Verdict};
use mesh_core::{Answer, Cause, Code, Kind, Rejection};
use std::time::Duration;

fn on(conditions: &[Condition]) -> RetrySettings {
    RetrySettings { on: conditions.iter().copied().collect(), ..RetrySettings::default() }
}

/// The conditions that each alone want another attempt.
fn wanted_by(verdict: Verdict) -> Vec<&'static str> {
    Condition::ALL.into_iter().filter(|one| verdict.wants_another(&on(&[*one]), true)).map(Condition::as_str).collect()
}

#[test]
fn conditions_of_codes() {
    let http = |status| wanted_by(Verdict::of_code(Code::Http(status), false));
    let grpc = |status| wanted_by(Verdict::of_code(Code::Grpc(status), true));
    for status in [200, 302, 400, 404, 408, 429] {
        assert!(http(status).is_empty(), "{status}");
    }
    assert_eq!(http(409), ["retriable-4xx"]);
    for status in [500, 501, 505, 599] {
        assert_eq!(http(status), ["5xx"], "{status}");
    }
    for status in [502, 503, 504] {
        assert_eq!(http(status), ["5xx", "gateway-error"], "{status}");
    }
    for (status, expected) in
        [(1, "cancelled"), (4, "deadline-exceeded"), (8, "resource-exhausted"), (13, "internal"), (14, "unavailable")]
    {
        assert_eq!(grpc(status), [expected]);
    }
    for status in [0, 2, 3, 5, 6, 7, 9, 10, 11, 12, 15, 16, 99] {
        assert!(grpc(status).is_empty(), "{status}");
    }
    assert_eq!(wanted_by(Verdict::of_code(Code::Http(429), true)), ["unavailable"]);
    assert_eq!(wanted_by(Verdict::of_code(Code::Http(503), true)), ["5xx", "gateway-error", "unavailable"]);
    assert_eq!(wanted_by(Verdict::of_code(Code::Dubbo(70), false)), ["5xx"]);
    assert!(wanted_by(Verdict::of_code(Code::Dubbo(40), false)).is_empty());
    assert!(wanted_by(Verdict::of_code(Code::None, false)).is_empty());
}

#[test]
fn conditions_of_errors() {
    let causes = [
        (Cause::Connect, "connect-failure", true),
        (Cause::Refused, "refused-stream", true),
        (Cause::Reset, "reset", false),
    ];
    for (cause, name, whatever_the_method) in causes {
        let verdict = Verdict::of_cause(cause, false);
        assert_eq!(wanted_by(verdict), ["5xx", "gateway-error", name]);
        assert_eq!(verdict.wants_another(&RetrySettings::default(), false), whatever_the_method, "{name}");
        assert_eq!(wanted_by(Verdict::of_cause(cause, true)), ["5xx", "gateway-error", name, "unavailable"]);
    }
}

#[test]
fn refusals_of_ours_are_not_repeated_unless_they_lie_in_the_endpoint() {
    for kind in Kind::ALL {
        let wanted = wanted_by(Verdict::of_rejection(&Rejection::new(kind), false));
        match kind {
            Kind::Timeout => assert_eq!(wanted, ["5xx", "gateway-error"]),
            _ => assert!(wanted.is_empty(), "{kind:?}"),
        }
        let elsewhere = Verdict::of_rejection(&Rejection::new(kind).elsewhere(), false);
        assert!(elsewhere.wants_another(&on(&[]), false) && elsewhere.is_local(), "{kind:?}");
    }
    let late = Verdict::of_rejection(&Rejection::new(Kind::Timeout), true);
    assert_eq!(wanted_by(late), ["5xx", "gateway-error", "deadline-exceeded"]);
    let fault = |answer| wanted_by(Verdict::of_rejection(&Rejection::fault(answer), false));
    assert_eq!(fault(Answer::Code(Code::Http(500))), ["5xx"]);
    assert_eq!(fault(Answer::Code(Code::Grpc(14))), ["unavailable"]);
    assert_eq!(fault(Answer::Reset), ["5xx", "gateway-error", "reset"]);
}

#[test]
fn a_set_of_conditions() {
    let set = Conditions::DEFAULT;
    assert_eq!(format!("{set:?}"), r#"["connect-failure", "refused-stream", "reset", "unavailable"]"#);
    assert_eq!(set.iter().collect::<Conditions>(), set);
    assert!(!set.contains(Condition::ServerError) && Conditions::NONE.is_empty());
}

#[test]
fn waits_double_up_to_the_longest() {
    let backoff = BackoffSettings::default();
    let longest: Vec<u128> = (0..6).map(|retry| backoff.longest(retry).as_millis()).collect();
    assert_eq!(longest, [25, 50, 100, 200, 250, 250]);
    for far in [31, 32, 33, u32::MAX] {
        assert_eq!(backoff.longest(far), backoff.max);
    }
    // from nothing to all of it: the mean of many is half
    fastrand::seed(7);
    let waits: Vec<Duration> = (0..10_000).map(|_| backoff.draw(2)).collect();
    assert!(waits.iter().all(|wait| *wait <= backoff.longest(2)));
    let mean = waits.iter().sum::<Duration>() / 10_000;
    // one hundredth of the range is 3.5 standard errors
    assert!(mean.abs_diff(Duration::from_millis(50)) < Duration::from_millis(2), "{mean:?}");
    assert_eq!(BackoffSettings { base: Duration::ZERO, ..backoff }.draw(5), Duration::ZERO);
}
