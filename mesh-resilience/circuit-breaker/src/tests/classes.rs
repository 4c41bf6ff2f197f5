//! What counts as a failure.

use crate::{
    FailureSettings, GrpcCode, Statuses,
    failure::{Failures, class_of},
    policy::Class,
};
use mesh_core::{At, Code, Context, End, Kind, Nanos, Outcome, Rejection, Side, Verdict};
use std::time::Duration;

fn classify_at(settings: &FailureSettings, verdict: Verdict, began: u64, now: u64, context: &Context) -> Class {
    let at = At::known(Nanos::from_nanos(now));
    Failures::new(settings).classify(&End::new(verdict, &at, context), began)
}

fn classify(settings: &FailureSettings, verdict: Verdict) -> Class {
    classify_at(settings, verdict, 0, 1, &Context::none())
}

fn of_code(settings: &FailureSettings, code: Code) -> Class {
    classify(settings, Verdict::of_code(code))
}

#[test]
fn the_default_is_that_of_every_code() {
    let settings = FailureSettings::default();
    let expected = |code: Code| if code.outcome() == Outcome::Failure { Class::Failure } else { Class::Success };
    for code in (100..=599).map(Code::Http).chain((0..=20).map(Code::Grpc)).chain((0..=255).map(Code::Dubbo)) {
        assert_eq!(of_code(&settings, code), expected(code), "{code:?}");
    }
}

#[test]
fn codes_of_ones_own() {
    let settings = FailureSettings {
        http: vec![Statuses::new(429, 429).unwrap(), "5xx".parse().unwrap()],
        grpc: vec!["resource_exhausted".parse().unwrap()],
        transport: false,
        dropped_after: None,
    };
    for (code, class) in [
        (Code::Http(429), Class::Failure),
        (Code::Http(501), Class::Failure),
        (Code::Http(428), Class::Success),
        (Code::Http(999), Class::Success),
        (Code::Grpc(8), Class::Failure),
        (Code::Grpc(14), Class::Success),
        (Code::Grpc(17), Class::Failure),
    ] {
        assert_eq!(of_code(&settings, code), class, "{code:?}");
    }
    let broken = Verdict { outcome: Outcome::Failure, side: Side::Upstream, code: Code::Http(200) };
    let unanswered = Verdict::without_answer(Outcome::Failure, Side::Upstream);
    for verdict in [broken, unanswered] {
        assert_eq!(classify(&settings, verdict), Class::Success);
        assert_eq!(classify(&FailureSettings::default(), verdict), Class::Failure);
    }
}

#[test]
fn a_timeout_counts_and_a_refusal_does_not() {
    let settings = FailureSettings::default();
    let (at, context) = (At::unread(), Context::none());
    for kind in Kind::ALL {
        let (rejection, failures) = (Rejection::new(kind), Failures::new(&settings));
        let class = failures.classify(&End::refused(&rejection, &at, &context), 0);
        let expected = if matches!(kind, Kind::Timeout | Kind::Foreign) { Class::Failure } else { Class::Ignored };
        assert_eq!(class, expected, "{kind:?}");
    }
    let timed_out = Verdict::without_answer(Outcome::TimedOut, Side::Upstream);
    assert_eq!(classify(&settings, timed_out), Class::Failure);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_counts_where_it_took_too_long() {
    const SECOND: u64 = 1_000_000_000;
    let dropped = Verdict::without_answer(Outcome::Cancelled, Side::Downstream);
    let plain = FailureSettings::default();
    let after = FailureSettings { dropped_after: Some(Duration::from_secs(2)), ..FailureSettings::default() };
    let none = Context::none();
    assert_eq!(classify_at(&plain, dropped, 0, 99 * SECOND, &none), Class::Ignored);
    assert_eq!(classify_at(&after, dropped, SECOND, 3 * SECOND - 1, &none), Class::Ignored);
    assert_eq!(classify_at(&after, dropped, SECOND, 3 * SECOND, &none), Class::Failure);
    let context = Context::begin(Nanos::from_nanos(SECOND), None);
    context.limit_deadline(Nanos::from_nanos(9 * SECOND));
    assert_eq!(classify_at(&plain, dropped, 0, 9 * SECOND - 1, &context), Class::Ignored);
    assert_eq!(classify_at(&plain, dropped, 0, 9 * SECOND, &context), Class::Failure);
    // nor does a classifier of one's own have to know this
    let at = At::known(Nanos::from_nanos(9 * SECOND));
    let end = End::new(dropped, &at, &context);
    assert_eq!(class_of(Outcome::Cancelled, &Failures::new(&plain), &end, 0), Class::Failure);
    assert_eq!(class_of(Outcome::Failure, &Failures::new(&plain), &end, 0), Class::Failure);
}

#[test]
fn how_they_are_written() {
    assert_eq!("14".parse::<GrpcCode>().unwrap(), "unavailable".parse().unwrap());
    assert_eq!("14".parse::<GrpcCode>().unwrap().to_string(), "unavailable");
    for text in ["", "0", "ok", "17", "UNAVAILABLE", "-1"] {
        assert!(text.parse::<GrpcCode>().is_err(), "{text}");
    }
}
