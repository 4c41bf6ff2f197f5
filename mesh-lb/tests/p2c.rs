//! The power of two choices against queueing theory, and against endpoints that misbehave.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use mesh_lb::{Load, PeakEwma, Policy};
use world::{SECOND, World, exponential};

const LEAST: Policy = Policy::p2c(Load::LeastRequest);

/// Mean time in the system of the supermarket model: `servers` of rate 1, Poisson arrivals of `load` per server.
fn supermarket(policy: Policy, servers: usize, load: f64, calls: u64, seed: u64) -> f64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut free_at = vec![0; servers];
    let mut service = fastrand::Rng::with_seed(seed + 1);
    let serve = move |server: usize, now: u64| {
        let begins = free_at[server].max(now);
        free_at[server] = begins + exponential(&mut service, SECOND as f64);
        (free_at[server], true)
    };
    let mut world = World::new(policy, &vec![1; servers], seed + 2, Box::new(serve));
    let (mut now, mut total) = (0, 0.0);
    let warm_up = calls / 5;
    for call in 0..calls + warm_up {
        now += exponential(&mut random, SECOND as f64 / (load * servers as f64));
        world.until(now);
        let (_, over) = world.call();
        if call >= warm_up {
            total += (over - now) as f64 / SECOND as f64;
        }
    }
    total / calls as f64
}

/// `Σ λ^((2^i − 2)/(2 − 1))` over i from 1: infinitely many servers, the shorter of two queues.
fn predicted(load: f64) -> f64 {
    (1..20).map(|i| load.powf(2_f64.powi(i) - 2.0)).sum()
}

fn compare(servers: usize, calls: u64, loads: &[f64]) {
    for load in loads {
        let (measured, predicted) = (supermarket(LEAST, servers, *load, calls, 1), predicted(*load));
        let off = measured / predicted - 1.0;
        println!("load {load}: {measured:.4}, predicted {predicted:.4}, {:+.2} %", off * 100.0);
        assert!(off.abs() < 0.04, "load {load}: {measured}, predicted {predicted}");
    }
}

/// Within 4 % of the formula for infinitely many servers (with 100 of them the theory itself is 3 % off at 0.95).
#[test]
fn queues_are_as_short_as_theory_says() {
    compare(400, 100_000, &[0.5, 0.7, 0.8, 0.9, 0.95]);
}

/// The same with twenty times the calls: about a minute without optimisation.
#[test]
#[ignore = "long"]
fn queues_are_as_short_as_theory_says_at_length() {
    compare(400, 2_000_000, &[0.5, 0.7, 0.8, 0.9, 0.95]);
}

/// One choice is the reference: 1/(1 − λ).
#[test]
fn random_queues_are_as_long_as_theory_says() {
    let measured = supermarket(Policy::Random, 400, 0.8, 200_000, 1);
    assert!((measured / 5.0 - 1.0).abs() < 0.04, "{measured}");
}

/// Calls a second, and what part of them reached endpoint 0 of ten, between two seconds.
fn share(policy: Policy, rate: u64, serve: impl FnMut(usize, u64) -> (u64, bool) + 'static, from: u64, to: u64) -> f64 {
    let mut world = World::new(policy, &[1; 10], 7, Box::new(serve));
    let mut random = fastrand::Rng::with_seed(8);
    let (mut now, mut all, mut reached) = (0, 0_u64, 0_u64);
    loop {
        now += exponential(&mut random, (SECOND / rate) as f64);
        if now > to * SECOND {
            break;
        }
        world.until(now);
        let (server, _) = world.call();
        if now >= from * SECOND {
            all += 1;
            reached += u64::from(server == 0);
        }
    }
    world.until(now + 1000 * SECOND);
    assert!(world.endpoints().load().endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
    reached as f64 / all as f64
}

fn both() -> [(&'static str, Policy); 2] {
    [("least request", LEAST), ("peak-EWMA", Policy::default())]
}

/// It answers at once and badly, the others in 10 ms on average. tower's and Finagle's draw twice the fair share.
#[test]
fn an_endpoint_that_refuses_is_left_alone() {
    for (name, policy) in both() {
        for rate in [20, 100, 1000, 10_000] {
            let mut random = fastrand::Rng::with_seed(9);
            let serve = move |server: usize, now: u64| match server {
                0 => (now + 10_000, false),
                _ => (now + exponential(&mut random, 10e6), true),
            };
            let share = share(policy, rate, serve, 1, 11);
            println!("{name}, {rate} calls a second: {:.2} % to the one that refuses", share * 100.0);
            assert!(share <= 0.03, "{name}, {rate} calls a second: {share}");
        }
    }
}

/// It refuses for ten seconds and is well again: half a minute later it has its share.
#[test]
fn an_endpoint_that_is_well_again_comes_back() {
    for (name, policy) in both() {
        let mut random = fastrand::Rng::with_seed(9);
        let serve = move |server: usize, now: u64| match server {
            0 if now < 10 * SECOND => (now + 10_000, false),
            _ => (now + exponential(&mut random, 10e6), true),
        };
        let share = share(policy, 1000, serve, 60, 90);
        println!("{name}: {:.2} % a minute later", share * 100.0);
        assert!((0.07..0.13).contains(&share), "{name}: {share}");
    }
}

/// Ten times slower than the others: by latency it gets far less than its share, without anything in flight at it.
#[test]
fn a_slow_endpoint_gets_less() {
    for (name, policy, most) in [("least request", LEAST, 0.07), ("peak-EWMA", Policy::default(), 0.02)] {
        let mut random = fastrand::Rng::with_seed(9);
        let serve = move |server: usize, now: u64| {
            (now + exponential(&mut random, if server == 0 { 100e6 } else { 10e6 }), true)
        };
        let share = share(policy, 1000, serve, 1, 21);
        println!("{name}: {:.2} % to the slow one", share * 100.0);
        assert!(share < most, "{name}: {share}");
    }
}

/// Of equal endpoints nobody starves and nobody is crowded, under the policies and their variants.
#[test]
fn equal_endpoints_get_equal_shares() {
    let published = Policy::p2c(Load::PeakEwma(PeakEwma::default().with_rise(mesh_core::units::Ratio::ONE)));
    for (name, policy) in [both()[0], both()[1], ("peak-EWMA as published", published)] {
        for rate in [10, 1000] {
            let mut random = fastrand::Rng::with_seed(9);
            let serve = move |_: usize, now: u64| (now + exponential(&mut random, 10e6), true);
            let share = share(policy, rate, serve, 10, 70);
            println!("{name}, {rate} calls a second: {:.2} %", share * 100.0);
            assert!((0.06..0.14).contains(&share), "{name}, {rate} calls a second: {share}");
        }
    }
}

/// By weight, at loads where everybody has something to do.
#[test]
fn shares_follow_weights() {
    for (name, policy) in both() {
        let weights = [1, 1, 2, 4];
        let mut random = fastrand::Rng::with_seed(9);
        let mut world =
            World::new(policy, &weights, 5, Box::new(move |_, now| (now + exponential(&mut random, 10e6), true)));
        let mut counts = [0_u32; 4];
        let mut arrivals = fastrand::Rng::with_seed(6);
        let mut now = 0;
        for _ in 0..50_000 {
            now += exponential(&mut arrivals, 100_000.0);
            world.until(now);
            counts[world.call().0] += 1;
        }
        for (count, weight) in counts.iter().zip(weights) {
            let share = f64::from(*count) / 50_000.0 * 8.0 / f64::from(weight);
            assert!((0.85..1.15).contains(&share), "{name}: {counts:?}");
        }
    }
}
