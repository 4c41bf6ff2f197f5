//! SHA-256 (FIPS 180-4), by which the vectors state long strings and binaries.

/// The fractional parts of cube roots (the rounds' constants) or square roots (the start) of the first primes.
fn fractions(count: usize, root: fn(f64) -> f64, power: u32) -> Vec<u32> {
    let primes = (2_u64..).filter(|number| (2..*number).all(|divisor| number % divisor != 0)).take(count);
    let fraction = |prime: u64| {
        // the largest x with x^power <= prime * 2^(32 * power), found from the float's neighbourhood
        let mut x = (root(prime as f64) * 4_294_967_296.0) as u128;
        let reached = |x: u128| above(x, power, prime);
        while reached(x) {
            x -= 1;
        }
        while !reached(x + 1) {
            x += 1;
        }
        x as u32
    };
    primes.map(fraction).collect()
}

/// Whether `x^power > prime * 2^(32 * power)`, with the product cut in two, as it has more than 128 bits.
fn above(x: u128, power: u32, prime: u64) -> bool {
    let square = x * x;
    if power == 2 {
        return square > u128::from(prime) << 64;
    }
    let (high, low) = (square >> 64, square & u128::from(u64::MAX));
    let low = low * x;
    let high = high * x + (low >> 64);
    let (high, low) = (high, low & u128::from(u64::MAX));
    let bound = u128::from(prime) << 32;
    high > bound || high == bound && low > 0
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let rounds = fractions(64, f64::cbrt, 3);
    let mut state: [u32; 8] = fractions(8, f64::sqrt, 2).try_into().unwrap();
    let mut message = bytes.to_vec();
    message.push(0x80);
    message.resize(message.len().next_multiple_of(64), 0);
    if message.len() - bytes.len() < 9 {
        message.resize(message.len() + 64, 0);
    }
    let end = message.len() - 8;
    message[end..].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());

    for block in message.chunks(64) {
        let mut words: Vec<u32> = block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
        for t in 16..64 {
            let (old, new) = (words[t - 15], words[t - 2]);
            let old = old.rotate_right(7) ^ old.rotate_right(18) ^ old >> 3;
            let new = new.rotate_right(17) ^ new.rotate_right(19) ^ new >> 10;
            words.push(words[t - 16].wrapping_add(old).wrapping_add(words[t - 7]).wrapping_add(new));
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (word, round) in words.iter().zip(&rounds) {
            let chosen = e & f ^ !e & g;
            let majority = a & b ^ a & c ^ b & c;
            let first = (e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25))
                .wrapping_add(h)
                .wrapping_add(chosen)
                .wrapping_add(*round)
                .wrapping_add(*word);
            let second = (a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22)).wrapping_add(majority);
            (h, g, f, e) = (g, f, e, d.wrapping_add(first));
            (d, c, b, a) = (c, b, a, first.wrapping_add(second));
        }
        for (word, add) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(add);
        }
    }
    state.map(u32::to_be_bytes).concat().try_into().unwrap()
}
