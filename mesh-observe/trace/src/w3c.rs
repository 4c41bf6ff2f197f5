//! W3C Trace Context, `traceparent`: level 1, and the *random* flag of level 2.

use crate::hex;
use mesh_core::TraceContext;

/// The header.
pub const TRACEPARENT: &str = "traceparent";
/// The header beside it.
pub const TRACESTATE: &str = "tracestate";
/// The flag *sampled*: whoever called records the trace.
pub const SAMPLED: u8 = 1;
/// The flag *random*: at least the last seven bytes of the trace id are.
pub const RANDOM: u8 = 2;

/// The length of a `traceparent` of version 00.
pub const LENGTH: usize = 55;

/// Reads a `traceparent`. `None`, as the standard has it: a version `ff`, an id of zeros, an upper-case or other
/// character that is no digit, version 00 with another length than 55, a higher version whose first 55 bytes are not
/// followed by a dash. Of a higher version those 55 bytes count.
///
/// ```
/// let text = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let trace = mesh_trace::w3c::parse(text).unwrap();
/// assert_eq!((trace.span_id, trace.flags), (0xb7ad6b7169203331, 1));
/// assert_eq!(&mesh_trace::w3c::format(&trace), text);
/// ```
#[inline]
pub fn parse(value: &[u8]) -> Option<TraceContext> {
    let (text, rest) = value.split_first_chunk::<LENGTH>()?;
    let at = |place| hex::word(text, place);
    let ([a, b, c, d, e, f], invalid) = hex::decode([at(3), at(11), at(19), at(27), at(36), at(44)]);
    let outside = [text[0], text[1], text[53], text[54], b'0', b'0', b'0', b'0'];
    let ([outside], other) = hex::decode([u64::from_le_bytes(outside)]);
    let [version, flags, ..] = outside.to_be_bytes();
    let dashes = (text[2] ^ b'-') | (text[35] ^ b'-') | (text[52] ^ b'-');
    let ends = rest.is_empty() || (version != 0 && rest[0] == b'-');
    let trace_id = (u128::from(hex::join(a, b)) << 64) | u128::from(hex::join(c, d));
    let span_id = hex::join(e, f);
    let is_good =
        (invalid | other | u64::from(dashes)) == 0 && version != 0xff && ends && trace_id != 0 && span_id != 0;
    is_good.then_some(TraceContext { trace_id, span_id, flags })
}

/// The ids of a trace that is not recorded, as they came, and its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsampled<'a> {
    pub(crate) trace_id: &'a [u8; 32],
    pub(crate) span_id: &'a [u8; 16],
    pub(crate) flags: u8,
}

/// What [`parse`] makes of most, if it is not *sampled*, without turning digits into numbers: `None` for any other. Of
/// version 00, without flags that mean nothing yet.
#[inline]
pub(crate) fn unsampled(value: &[u8]) -> Option<Unsampled<'_>> {
    let text: &[u8; LENGTH] = value.try_into().ok()?;
    let (trace_id, span_id) = (text[3..].first_chunk::<32>()?, text[36..].first_chunk::<16>()?);
    let flags = match &text[52..] {
        b"-00" => 0,
        b"-02" => RANDOM,
        _ => return None,
    };
    let is_good = text[..3] == *b"00-"
        && text[35] == b'-'
        && hex::are_digits(trace_id, span_id)
        && *trace_id != [b'0'; 32]
        && *span_id != [b'0'; 16];
    is_good.then_some(Unsampled { trace_id, span_id, flags })
}

/// Writes a `traceparent` of version 00.
pub fn format(trace: &TraceContext) -> [u8; LENGTH] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex::write(trace.trace_id, &mut text[3..35]);
    hex::write(trace.span_id.into(), &mut text[36..52]);
    hex::write(trace.flags.into(), &mut text[53..]);
    text
}
