//! Frames of Dubbo2 in any pieces, and calls in them: what is seen of a call is what is seen of it when it has been written
//! again, whatever was changed of its attachments.
#![no_main]
#![allow(clippy::unwrap_used, reason = "what was read is written and read again")]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mesh_codec_dubbo::{
    Dubbo, Request, Response,
    frame::{Codec, Frame, Incoming},
};
use mesh_core::{Context, Protocol, RequestView};
use tokio_util::codec::Decoder;

const MOST: usize = 4096;

/// All frames, from pieces of so many bytes; whether the bytes were good to the end.
fn frames(data: &[u8], piece: usize) -> (Vec<Incoming>, bool) {
    let (mut codec, mut buffer, mut frames) = (Codec::new(MOST), BytesMut::new(), Vec::new());
    for piece in data.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
        assert!(buffer.len() < MOST + 16 + piece.len());
    }
    (frames, true)
}

fn written(write: impl FnOnce(&mut BytesMut)) -> Frame {
    let mut out = BytesMut::new();
    write(&mut out);
    match Codec::new(2 * MOST).decode(&mut out) {
        Ok(Some(Incoming::Frame(frame))) if out.is_empty() => frame,
        other => panic!("{other:?}"),
    }
}

fn call(frame: &Frame) {
    let Ok(mut call) = Request::from_frame(frame.clone(), Context::none()) else { return };
    assert_eq!(&written(|out| call.write(frame.head.id, out)), frame);
    for path in ["service", "group", "argument.0", "argument.1.name.0", "metadata.timeout"] {
        Dubbo::attribute(path).unwrap().visit(&call, &mut |_| ());
    }
    let names: Vec<String> = call.attachments_iter().map(|(name, _)| name.to_owned()).take(4).collect();
    for (place, name) in names.iter().enumerate() {
        if place % 2 == 0 { call.set_attachment(name, "changed") } else { call.remove_attachment(name) }
    }
    call.set("traceparent", b"added");
    let again = Request::from_frame(written(|out| call.write(1, out)), Context::none()).unwrap();
    assert_eq!((again.service(), again.method()), (call.service(), call.method()));
    for name in names.iter().map(String::as_str).chain(["group", "timeout", "traceparent"]) {
        assert_eq!(again.attachment(name), call.attachment(name), "{name}");
    }
    assert_eq!(again.is_malformed(), call.is_malformed());
}

fuzz_target!(|data: &[u8]| {
    let (whole, is_good) = frames(data, data.len().max(1));
    assert_eq!(frames(data, 1), (whole.clone(), is_good));
    for incoming in whole {
        let Incoming::Frame(frame) = incoming else { continue };
        if frame.event().is_some() {
            continue;
        }
        if frame.head.flags.is_request() {
            call(&frame);
        } else {
            let mut response = Response::from_frame(frame.clone());
            let _ = response.answer().is_ok();
            assert_eq!(written(|out| response.write(frame.head.id, out)), frame);
            response.set_attachment("x", "y");
            let again = Response::from_frame(written(|out| response.write(1, out)));
            assert_eq!(again.attachment("x"), response.attachment("x"));
        }
    }
});
