//! Lower-case hexadecimal, without a branch per digit: what is no digit is found by one bit in the end.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The bytes of two digits each; what is not a lower-case digit sets a bit of the second.
///
/// Written over whole arrays, so that it becomes vector instructions: a table costs three times as many.
#[inline(always)]
pub(crate) fn decode<const DIGITS: usize, const BYTES: usize>(text: &[u8; DIGITS]) -> ([u8; BYTES], u8) {
    let mut nibbles = [0_u8; DIGITS];
    let mut invalid = [0_u8; DIGITS];
    for index in 0..DIGITS {
        let (digit, letter) = (text[index].wrapping_sub(b'0'), text[index].wrapping_sub(b'a'));
        let is_digit = if digit < 10 { 0xff } else { 0 };
        let is_letter = if letter < 6 { 0xff } else { 0 };
        nibbles[index] = (digit & is_digit) | (letter.wrapping_add(10) & is_letter);
        invalid[index] = !(is_digit | is_letter);
    }
    let mut bytes = [0; BYTES];
    for index in 0..BYTES {
        bytes[index] = (nibbles[2 * index] << 4) | nibbles[2 * index + 1];
    }
    (bytes, invalid.iter().fold(0, |all, one| all | one))
}

/// 16 digits.
#[inline]
pub(crate) fn u64_of(text: &[u8; 16]) -> Option<u64> {
    let (bytes, invalid) = decode::<16, 8>(text);
    (invalid == 0).then(|| u64::from_be_bytes(bytes))
}

/// 32 digits.
#[inline]
pub(crate) fn u128_of(text: &[u8; 32]) -> Option<u128> {
    let (bytes, invalid) = decode::<32, 16>(text);
    (invalid == 0).then(|| u128::from_be_bytes(bytes))
}

/// Writes as many digits as there is room, the lowest of the number.
pub(crate) fn write(number: u128, text: &mut [u8]) {
    let mut rest = number;
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(rest & 0xf) as usize];
        rest >>= 4;
    }
}
