use http::HeaderValue;

/// A random UUID, version 4 (RFC 9562, section 5.4), as text: one allocation, of its 36 bytes.
pub(crate) fn new_request_id() -> HeaderValue {
    let random = (u128::from(fastrand::u64(..)) << 64) | u128::from(fastrand::u64(..));
    let text = uuid_v4(random.to_be_bytes());
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

/// The digits of every byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        hex[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    hex
};
/// Where each byte's digits stand; the dashes are in between.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

fn uuid_v4(mut bytes: [u8; 16]) -> [u8; 36] {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = [b'-'; 36];
    for (byte, place) in bytes.into_iter().zip(PLACES) {
        text[place..place + 2].copy_from_slice(&HEX[usize::from(byte)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_uuid_of_version_4() {
        assert_eq!(&uuid_v4([0; 16]), b"00000000-0000-4000-8000-000000000000");
        assert_eq!(&uuid_v4([0xff; 16]), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
        let bytes = std::array::from_fn(|index| 0x10 + index as u8);
        assert_eq!(&uuid_v4(bytes), b"10111213-1415-4617-9819-1a1b1c1d1e1f");
        assert_ne!(new_request_id(), new_request_id());
    }
}
