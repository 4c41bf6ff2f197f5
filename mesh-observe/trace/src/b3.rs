//! B3, Zipkin's headers: `b3` alone, or `x-b3-*`.

use crate::hex;

/// The single header.
pub const B3: &str = "b3";
/// The trace id of the multiple headers.
pub const TRACE_ID: &str = "x-b3-traceid";
/// The span id.
pub const SPAN_ID: &str = "x-b3-spanid";
/// The id of that span's parent.
pub const PARENT_ID: &str = "x-b3-parentspanid";
/// The decision: `1` or `0`.
pub const SAMPLED: &str = "x-b3-sampled";
/// `1` where the decision is *debug*.
pub const FLAGS: &str = "x-b3-flags";

/// What was decided for the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is not recorded.
    Deny,
    /// It is.
    Accept,
    /// It is, and whoever may say otherwise is asked not to.
    Debug,
}

/// The ids of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span; never zero.
    pub span_id: u64,
    /// The trace id is written with 16 digits.
    pub is_narrow: bool,
}

/// What a request says by B3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct B3Context {
    /// The span that called; `None` where only a decision was sent.
    pub ids: Option<Ids>,
    /// The decision; `None` where it is left to whoever comes next.
    pub decision: Option<Decision>,
}

fn decision(text: &[u8]) -> Option<Decision> {
    match text {
        b"0" => Some(Decision::Deny),
        b"1" => Some(Decision::Accept),
        b"d" => Some(Decision::Debug),
        _ => None,
    }
}

fn ids(trace_id: &[u8], span_id: &[u8]) -> Option<Ids> {
    let (trace_id, is_narrow) = match trace_id.len() {
        32 => (hex::u128_of(trace_id.try_into().ok()?)?, false),
        _ => (hex::u64_of(trace_id.try_into().ok()?)?.into(), true),
    };
    let span_id = hex::u64_of(span_id.try_into().ok()?)?;
    (trace_id != 0 && span_id != 0).then_some(Ids { trace_id, span_id, is_narrow })
}

/// Reads the single header: `trace-span`, `trace-span-decision`, `trace-span-decision-parent`, or a decision alone.
/// Ids are of 16 (the trace's also of 32) lower-case digits and not zero; anything else is `None`.
///
/// ```
/// use mesh_trace::b3;
///
/// let read = b3::parse(b"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90").unwrap();
/// assert_eq!(read.decision, Some(b3::Decision::Accept));
/// assert_eq!(b3::parse(b"0").unwrap().decision, Some(b3::Decision::Deny));
/// ```
pub fn parse(value: &[u8]) -> Option<B3Context> {
    if value.len() == 1 {
        return Some(B3Context { ids: None, decision: Some(decision(value)?) });
    }
    let mut parts = value.split(|byte| *byte == b'-');
    let ids = ids(parts.next()?, parts.next()?)?;
    let decided = match parts.next() {
        None => None,
        Some(text) => Some(decision(text)?),
    };
    if let Some(parent) = parts.next() {
        hex::u64_of(parent.try_into().ok()?)?;
    }
    parts.next().is_none().then_some(B3Context { ids: Some(ids), decision: decided })
}

/// Reads the values of the multiple headers [`TRACE_ID`], [`SPAN_ID`], [`SAMPLED`] and [`FLAGS`]. A decision other than
/// `1`, `0`, and `true` and `false` of old, is `None` as a whole, and so is one id without the other.
pub fn parse_multi(
    trace_id: Option<&[u8]>,
    span_id: Option<&[u8]>,
    sampled: Option<&[u8]>,
    flags: Option<&[u8]>,
) -> Option<B3Context> {
    let ids = match (trace_id, span_id) {
        (None, None) => None,
        (trace_id, span_id) => Some(ids(trace_id?, span_id?)?),
    };
    let decision = match (flags, sampled) {
        (Some(b"1"), _) => Some(Decision::Debug),
        (_, None) => None,
        (_, Some(b"1" | b"true")) => Some(Decision::Accept),
        (_, Some(b"0" | b"false")) => Some(Decision::Deny),
        _ => return None,
    };
    (ids.is_some() || decision.is_some()).then_some(B3Context { ids, decision })
}

/// The longest single header.
pub const LONGEST: usize = 32 + 1 + 16 + 2 + 1 + 16;

/// Writes the single header to the front of a buffer, and gives its length.
pub fn format(ids: &Ids, decision: Decision, parent: Option<u64>, text: &mut [u8; LONGEST]) -> usize {
    let trace = if ids.is_narrow { 16 } else { 32 };
    hex::write(ids.trace_id, &mut text[..trace]);
    text[trace] = b'-';
    let span = trace + 1 + 16;
    hex::write(ids.span_id.into(), &mut text[trace + 1..span]);
    text[span] = b'-';
    text[span + 1] = match decision {
        Decision::Deny => b'0',
        Decision::Accept => b'1',
        Decision::Debug => b'd',
    };
    let Some(parent) = parent else { return span + 2 };
    text[span + 2] = b'-';
    hex::write(parent.into(), &mut text[span + 3..span + 19]);
    span + 19
}
