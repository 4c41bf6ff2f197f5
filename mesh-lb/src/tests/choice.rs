//! The decision cores.

use crate::{
    Policy,
    alias::Alias,
    policy::{Choice, Pairs, Single},
    rotation::{sequence, spread},
};
use proptest::prelude::*;

/// Pearson's χ² of counts against shares.
fn chi_squared(counts: &[u64], weights: &[u32]) -> f64 {
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let picks = counts.iter().sum::<u64>() as f64;
    let cells = counts.iter().zip(weights).filter(|(_, weight)| **weight != 0);
    let terms = cells.map(|(count, weight)| {
        let expected = picks * f64::from(*weight) / total;
        (*count as f64 - expected).powi(2) / expected
    });
    terms.sum()
}

/// Where the probability of a larger χ² with 9 degrees of freedom is 10⁻⁶.
const BEYOND_CHANCE: f64 = 46.80;
const PICKS: u64 = 1_000_000;

fn single(policy: Policy, weights: &[u32]) -> Single {
    match Choice::new(policy, weights) {
        Choice::One(single, _) => single,
        _ => panic!("{policy:?} chooses one"),
    }
}

fn count(weights: &[u32], seed: u64) -> Vec<u64> {
    let choice = single(Policy::Random, weights);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut counts = vec![0; weights.len()];
    for _ in 0..PICKS {
        counts[choice.choose(random.u64(..))] += 1;
    }
    counts
}

/// A million picks over ten endpoints. A share that is off by 4 % of itself would be seen: it puts about 40 on top of
/// the 9 that chance gives.
#[test]
fn random_shares_are_the_weights() {
    for seed in 0..5 {
        for weights in [[1; 10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1000, 1, 1, 1, 1, 1, 1, 1, 1, 1]] {
            let counts = count(&weights, seed);
            let statistic = chi_squared(&counts, &weights);
            assert!(statistic < BEYOND_CHANCE, "{weights:?}, seed {seed}: {statistic}");
        }
    }
}

/// The power of the test above: with one weight off by a twentieth it fails, for every one of 20 seeds.
#[test]
fn a_share_that_is_off_by_a_twentieth_would_be_noticed() {
    let mut off = [100; 10];
    off[3] = 105;
    for seed in 0..20 {
        let statistic = chi_squared(&count(&off, seed), &[100; 10]);
        assert!(statistic > BEYOND_CHANCE, "seed {seed}: {statistic}");
    }
}

#[test]
fn weight_zero_is_never_chosen_unless_all_are_zero() {
    for policy in [Policy::Random, Policy::RoundRobin] {
        let mut random = fastrand::Rng::with_seed(7);
        let choice = single(policy, &[0, 3, 0, 1, 0]);
        assert!((0..10_000).all(|_| [1, 3].contains(&choice.choose(random.u64(..)))), "{policy:?}");
        let choice = single(policy, &[0; 3]);
        let mut seen = [false; 3];
        (0..100).for_each(|_| seen[choice.choose(random.u64(..))] = true);
        assert_eq!(seen, [true; 3], "{policy:?}");
    }
}

fn weights(longest: usize) -> impl Strategy<Value = Vec<u32>> {
    let weight = prop_oneof![0..4_u32, 0..1000_u32, any::<u32>(), Just(u32::MAX)];
    prop::collection::vec(weight, 1..longest).prop_filter("one is not zero", |weights| weights.iter().any(|w| *w != 0))
}

