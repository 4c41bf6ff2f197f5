use crate::b3::{B3Context, Decision, Ids, LONGEST, format, parse, parse_multi};
use proptest::prelude::*;

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SPAN: &str = "e457b5a2e4d86bd1";

fn ids(is_narrow: bool) -> Option<Ids> {
    let trace_id = u128::from_str_radix(if is_narrow { &TRACE[16..] } else { TRACE }, 16).unwrap();
    Some(Ids { trace_id, span_id: u64::from_str_radix(SPAN, 16).unwrap(), is_narrow })
}

#[test]
fn the_single_header() {
    let (wide, narrow) = (ids(false), ids(true));
    let short = &TRACE[16..];
    for (text, expected) in [
        (format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"), Some((wide, Some(Decision::Accept)))),
        (format!("{TRACE}-{SPAN}-0"), Some((wide, Some(Decision::Deny)))),
        (format!("{TRACE}-{SPAN}-d"), Some((wide, Some(Decision::Debug)))),
        (format!("{TRACE}-{SPAN}"), Some((wide, None))),
        (format!("{short}-{SPAN}-1"), Some((narrow, Some(Decision::Accept)))),
        ("0".into(), Some((None, Some(Decision::Deny)))),
        ("1".into(), Some((None, Some(Decision::Accept)))),
        ("d".into(), Some((None, Some(Decision::Debug)))),
        ("2".into(), None),
        (String::new(), None),
        (format!("{TRACE}-{SPAN}-"), None),
        (format!("{TRACE}-{SPAN}-2"), None),
        (format!("{TRACE}-{SPAN}-1-"), None),
        (format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b9"), None),
        (format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90-"), None),
        (format!("{TRACE}-"), None),
        (TRACE.into(), None),
        (format!("{}-{SPAN}-1", TRACE.to_uppercase()), None),
        (format!("{}-{SPAN}-1", &TRACE[1..]), None),
        (format!("{}-{SPAN}-1", "0".repeat(32)), None),
        (format!("{TRACE}-{}-1", "0".repeat(16)), None),
    ] {
        let expected = expected.map(|(ids, decision)| B3Context { ids, decision });
        assert_eq!(parse(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn the_multiple_headers() {
    let read = |headers: &[(&str, &'static str)]| {
        let get = |name: &str| headers.iter().find(|one| one.0 == name).map(|one| one.1.as_bytes());
        parse_multi(get("x-b3-traceid"), get("x-b3-spanid"), get("x-b3-sampled"), get("x-b3-flags"))
            .map(|b3| (b3.ids.is_some(), b3.decision))
    };
    let (trace, span) = (("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN));
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[trace, span]), Some((true, None)));
    assert_eq!(read(&[trace, span, ("x-b3-sampled", "1")]), Some((true, Some(Decision::Accept))));
    assert_eq!(read(&[trace, span, ("x-b3-sampled", "true")]), Some((true, Some(Decision::Accept))));
    assert_eq!(read(&[trace, span, ("x-b3-sampled", "0")]), Some((true, Some(Decision::Deny))));
    assert_eq!(read(&[trace, span, ("x-b3-flags", "1")]), Some((true, Some(Decision::Debug))));
    assert_eq!(read(&[("x-b3-sampled", "0")]), Some((false, Some(Decision::Deny))));
    assert_eq!(read(&[trace, span, ("x-b3-sampled", "yes")]), None);
    assert_eq!(read(&[trace]), None);
    assert_eq!(read(&[span, ("x-b3-sampled", "1")]), None);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        trace_id in 1..=u128::MAX,
        span_id in 1..=u64::MAX,
        is_narrow: bool,
        parent in proptest::option::of(1..=u64::MAX),
        decision in prop_oneof![Just(Decision::Deny), Just(Decision::Accept), Just(Decision::Debug)],
    ) {
        let trace_id = if is_narrow { (trace_id as u64).max(1).into() } else { trace_id };
        let ids = Ids { trace_id, span_id, is_narrow };
        let mut text = [0; LONGEST];
        let length = format(&ids, decision, parent, &mut text);
        prop_assert_eq!(parse(&text[..length]), Some(B3Context { ids: Some(ids), decision: Some(decision) }));
    }

    #[test]
    fn hostile_bytes(bytes: Vec<u8>) {
        let _ = parse(&bytes);
        let some = Some(&bytes[..]);
        let _ = parse_multi(some, some, some, some);
    }
}
