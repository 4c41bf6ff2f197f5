//! When is asked, and what is said, in virtual time.

use super::*;

fn host() -> DnsSettings {
    DnsSettings::host("orders.", 80)
}

/// Asked at these times, each up to a tenth of its wait late.
fn assert_times(times: &[Duration], waits: &[u64]) {
    assert_eq!(times.len(), waits.len(), "{times:?}");
    for (pair, wait) in times.windows(2).zip(&waits[1..]) {
        let (waited, wait) = (pair[1] - pair[0], Duration::from_secs(*wait));
        // a timer is up to 1 ms late
        assert!(wait <= waited && waited <= wait.mul_f64(1.1) + Duration::from_millis(2), "{waited:?} for {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_good_for_its_ttl_within_bounds_and_a_little_longer() {
    let script = Script::default();
    let settings = DnsSettings { min_ttl: 5 * SECOND, max_ttl: 60 * SECOND, ..host() };
    let start = Instant::now();
    script.tell("orders.", Kind::A, a(&["10.0.0.2", "10.0.0.1"], 30));
    let mut updates = script.updates(settings);
    let expected = ["10.0.0.1:80", "10.0.0.2:80"];
    for ttl in [30, 0, 3600, 1, 60, 10] {
        assert_eq!(next(&mut updates, 3600 * SECOND).await.unwrap(), expected, "said again, in the same order");
        // the order of a server turns
        script.tell("orders.", Kind::A, a(&["10.0.0.1", "10.0.0.2"], ttl));
    }
    assert_times(&script.times(start), &[0, 30, 30, 5, 60, 5]);
    assert_eq!(script.0.lock().unwrap().connected, 1, "a connection that works is kept");
}

#[tokio::test(start_paused = true)]
async fn those_who_begin_together_do_not_ask_together() {
    let mut times = std::collections::HashSet::new();
    for seed in 0..50 {
        fastrand::seed(seed);
        let script = Script::default();
        script.tell("orders.", Kind::A, a(&["10.0.0.1"], 100));
        let start = Instant::now();
        let mut updates = script.updates(host());
        next(&mut updates, SECOND).await;
        next(&mut updates, 200 * SECOND).await;
        times.insert(script.times(start)[1].as_millis() / 100);
    }
    assert!(times.len() > 25, "{} different tenths of a second of 100", times.len());
}

#[tokio::test(start_paused = true)]
async fn a_failure_changes_nothing_and_is_tried_again_ever_more_slowly() {
    let script = Script::default();
    script.tell("orders.", Kind::A, a(&["10.0.0.1"], 10));
    let mut updates = script.updates(host());
    next(&mut updates, SECOND).await;
    script.times(Instant::now());
    script.tell("orders.", Kind::A, failed()).tell("orders.", Kind::Aaaa, failed());
    let start = Instant::now();
    assert_eq!(next(&mut updates, 3600 * SECOND).await, None, "nothing is said");
    let times = script.times(start);
    let waits: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    for (wait, whole) in waits.iter().zip([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]) {
        assert!(whole / 2.0 <= *wait && *wait <= whole + 0.002, "{waits:?}");
    }
    assert!(script.0.lock().unwrap().connected > 100, "each time with a new connection");
    // an answer ends it, and the waits begin anew
    script.tell("orders.", Kind::A, a(&["10.0.0.2"], 10));
    assert_eq!(next(&mut updates, 11 * SECOND).await.unwrap(), ["10.0.0.2:80"]);
    script.times(start);
    script.tell("orders.", Kind::A, failed());
    assert_eq!(next(&mut updates, 11 * SECOND + SECOND / 10).await, None);
    assert!(script.times(start).len() >= 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_before_there_is_an_answer() {
    let script = Script::default();
    script.tell("orders.", Kind::A, failed()).tell("orders.", Kind::Aaaa, failed());
    let mut updates = script.updates(host());
    assert_eq!(next(&mut updates, 100 * SECOND).await, None);
    script.tell("orders.", Kind::A, a(&["10.0.0.1"], 1));
    assert_eq!(next(&mut updates, 11 * SECOND).await.unwrap(), ["10.0.0.1:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_never_was_there_has_none_at_once() {
    let script = Script::default();
    let start = Instant::now();
    let mut updates = script.updates(DnsSettings { family: crate::Family::Ip4, ..host() });
    assert_eq!(next(&mut updates, SECOND).await.unwrap(), [""; 0]);
    for ttl in [None, Some(20), Some(3600), Some(0)] {
        script.tell("orders.", Kind::A, missing(ttl));
        assert_eq!(next(&mut updates, script_wait(ttl)).await, None, "once is enough");
    }
    let times = script.times(start);
    let slow = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(slow <= 33 * SECOND + SECOND / 100, "{slow:?}");
    script.tell("orders.", Kind::A, a(&["10.0.0.1"], 1));
    assert_eq!(next(&mut updates, 34 * SECOND).await.unwrap(), ["10.0.0.1:80"]);
}

fn script_wait(ttl: Option<u64>) -> Duration {
    Duration::from_secs(ttl.unwrap_or(5).clamp(1, 30) * 2)
}

#[tokio::test(start_paused = true)]
async fn endpoints_stay_for_the_grace_when_a_name_loses_them() {
    let script = Script::default();
    script.tell("orders.", Kind::A, a(&["10.0.0.1"], 1));
    let mut updates = script.updates(host());
    next(&mut updates, SECOND).await;

    // gone for a moment
    script.tell("orders.", Kind::A, missing(Some(1)));
    assert_eq!(next(&mut updates, 25 * SECOND).await, None);
    script.tell("orders.", Kind::A, a(&["10.0.0.1"], 1));
    assert_eq!(next(&mut updates, 2 * SECOND).await.unwrap(), ["10.0.0.1:80"]);
    during(&mut updates, 20 * SECOND, &["10.0.0.1:80"]).await;

    // gone for good, to the moment: a long negative TTL does not stretch the grace
    script.tell("orders.", Kind::A, missing(Some(3600)));
    let asked = script.times(Instant::now()).len();
    assert!(asked > 10);
    let begun = loop {
        if !is_pending(&mut updates).await {
            continue;
        }
        if !script.0.lock().unwrap().asked.is_empty() {
            break Instant::now();
        }
        tokio::time::sleep(SECOND / 100).await;
    };
    assert_eq!(next(&mut updates, 60 * SECOND).await.unwrap(), [""; 0]);
    let lasted = begun.elapsed();
    assert!(29 * SECOND < lasted && lasted <= 31 * SECOND, "{lasted:?}");

    // a failure meanwhile neither ends nor begins it
    script.tell("orders.", Kind::A, a(&["10.0.0.1"], 1));
    next(&mut updates, 40 * SECOND).await.unwrap();
    script.tell("orders.", Kind::A, missing(Some(1)));
    assert_eq!(next(&mut updates, 20 * SECOND).await, None);
    script.tell("orders.", Kind::A, failed()).tell("orders.", Kind::Aaaa, failed());
    assert_eq!(next(&mut updates, 100 * SECOND).await, None);
    script.tell("orders.", Kind::A, missing(Some(1))).tell("orders.", Kind::Aaaa, missing(None));
    assert_eq!(next(&mut updates, 12 * SECOND).await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_grace_they_go_with_the_first_such_answer() {
    let script = Script::default();
    script.tell("orders.", Kind::A, a(&["10.0.0.1"], 1));
    let mut updates = script.updates(DnsSettings { grace: Duration::ZERO, ..host() });
    next(&mut updates, SECOND).await;
    script.tell("orders.", Kind::A, missing(None));
    assert_eq!(next(&mut updates, 2 * SECOND).await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_updates_ends_the_questions() {
    let script = Script::default();
    script.tell("orders.", Kind::A, a(&["10.0.0.1"], 1));
    let (endpoints, driver) = mesh_core::Endpoints::new(script.updates(host()));
    let driver = driver.spawn();
    assert_eq!(endpoints.resolved(SECOND).await.unwrap().endpoints().len(), 1);
    tokio::time::sleep(10 * SECOND).await;
    assert!(script.asked().len() >= 9);
    assert_eq!(endpoints.load().version(), 1, "the same again is no new set");
    drop(driver);
    tokio::time::sleep(100 * SECOND).await;
    assert!(script.asked().len() <= 1);
    assert_eq!(Arc::strong_count(&script.0), 1);
    assert_eq!(endpoints.load().endpoints().len(), 1);
}