proptest! {
    /// Each entry's part of the draws is its weight's part of the sum, within n·2⁻³².
    #[test]
    fn alias_mass_is_the_weight(weights in weights(200)) {
        let count = weights.len() as f64;
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let mass = Alias::new(&weights).mass();
        for (entry, weight) in weights.iter().enumerate() {
            let off = (mass[entry] as f64 / (count * 2_f64.powi(32)) - f64::from(*weight) / total).abs();
            prop_assert!(off <= count * 2_f64.powi(-32), "entry {entry} is off by {off}");
            prop_assert!(*weight != 0 || mass[entry] == 0);
        }
    }

    /// Exact over a round, and never a whole turn off on the way.
    #[test]
    fn turns_are_exact_and_even(weights in prop::collection::vec(0..50_u32, 1..40)) {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let turns = sequence(&weights).unwrap();
        let mut counts = vec![0_u64; weights.len()];
        for (place, turn) in turns.iter().enumerate() {
            counts[*turn as usize] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = (place as u64 + 1) * u64::from(*weight);
                prop_assert!((count * total).abs_diff(due) < total, "{turns:?}");
            }
        }
        prop_assert_eq!(turns.len() as u64 * weights.iter().fold(0, |a, b| gcd(a, *b)) as u64, total);
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert_eq!(count * total, turns.len() as u64 * u64::from(*weight));
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[test]
fn heavy_and_light_take_turns() {
    assert_eq!(sequence(&[5, 1, 1]).unwrap()[..], [0, 0, 0, 1, 0, 0, 2]);
    assert_eq!(sequence(&[20, 10]).unwrap()[..], [0, 0, 1]);
    assert!(sequence(&[u32::MAX, 1]).is_none(), "too long to write out");
}

/// Where the round is too long to be written out, counts stay close to the shares all the time.
#[test]
fn long_rounds_are_kept_within_a_few_turns() {
    for weights in [vec![u32::MAX, 1_000_000_007, 12_345], (1..=100).map(|weight| weight * 65_537).collect()] {
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let choice = single(Policy::RoundRobin, &weights);
        assert!(matches!(choice, Single::Spread(_)) || weights.len() == 100);
        let alias = Alias::new(&weights);
        let mut counts = vec![0_u64; weights.len()];
        let start = 0x5EED;
        let mut farthest: f64 = 0.0;
        for turn in 0..200_000_u64 {
            counts[alias.choose(spread(start + turn))] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = (turn + 1) as f64 * f64::from(*weight) / total;
                farthest = farthest.max((*count as f64 - due).abs());
            }
        }
        assert!(farthest < 8.0, "{farthest} turns off for {} entries", weights.len());
    }
}

fn pairs(weights: &[u32]) -> Pairs {
    match Choice::new(Policy::default(), weights) {
        Choice::Latency(pairs) => pairs,
        _ => panic!("p2c chooses two"),
    }
}

/// Each of the 90 ordered pairs of ten is as likely as any other, and from one draw.
#[test]
fn two_are_different_and_every_pair_is_as_likely() {
    /// Where the probability of a larger χ² with 89 degrees of freedom is 10⁻⁶.
    const BEYOND_CHANCE: f64 = 164.0;
    for seed in 0..5 {
        let (pairs, mut random) = (pairs(&[1; 10]), fastrand::Rng::with_seed(seed));
        let mut counts = vec![0; 100];
        let mut draws = 0_u64;
        for _ in 0..PICKS {
            let (first, second) = pairs.choose(10, || {
                draws += 1;
                random.u64(..)
            });
            assert_ne!(first, second);
            counts[first * 10 + second] += 1;
        }
        let weights: Vec<u32> = (0..100).map(|pair| u32::from(pair % 11 != 0)).collect();
        let statistic = chi_squared(&counts, &weights);
        assert!(statistic < BEYOND_CHANCE, "seed {seed}: {statistic}");
        assert_eq!(draws, PICKS);
    }
}

/// The first of two has its weight's share; so has the second where it is drawn anew only if it is the first.
#[test]
fn two_by_weight() {
    let weights = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    for seed in 0..5 {
        let (pairs, mut random) = (pairs(&weights), fastrand::Rng::with_seed(seed));
        let mut counts = vec![0; 10];
        let mut same = 0;
        for _ in 0..PICKS {
            let (first, second) = pairs.choose(10, || random.u64(..));
            counts[first] += 1;
            same += u64::from(first == second);
        }
        let statistic = chi_squared(&counts, &weights);
        assert!(statistic < BEYOND_CHANCE, "seed {seed}: {statistic}");
        // Σ (w/W)³ = 1.8 %
        assert!((17_000..20_000).contains(&same), "{same} in a million");
    }
}

#[test]
fn of_one_and_of_two() {
    let mut random = fastrand::Rng::with_seed(3);
    assert!(matches!(Choice::new(Policy::default(), &[5]), Choice::One(Single::Even(1), _)), "nothing to compare");
    assert!((0..1000).all(|_| [(0, 1), (1, 0)].contains(&pairs(&[5, 5]).choose(2, || random.u64(..)))));
    assert!((0..1000).all(|_| {
        let (first, second) = pairs(&[0, 1, 0, 9]).choose(4, || random.u64(..));
        [1, 3].contains(&first) && [1, 3].contains(&second)
    }));
}

#[test]
fn the_ends_of_the_draws() {
    for count in [2, 3, 10_000, usize::MAX >> 32] {
        for draw in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let (first, second) = crate::alias::even_two(draw, count);
            assert!(first < count && second < count && first != second, "{draw} of {count}");
        }
    }
}
