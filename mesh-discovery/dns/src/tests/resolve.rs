//! What a query comes to.

use super::*;
use crate::{
    Family,
    resolve::{Memory, Outcome},
};
use proptest::prelude::*;

async fn resolve(memory: &mut Memory, settings: &DnsSettings, script: &Script) -> (Vec<String>, Option<Duration>) {
    match memory.resolve(settings, script).await {
        Outcome::Found { targets, ttl, .. } => (targets.iter().map(shown).collect(), Some(ttl)),
        Outcome::Missing { .. } => (vec!["missing".into()], None),
        Outcome::Failed(failure) => (vec![failure], None),
    }
}

async fn found(settings: &DnsSettings, script: &Script) -> Vec<String> {
    resolve(&mut Memory::default(), settings, script).await.0
}

#[tokio::test]
async fn a_family_decides_what_is_asked_and_what_counts() {
    let script = Script::default();
    let settings = |family| DnsSettings { family, ..DnsSettings::host("both.", 80) };
    script.tell("both.", Kind::A, a(&["10.0.0.1"], 9)).tell("both.", Kind::Aaaa, a(&["fd00::1"], 5));
    for (family, expected) in [
        (Family::PreferIp4, &["10.0.0.1:80"][..]),
        (Family::Ip4, &["10.0.0.1:80"]),
        (Family::Ip6, &["[fd00::1]:80"]),
        (Family::Both, &["10.0.0.1:80", "[fd00::1]:80"]),
    ] {
        assert_eq!(found(&settings(family), &script).await, expected, "{family:?}");
        assert_eq!(script.asked().len(), expected.len(), "{family:?}");
    }
    let both = resolve(&mut Memory::default(), &settings(Family::Both), &script).await;
    assert_eq!(both.1, Some(5 * SECOND), "the shorter TTL");

    script.tell("both.", Kind::A, missing(None));
    assert_eq!(found(&settings(Family::PreferIp4), &script).await, ["[fd00::1]:80"]);
    assert_eq!(found(&settings(Family::Ip4), &script).await, ["missing"]);
    assert_eq!(found(&settings(Family::Both), &script).await, ["[fd00::1]:80"]);
}

#[tokio::test]
async fn a_failure_of_one_family_does_not_take_its_endpoints_away() {
    let script = Script::default();
    let both = DnsSettings { family: Family::Both, ..DnsSettings::host("both.", 80) };
    let mut memory = Memory::default();
    script.tell("both.", Kind::A, failed()).tell("both.", Kind::Aaaa, missing(None));
    assert_eq!(
        resolve(&mut memory, &both, &script).await.0,
        ["no answer"],
        "half an answer is not that there are none"
    );
    script.tell("both.", Kind::A, a(&["10.0.0.1"], 9)).tell("both.", Kind::Aaaa, a(&["fd00::1"], 5));
    resolve(&mut memory, &both, &script).await;
    script.tell("both.", Kind::A, a(&["10.0.0.2"], 9)).tell("both.", Kind::Aaaa, failed());
    for _ in 0..2 {
        let outcome = memory.resolve(&both, &script).await;
        let Outcome::Found { targets, ttl, failure } = outcome else { panic!("{outcome:?}") };
        assert_eq!(targets.iter().map(shown).collect::<Vec<_>>(), ["10.0.0.2:80", "[fd00::1]:80"]);
        assert_eq!((ttl, failure), (9 * SECOND, Some("no answer".into())));
    }

    // IPv4 that fails does not make IPv6 preferred, as long as any is known
    let prefer = DnsSettings::host("both.", 80);
    let mut memory = Memory::default();
    resolve(&mut memory, &prefer, &script).await;
    script.tell("both.", Kind::A, failed()).tell("both.", Kind::Aaaa, a(&["fd00::1"], 5));
    assert_eq!(resolve(&mut memory, &prefer, &script).await.0, ["no answer"]);
    assert_eq!(found(&prefer, &script).await, ["[fd00::1]:80"]);
}

#[tokio::test]
async fn a_service_is_its_targets_of_lowest_priority_with_ports_and_weights() {
    let script = Script::default();
    let settings = DnsSettings::srv("_grpc._tcp.orders.");
    let services =
        [(10, 3, 81, "b."), (10, 1, 80, "a."), (20, 9, 80, "reserve."), (10, 5, 82, "gone."), (10, 2, 80, "also-a.")];
    script.tell("_grpc._tcp.orders.", Kind::Srv, srv(&services, 60));
    script.tell("a.", Kind::A, a(&["10.0.0.1"], 30)).tell("also-a.", Kind::A, a(&["10.0.0.1"], 60));
    script.tell("b.", Kind::A, a(&["10.0.0.3", "10.0.0.2"], 60)).tell("reserve.", Kind::A, a(&["10.0.0.9"], 1));
    let (targets, ttl) = resolve(&mut Memory::default(), &settings, &script).await;
    assert_eq!(targets, ["10.0.0.1:80*3", "10.0.0.2:81*3", "10.0.0.3:81*3"]);
    assert_eq!(ttl, Some(30 * SECOND), "that of the addresses counts, too");
    assert!(!script.asked().iter().any(|(name, _)| name == "reserve."), "who is not used is not asked for");

    script.tell("_grpc._tcp.orders.", Kind::Srv, srv(&[(0, 0, 80, ".")], 60));
    assert_eq!(found(&settings, &script).await, ["missing"], "decidedly not available");
    script.tell("_grpc._tcp.orders.", Kind::Srv, missing(None));
    assert_eq!(found(&settings, &script).await, ["missing"]);
}

