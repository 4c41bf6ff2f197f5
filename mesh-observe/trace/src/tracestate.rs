//! W3C `tracestate`, as far as a hop needs it that samples: OpenTelemetry's member `ot` with `rv`, the randomness, and
//! `th`, the rejection threshold that the trace passed (OpenTelemetry, *TraceState: probability sampling*).

use crate::{hex, sample::BITS};

const OURS: &[u8] = b"ot";
/// Members beyond this many make the whole invalid.
const MEMBERS: usize = 32;
/// What is passed on at the least; longer ones are cut to it, by whole members.
const LENGTH: usize = 512;
/// Members longer than this go first.
const LONG: usize = 128;

/// The members in order; `None` if any is malformed, comes twice, or there are too many: then all of it is dropped.
pub(crate) fn members(text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut members: Vec<(&[u8], &[u8])> = Vec::new();
    for member in text.split(|byte| *byte == b',') {
        let member = trim(member);
        // an empty one is allowed and means nothing
        if member.is_empty() {
            continue;
        }
        let equals = member.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (&member[..equals], &member[equals + 1..]);
        if !is_key(key) || !is_value(value) || members.len() == MEMBERS || members.iter().any(|one| one.0 == key) {
            return None;
        }
        members.push((key, value));
    }
    Some(members)
}

fn trim(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(first) = text.iter().position(|byte| !is_blank(byte)) else { return &[] };
    let last = text.iter().rposition(|byte| !is_blank(byte)).unwrap_or(first);
    &text[first..=last]
}

/// A key, or a tenant and a system with `@` between.
fn is_key(key: &[u8]) -> bool {
    let is_part = |part: &[u8], longest: usize| {
        part.len() <= longest
            && part.first().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
            && part.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(byte))
    };
    match key.iter().position(|byte| *byte == b'@') {
        None => is_part(key, 256),
        Some(at) => is_part(&key[..at], 241) && is_part(&key[at + 1..], 14),
    }
}

fn is_value(value: &[u8]) -> bool {
    (1..=256).contains(&value.len())
        && value.iter().all(|byte| matches!(byte, 0x20..=0x7e) && *byte != b',' && *byte != b'=')
        && value.last() != Some(&b' ')
}

/// The values of the member `ot`.
fn ours<'a>(value: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
    value.split(|byte| *byte == b';').filter_map(|pair| {
        let colon = pair.iter().position(|byte| *byte == b':')?;
        Some((&pair[..colon], &pair[colon + 1..]))
    })
}

/// The randomness that the sender names: 56 bits.
pub(crate) fn randomness(text: &[u8]) -> Option<u64> {
    let (_, value) = members(text)?.into_iter().find(|member| member.0 == OURS)?;
    let (_, digits) = ours(value).find(|pair| pair.0 == b"rv")?;
    let digits: &[u8; 14] = digits.try_into().ok()?;
    let mut padded = [b'0'; 16];
    padded[2..].copy_from_slice(digits);
    hex::u64_of(&padded)
}

/// The same state with this threshold, or none, in its first member. Empty: there is nothing to say.
pub(crate) fn with_threshold(text: &[u8], threshold: Option<u64>) -> Vec<u8> {
    // an invalid state is dropped, and the trace goes on
    let mut others = members(text).unwrap_or_default();
    let mut own = Vec::new();
    if let Some(threshold) = threshold {
        own.extend_from_slice(b"th:");
        own.extend_from_slice(&threshold_text(threshold));
    }
    if let Some(present) = others.iter().position(|member| member.0 == OURS) {
        for (key, value) in ours(others.remove(present).1).filter(|pair| pair.0 != b"th") {
            if !own.is_empty() {
                own.push(b';');
            }
            own.extend_from_slice(key);
            own.push(b':');
            own.extend_from_slice(value);
        }
    }
    if !own.is_empty() {
        others.insert(0, (OURS, &own));
    }
    others.truncate(MEMBERS);
    let length = |members: &[(&[u8], &[u8])]| {
        members.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>().saturating_sub(1)
    };
    while length(&others) > LENGTH {
        let long = others.iter().rposition(|(key, value)| key.len() + value.len() + 1 > LONG);
        others.remove(long.unwrap_or(others.len() - 1));
    }
    let joined = others.iter().map(|(key, value)| [key, &b"="[..], value].concat());
    joined.collect::<Vec<_>>().join(&b","[..])
}

/// Without zeros at its end; `0` for none.
fn threshold_text(threshold: u64) -> Vec<u8> {
    let mut digits = [b'0'; (BITS / 4) as usize];
    hex::write(threshold.into(), &mut digits);
    let last = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(0);
    digits[..=last].to_vec()
}
