//! Parameter descriptors: `Ljava/lang/String;I[J`.

/// How many parameters a descriptor names; nothing for one that is none. An argument stands in the body for each, and
/// nothing else says how many there are.
pub(super) fn parameters(descriptor: &[u8]) -> Option<u32> {
    let (mut rest, mut count) = (descriptor, 0);
    while !rest.is_empty() {
        let dimensions = rest.iter().take_while(|byte| **byte == b'[').count();
        rest = match rest[dimensions..].split_first()? {
            (b'Z' | b'B' | b'C' | b'D' | b'F' | b'I' | b'J' | b'S' | b'V', rest) => rest,
            (b'L', rest) => {
                let end = rest.iter().position(|byte| *byte == b';').filter(|end| *end > 0)?;
                &rest[end + 1..]
            }
            _ => return None,
        };
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::parameters;

    #[test]
    fn they_are_counted() {
        for (descriptor, count) in [
            ("", Some(0)),
            ("I", Some(1)),
            ("Ljava/lang/String;I[J", Some(3)),
            ("[[Ldemo/User;Z", Some(2)),
            ("Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;", Some(3)),
            ("Q", None),
            ("[", None),
            ("L;", None),
            ("Ljava/lang/String", None),
        ] {
            assert_eq!(parameters(descriptor.as_bytes()), count, "{descriptor}");
        }
    }
}
