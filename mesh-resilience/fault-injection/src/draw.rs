//! Whether a call is hit: plain arithmetic.

/// The kinds of faults, each drawn for on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Fault {
    Delay = 1,
    Abort = 2,
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

    /// So many of ten million draws, within five standard deviations.
    #[test]
    fn shares_are_exact() {
        const DRAWS: u32 = 10_000_000;
        let mut random = fastrand::Rng::with_seed(7);
        let ppm = [0, 1, 10, 100, 999_999, 1_000_000];
        let ratios = ppm.map(|ppm| Ratio::from_ppm(ppm).unwrap());
        let mut hits = [0_u32; 6];
        for _ in 0..DRAWS {
            let drawn = random.u64(..);
            for (hits, ratio) in hits.iter_mut().zip(ratios) {
                *hits += u32::from(ratio.contains(drawn));
            }
        }
        for (hits, ppm) in hits.into_iter().zip(ppm) {
            let p = f64::from(ppm) / 1e6;
            let (mean, deviation) = (p * f64::from(DRAWS), (p * (1.0 - p) * f64::from(DRAWS)).sqrt());
            assert!((f64::from(hits) - mean).abs() <= 5.0 * deviation, "{ppm} ppm: {hits}");
        }
        assert_eq!((hits[0], hits[5]), (0, DRAWS));
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
