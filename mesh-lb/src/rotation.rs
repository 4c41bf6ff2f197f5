//! Taking turns by weight.

use std::{cmp::Reverse, collections::BinaryHeap};

/// The longest sequence that is written out: 256 KiB.
const LONGEST: u64 = 1 << 16;

/// Whose turn it is, in an order in which everybody has exactly their share of each round and, at every moment of it,
/// is less than one turn away from it. `None` where a round would be too long to write out.
///
/// The turns of an entry have windows one after the other, as long as its share of the round asks for; each place in
/// the round goes to the entry whose window is open and ends first (earliest deadline first over proportionate
/// windows: Baruah, Cohen, Plaxton, Varvel, *Proportionate progress*, 1996).
pub(crate) fn sequence(weights: &[u32]) -> Option<Box<[u32]>> {
    let divisor = u64::from(weights.iter().fold(0, |divisor, weight| greatest_common_divisor(divisor, *weight)).max(1));
    let shares: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) / divisor).collect();
    let round: u64 = shares.iter().sum();
    if round > LONGEST {
        return None;
    }
    let mut taken = vec![0; shares.len()];
    let mut waiting: BinaryHeap<Reverse<(u64, usize)>> =
        (0..shares.len()).filter(|entry| shares[*entry] != 0).map(|entry| Reverse((0, entry))).collect();
    let mut open: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let turns = (0..round).map(|place| {
        while let Some(Reverse((opens, entry))) = waiting.peek().copied()
            && opens <= place
        {
            waiting.pop();
            open.push(Reverse((((taken[entry] + 1) * round).div_ceil(shares[entry]), entry)));
        }
        let Reverse((_, entry)) = open.pop().expect("the shares add up to the round, so no place stays empty");
        taken[entry] += 1;
        if taken[entry] < shares[entry] {
            waiting.push(Reverse((taken[entry] * round / shares[entry], entry)));
        }
        entry as u32
    });
    Some(turns.collect())
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Spreads consecutive turns evenly over all draws: each falls into the widest gap that those before have left
/// (Fibonacci hashing: Knuth, *The Art of Computer Programming*, volume 3, 6.4).
#[inline]
pub(crate) fn spread(turn: u64) -> u64 {
    // 2⁶⁴ divided by the golden ratio
    turn.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
