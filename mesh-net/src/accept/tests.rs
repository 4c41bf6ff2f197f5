//! The loop against scripted errors, in virtual time.

use std::collections::VecDeque;

use super::*;
use crate::Drain;

fn address() -> &'static Address {
    static ADDRESS: std::sync::LazyLock<Address> = std::sync::LazyLock::new(|| "127.0.0.1:1".parse().unwrap());
    &ADDRESS
}

fn os(code: i32) -> io::Result<u32> {
    Err(io::Error::from_raw_os_error(code))
}

/// A source that gives its script and is then silent.
fn script(results: impl IntoIterator<Item = io::Result<u32>>) -> impl FnMut(&mut Context<'_>) -> Poll<io::Result<u32>> {
    let mut results: VecDeque<_> = results.into_iter().collect();
    move |_| results.pop_front().map_or(Poll::Pending, Poll::Ready)
}

#[tokio::test(start_paused = true)]
async fn a_failed_connection_is_passed_over_at_once() {
    let drain = Drain::new();
    let source = script([os(libc::ECONNABORTED), os(libc::EPROTO), os(libc::EPERM), Ok(7)]);
    let start = Instant::now();
    let got = next(source, &drain.watch(), &mut Pauses::default(), address()).await.unwrap();
    assert_eq!(got, Some(7));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_shortage_pauses_twice_as_long_each_time_up_to_a_second_and_begins_anew() {
    let drain = Drain::new();
    let watch = drain.watch();
    let mut pauses = Pauses::default();
    let mut source = script((0..10).map(|_| os(libc::EMFILE)).chain([Ok(1), os(libc::ENOMEM), Ok(2)]));
    let start = Instant::now();
    assert_eq!(next(&mut source, &watch, &mut pauses, address()).await.unwrap(), Some(1));
    // 5 + 10 + 20 + … + 640 ms, then a second twice.
    assert_eq!(start.elapsed(), Duration::from_millis(5 * 255 + 2 * 1000));
    let start = Instant::now();
    assert_eq!(next(&mut source, &watch, &mut pauses, address()).await.unwrap(), Some(2));
    assert_eq!(start.elapsed(), FIRST_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn a_shortage_is_logged_once_a_second() {
    let mut pauses = Pauses::default();
    let error = io::Error::from_raw_os_error(libc::EMFILE);
    pauses.next(address(), &error);
    assert_eq!(pauses.unlogged, 0);
    for failures in 1..=20 {
        pauses.next(address(), &error);
        assert_eq!(pauses.unlogged, failures);
    }
    tokio::time::advance(LOG_INTERVAL).await;
    pauses.next(address(), &error);
    assert_eq!(pauses.unlogged, 0);
}

#[tokio::test(start_paused = true)]
async fn a_broken_socket_ends_the_loop() {
    let drain = Drain::new();
    let error = next(script([os(libc::EBADF)]), &drain.watch(), &mut Pauses::default(), address()).await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_waiting_and_pausing() {
    let drain = Drain::new();
    let watch = drain.watch();
    for source in [script(Vec::new()), script((0..100).map(|_| os(libc::EMFILE)).collect::<Vec<_>>())] {
        let drain = Drain::new();
        let watch = drain.watch();
        let mut pauses = Pauses::default();
        let waiting = next(source, &watch, &mut pauses, address());
        let (got, ()) = tokio::join!(waiting, async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            drain.start(Duration::ZERO);
        });
        assert_eq!(got.unwrap(), None);
    }
    // One that has started wins over connections that are ready.
    drain.start(Duration::ZERO);
    assert_eq!(next(script([Ok(1)]), &watch, &mut Pauses::default(), address()).await.unwrap(), None);
}

#[test]
fn a_mapped_address_is_shown_as_ipv4() {
    let shown = |address: &str| as_v4(address.parse().unwrap()).to_string();
    assert_eq!(shown("[::ffff:10.0.0.1]:80"), "10.0.0.1:80");
    assert_eq!(shown("[::1]:80"), "[::1]:80");
    assert_eq!(shown("[fe80::1%3]:80"), "[fe80::1%3]:80");
    assert_eq!(shown("10.0.0.1:80"), "10.0.0.1:80");
}
