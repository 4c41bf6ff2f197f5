//! `traceparent` and B3: what is read and written is the same again.
#![no_main]
#![allow(clippy::unwrap_used, reason = "what is written is read again")]

use libfuzzer_sys::fuzz_target;
use mesh_trace::{b3, w3c};

fuzz_target!(|data: &[u8]| {
    if let Some(trace) = w3c::parse(data) {
        assert!(trace.trace_id != 0 && trace.span_id != 0);
        assert_eq!(w3c::parse(&w3c::format(&trace)).unwrap(), trace);
    }
    let parts: Vec<Option<&[u8]>> = data.split(|byte| *byte == 0).map(Some).chain([None; 4]).collect();
    for read in [b3::parse(data), b3::parse_multi(parts[0], parts[1], parts[2], parts[3])].into_iter().flatten() {
        let (Some(ids), Some(decision)) = (read.ids, read.decision) else { continue };
        let mut text = [0; b3::LONGEST];
        let length = b3::format(&ids, decision, Some(ids.span_id), &mut text);
        let again = b3::parse(&text[..length]).unwrap();
        assert!(again.decision == Some(decision) && again.ids.unwrap().trace_id == ids.trace_id);
    }
});
