//! Whether a call is hit: plain arithmetic.

/// The kinds of faults, each drawn for on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Fault {
    Delay = 1,
    Abort = 2,
}

/// Whether 64 random bits hit at this rate, in parts per million: exact to 2⁻⁴⁴.
#[inline]
pub(crate) const fn hits(ppm: u32, drawn: u64) -> bool {
    ((drawn as u128 * 1_000_000) >> 64) < ppm as u128
}

/// A second draw out of the first: what [`hits`] leaves over of it, spread over 64 bits again. Independent of the first,
/// and as exact, to 2⁻⁴⁴.
#[inline]
pub(crate) const fn next(drawn: u64) -> u64 {
    drawn.wrapping_mul(1_000_000)
}

/// 64 bits that depend on nothing but seed, request and fault: FNV-1a over the request's id, then the finaliser of
/// SplitMix64 (G. Steele, D. Lea, C. Flood, *Fast splittable pseudorandom number generators*, 2014) over all three.
pub(crate) fn seeded(seed: u64, request: &[u8], fault: Fault) -> u64 {
    let id = request
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3));
    mix(mix(seed ^ id).wrapping_add((fault as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_core::units::Ratio;

    /// Other programs may rely on these: the same seed and ids give the same faults for ever.
    #[test]
    fn what_a_seed_gives() {
        let drawn = |seed, id: &str, fault| seeded(seed, id.as_bytes(), fault);
        assert_eq!(drawn(1, "a", Fault::Delay), drawn(1, "a", Fault::Delay));
        let all = [
            drawn(1, "a", Fault::Delay),
            drawn(1, "a", Fault::Abort),
            drawn(2, "a", Fault::Delay),
            drawn(1, "b", Fault::Delay),
        ];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        assert_eq!(all, GOLDEN);
    }

    const GOLDEN: [u64; 4] = [0x1de99d8772a913eb, 0x638b554a810dc045, 0xb62a19aa37857c74, 0x31729f8b72e181bc];

    /// So many of ten million draws, within five standard deviations; and so many that hit both, as of two draws.
    #[test]
    fn shares_are_exact() {
        const DRAWS: u32 = 10_000_000;
        let mut random = fastrand::Rng::with_seed(7);
        let ppm = [0, 1, 10, 100, 999_999, 1_000_000];
        let (mut first, mut second, mut both) = ([0_u32; 6], [0_u32; 6], 0);
        for _ in 0..DRAWS {
            let drawn = random.u64(..);
            for (hit, ppm) in first.iter_mut().zip(ppm) {
                *hit += u32::from(hits(ppm, drawn));
            }
            for (hit, ppm) in second.iter_mut().zip(ppm) {
                *hit += u32::from(hits(ppm, next(drawn)));
            }
            both += u32::from(hits(30_000, drawn) && hits(500, next(drawn)));
        }
        let check = |hit: u32, p: f64| {
            let (mean, deviation) = (p * f64::from(DRAWS), (p * (1.0 - p) * f64::from(DRAWS)).sqrt());
            assert!((f64::from(hit) - mean).abs() <= 5.0 * deviation, "{p}: {hit}");
        };
        for hit in [first, second] {
            hit.into_iter().zip(ppm).for_each(|(hit, ppm)| check(hit, f64::from(ppm) / 1e6));
            assert_eq!((hit[0], hit[5]), (0, DRAWS));
        }
        check(both, 0.03 * 0.0005);
    }

    /// The same as a [`Ratio`] says.
    #[test]
    fn the_edges_of_a_rate() {
        for ppm in [0, 1, 2, 500_000, 999_999, 1_000_000] {
            let ratio = Ratio::from_ppm(ppm).unwrap();
            let edge = (u128::from(ppm) << 64).div_ceil(1_000_000);
            for drawn in [edge.saturating_sub(1), edge, 0, u128::from(u64::MAX)] {
                let Ok(drawn) = u64::try_from(drawn) else { continue };
                assert_eq!(hits(ppm, drawn), ratio.contains(drawn), "{ppm} {drawn}");
            }
        }
    }

    #[test]
    fn seeded_draws_are_uniform_too() {
        let ten_percent = Ratio::from_percent(10).unwrap();
        let hit = |n: u32, fault| ten_percent.contains(seeded(42, n.to_string().as_bytes(), fault));
        let delayed = (0..100_000).filter(|n| hit(*n, Fault::Delay)).count();
        let both = (0..100_000).filter(|n| hit(*n, Fault::Delay) && hit(*n, Fault::Abort)).count();
        assert!((9_500..10_500).contains(&delayed), "{delayed}");
        assert!((850..1_150).contains(&both), "independent: {both}");
    }
}
