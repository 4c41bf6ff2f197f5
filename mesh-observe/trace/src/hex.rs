//! Lower-case hexadecimal, eight digits in a word at once and without a branch: what is no digit is found by one test in
//! the end. Loops over words become vector instructions.

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// One in each byte.
const ONES: u64 = u64::MAX / 0xff;

/// The bytes of eight digits each, in order; not zero in the second: there is one that is no lower-case digit.
#[inline(always)]
pub(crate) fn decode<const WORDS: usize>(words: [u64; WORDS]) -> ([u32; WORDS], u64) {
    let (mut bytes, mut invalid) = ([0; WORDS], [0; WORDS]);
    for index in 0..WORDS {
        // the bytes of a word are c; letters are 0x61 to 0x66, digits 0x30 to 0x39
        let word = words[index];
        let low = word & (0x0f * ONES);
        let letter = (word >> 6) & ONES;
        let nibble = low + letter + (letter << 3);
        // the high half is 3 of a digit and 6 of a letter
        let high = (word ^ low) ^ (0x30 * ONES + (letter << 4) + (letter << 5));
        // a nibble is ten or more if it is a letter's and only then, and less than sixteen
        let range = ((((nibble + 0x06 * ONES) ^ (letter << 4)) | nibble) >> 4) & ONES;
        invalid[index] = high | range;
        let pairs = ((nibble << 4) | (nibble >> 8)) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
        bytes[index] = ((fours | (fours >> 16)) as u32).swap_bytes();
    }
    (bytes, invalid.iter().fold(0, |all, one| all | one))
}

/// Eight digits as a word, the first in its lowest byte.
#[inline(always)]
pub(crate) fn word(text: &[u8], at: usize) -> u64 {
    match text[at..].first_chunk::<8>() {
        Some(digits) => u64::from_le_bytes(*digits),
        // no digits
        None => 0,
    }
}

/// Whether all are lower-case digits. A loop over bytes without a branch: a vector holds many of them.
#[inline]
pub(crate) fn are_digits(trace_id: &[u8; 32], span_id: &[u8; 16]) -> bool {
    let mut digits = [0; 48];
    digits[..32].copy_from_slice(trace_id);
    digits[32..].copy_from_slice(span_id);
    digits.iter().fold(true, |good, digit| good & ((digit.wrapping_sub(b'0') < 10) | (digit.wrapping_sub(b'a') < 6)))
}

/// Two halves.
#[inline(always)]
pub(crate) fn join(high: u32, low: u32) -> u64 {
    (u64::from(high) << 32) | u64::from(low)
}

/// 16 digits.
#[inline]
pub(crate) fn u64_of(text: &[u8; 16]) -> Option<u64> {
    let ([high, low], invalid) = decode([word(text, 0), word(text, 8)]);
    (invalid == 0).then_some(join(high, low))
}

/// 32 digits.
#[inline]
pub(crate) fn u128_of(text: &[u8; 32]) -> Option<u128> {
    let ([a, b, c, d], invalid) = decode([word(text, 0), word(text, 8), word(text, 16), word(text, 24)]);
    (invalid == 0).then_some((u128::from(join(a, b)) << 64) | u128::from(join(c, d)))
}

/// Writes as many digits as there is room, the lowest of the number.
pub(crate) fn write(number: u128, text: &mut [u8]) {
    let mut rest = number;
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(rest & 0xf) as usize];
        rest >>= 4;
    }
}