#[tokio::test]
async fn weight_0_is_a_very_small_chance_unless_it_is_everybodys() {
    let script = Script::default();
    let settings = DnsSettings::srv("s.");
    script.tell("a.", Kind::A, a(&["10.0.0.1"], 1)).tell("b.", Kind::A, a(&["10.0.0.2"], 1));
    for (a, b, expected) in [
        (0, 0, ["10.0.0.1:1", "10.0.0.2:1"]),
        (0, 1, ["10.0.0.1:1", "10.0.0.2:1*100"]),
        (65535, 0, ["10.0.0.1:1*6553500", "10.0.0.2:1"]),
    ] {
        script.tell("s.", Kind::Srv, srv(&[(1, a, 1, "a."), (1, b, 1, "b.")], 1));
        assert_eq!(found(&settings, &script).await, expected);
    }
}

#[tokio::test]
async fn a_target_that_cannot_be_asked_keeps_its_addresses_and_one_that_left_is_forgotten() {
    let script = Script::default();
    let settings = DnsSettings::srv("s.");
    let mut memory = Memory::default();
    let two = srv(&[(1, 1, 1, "a."), (1, 1, 1, "b.")], 1);
    script.tell("s.", Kind::Srv, two.clone());
    script.tell("a.", Kind::A, a(&["10.0.0.1"], 1)).tell("b.", Kind::A, a(&["10.0.0.2"], 1));
    resolve(&mut memory, &settings, &script).await;
    script.tell("a.", Kind::A, failed()).tell("a.", Kind::Aaaa, failed()).tell("b.", Kind::A, a(&["10.0.0.3"], 1));
    assert_eq!(resolve(&mut memory, &settings, &script).await.0, ["10.0.0.1:1", "10.0.0.3:1"]);
    // the service itself cannot be asked: its last targets count, with their addresses of today
    script.tell("s.", Kind::Srv, failed()).tell("b.", Kind::A, a(&["10.0.0.4"], 1));
    assert_eq!(resolve(&mut memory, &settings, &script).await.0, ["10.0.0.1:1", "10.0.0.4:1"]);
    script.tell("s.", Kind::Srv, srv(&[(1, 1, 1, "b.")], 1));
    assert_eq!(resolve(&mut memory, &settings, &script).await.0, ["10.0.0.4:1"]);
    script.tell("s.", Kind::Srv, two);
    assert_eq!(resolve(&mut memory, &settings, &script).await.0, ["10.0.0.4:1"]);
}

#[tokio::test]
async fn many_targets_are_all_asked_for() {
    let script = Script::default();
    let names: Vec<String> = (0..100).map(|number| format!("t{number}.")).collect();
    let services: Vec<_> = names.iter().map(|name| (1, 1, 80, name.as_str())).collect();
    script.tell("s.", Kind::Srv, srv(&services, 1));
    for (number, name) in names.iter().enumerate() {
        script.tell(name, Kind::A, a(&[&format!("10.0.1.{number}")], 1));
    }
    assert_eq!(found(&DnsSettings::srv("s."), &script).await.len(), 100);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever order servers answer in, the endpoints are the same, sorted, each once.
    #[test]
    fn the_order_of_an_answer_does_not_matter(
        mut services in proptest::collection::vec((0_u16..3, 0_u16..5, 1_u16..4, 0_u8..6), 1..12),
        rotation in 0_usize..12,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let script = Script::default();
        let names: Vec<String> = (0..6).map(|number| format!("t{number}.")).collect();
        for (number, name) in names.iter().enumerate().skip(1) {
            script.tell(name, Kind::A, a(&[&format!("10.0.0.{}", number / 2)], 1));
        }
        let ask = |services: &[(u16, u16, u16, u8)]| {
            let records: Vec<_> =
                services.iter().map(|&(p, w, port, t)| (p, w, port, names[usize::from(t)].as_str())).collect();
            script.tell("s.", Kind::Srv, srv(&records, 1));
            runtime.block_on(Memory::default().resolve(&DnsSettings::srv("s."), &script))
        };
        let first = ask(&services);
        let length = services.len();
        services.rotate_left(rotation % length);
        prop_assert_eq!(&ask(&services), &first);
        if let Outcome::Found { targets, .. } = first {
            prop_assert!(targets.windows(2).all(|pair| pair[0].address < pair[1].address));
            prop_assert!(targets.iter().all(|target| target.weight > 0));
        }
    }
}
