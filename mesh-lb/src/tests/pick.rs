//! Picks from a table.

use crate::{
    Load, PeakEwma, Policy,
    table::{Table, TableBuilder},
};
use mesh_core::{Endpoint, EndpointSet, Endpoints, HealthFlag, Target, units::Ratio};
use std::{net::SocketAddr, sync::Arc, time::Duration};

pub(super) fn target(port: u16, weight: u32) -> Target {
    Target::new(SocketAddr::from(([127, 0, 0, 1], port))).with_weight(weight)
}

fn set(weights: &[u32]) -> Arc<EndpointSet> {
    Endpoints::fixed((1..).zip(weights).map(|(port, weight)| target(port, *weight))).load()
}

/// One that keeps to what is healthy, however few.
fn builder(policy: Policy) -> TableBuilder {
    let builder = TableBuilder::new(policy, Endpoints::fixed([]).source().clone());
    builder.panic().set_threshold(Ratio::ZERO);
    builder
}

fn table(policy: Policy, weights: &[u32]) -> Table {
    builder(policy).set_endpoints(set(weights))
}

fn pick(table: &Table, random: &mut fastrand::Rng, avoid: impl Fn(usize) -> bool) -> Option<usize> {
    let index = |id| (0..table.len()).find(|index| table.seat(*index).endpoint.id() == id).unwrap();
    let avoids = (0..table.len()).any(&avoid);
    let simply = if avoids { None } else { table.pick_simply(&mut random.clone()) };
    let picked = table.pick(|_| random.u64(..), |endpoint: &Endpoint| avoid(index(endpoint.id())));
    if let Some(simply) = simply {
        assert!(picked.is_some_and(|picked| Arc::ptr_eq(picked.seat, simply.seat)), "the same, only sooner");
    }
    picked.map(|picked| index(picked.seat.endpoint.id()))
}

const POLICIES: [Policy; 4] = [
    Policy::Random,
    Policy::RoundRobin,
    Policy::p2c(Load::LeastRequest),
    Policy::P2c { load: Load::PeakEwma(PeakEwma::DEFAULT) },
];

#[test]
fn none_one_two() {
    let mut random = fastrand::Rng::with_seed(1);
    for policy in POLICIES {
        assert_eq!(pick(&table(policy, &[]), &mut random, |_| false), None);
        let one = table(policy, &[3]);
        assert_eq!(pick(&one, &mut random, |_| false), Some(0));
        assert_eq!(pick(&one, &mut random, |_| true), Some(0), "there is no other");
        let two = table(policy, &[3, 1]);
        for _ in 0..1000 {
            assert_eq!(pick(&two, &mut random, |index| index == 0), Some(1));
            assert_eq!(pick(&two, &mut random, |index| index == 1), Some(0));
        }
    }
}

#[test]
fn the_last_that_is_not_to_be_avoided_is_found() {
    let mut random = fastrand::Rng::with_seed(2);
    for policy in POLICIES {
        for weights in [vec![1; 1000], (0..1000).map(|weight| weight % 7).collect()] {
            let table = table(policy, &weights);
            for last in [1, 500, 998] {
                assert_eq!(pick(&table, &mut random, |index| index != last), Some(last));
            }
        }
    }
}

#[test]
fn weight_zero_is_not_found_by_going_through_all() {
    let mut random = fastrand::Rng::with_seed(3);
    for policy in POLICIES {
        let table = table(policy, &[0, 1, 0]);
        assert_eq!(pick(&table, &mut random, |index| index == 1), Some(1), "rather the same again");
        table.seat(1).endpoint.health().set(HealthFlag::Ejected, true);
        assert_eq!(pick(&table, &mut random, |_| false), None);
    }
}

#[test]
fn what_is_not_eligible_is_left_out() {
    let mut random = fastrand::Rng::with_seed(4);
    for policy in POLICIES {
        let table = table(policy, &[1; 20]);
        for index in 0..19 {
            table.seat(index).endpoint.health().set(HealthFlag::CircuitOpen, true);
        }
        for _ in 0..100 {
            assert_eq!(pick(&table, &mut random, |index| index == 19), Some(19), "tried, but the only eligible one");
        }
        table.seat(19).endpoint.health().set(HealthFlag::Draining, true);
        assert_eq!(pick(&table, &mut random, |_| false), None);
        table.seat(5).endpoint.health().set(HealthFlag::CircuitOpen, false);
        assert_eq!(pick(&table, &mut random, |_| false), Some(5));
    }
}

/// How many endpoints there are among so many picks.
fn picked(table: &Table, random: &mut fastrand::Rng) -> usize {
    let picks: std::collections::HashSet<_> = (0..2000).map(|_| pick(table, random, |_| false)).collect();
    assert!(!picks.contains(&None));
    picks.len()
}

#[tokio::test(start_paused = true)]
async fn with_less_than_half_of_them_healthy_all_are_picked_until_enough_are() {
    let mut random = fastrand::Rng::with_seed(5);
    for policy in POLICIES {
        let mut builder = TableBuilder::new(policy, Endpoints::fixed([]).source().clone());
        // those of weight 0 do not count
        let table = builder.set_endpoints(set(&[[1; 20], [0; 20]].concat()));
        let out = |index: usize, out| _ = table.seat(index).endpoint.health().set(HealthFlag::CircuitOpen, out);
        (0..10).for_each(|index| out(index, true));
        assert_eq!(picked(&table, &mut random), 10, "half of them: enough");
        out(10, true);
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(picked(&table, &mut random), 20, "{policy:?}");
        // spared anew when that is over
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(picked(&table, &mut random), 20);
        out(10, false);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(picked(&table, &mut random), 20, "half of them is not enough to come back");
        out(9, false);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(picked(&table, &mut random), 11);
        // however soon after: nobody is refused
        (0..20).for_each(|index| out(index, true));
        assert_eq!(picked(&table, &mut random), 20);
    }
}

#[test]
fn slots_are_kept_while_an_endpoint_stays_and_then_given_to_another() {
    let mut builder = builder(Policy::Random);
    let first = builder.set_endpoints(set(&[1; 5]));
    let slots = |table: &Table| (0..table.len()).map(|index| table.seat(index).slot).collect::<Vec<_>>();
    assert_eq!(slots(&first), [0, 1, 2, 3, 4]);
    let other = set(&[2; 3]);
    let second = builder.set_endpoints(other.clone());
    assert_eq!(second.slots().len(), 5, "the slots of those that left are taken");
    assert_eq!(second.slots().iter().flatten().count(), 3);
    let third = builder.set_policy(Policy::RoundRobin);
    assert_eq!(slots(&second), slots(&third));
    for index in 0..3 {
        assert_eq!(third.slots()[third.seat(index).slot as usize], Some(other.endpoints()[index].id()));
    }
    assert!(first.version() < second.version() && second.version() < third.version());
}
