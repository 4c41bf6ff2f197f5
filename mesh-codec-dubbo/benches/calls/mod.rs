//! What a proxy does with a call of 200 bytes, one with a large argument, and an answer.

use bytes::{BufMut, BytesMut};
use mesh_codec_dubbo::{
    Request, Response,
    frame::{Codec, Frame, Incoming},
};
use mesh_core::{Context, RequestView};
use std::hint::black_box;
use tokio_util::codec::Decoder;

/// A buffer with one frame after the other, and another to write to.
pub(crate) struct Wire {
    frame: Vec<u8>,
    input: BytesMut,
    output: BytesMut,
}

impl Wire {
    fn new(frame: Vec<u8>) -> Self {
        Self { frame, input: BytesMut::new(), output: BytesMut::with_capacity(1 << 20) }
    }

    pub(crate) fn small() -> Self {
        Self::call("the quick brown fox".to_owned())
    }

    pub(crate) fn large() -> Self {
        Self::call("0123456789abcdef".repeat(4096))
    }

    pub(crate) fn answer() -> Self {
        let request = Request::of("demo.DemoService", "sayHello").build();
        let mut out = BytesMut::new();
        Response::value(&request, |writer| writer.string("Hello the quick brown fox")).write(7, &mut out);
        Self::new(out.to_vec())
    }

    fn call(argument: String) -> Self {
        let request = Request::of("demo.DemoService", "sayHello")
            .arguments("Ljava/lang/String;", |writer| writer.string(&argument))
            .attachment("remote.application", "demo-consumer")
            .attachment("timeout", "3000")
            .build();
        let mut out = BytesMut::new();
        request.write(7, &mut out);
        Self::new(out.to_vec())
    }

    #[allow(dead_code, reason = "instructions are counted per call only")]
    pub(crate) fn bytes(&self) -> u64 {
        self.frame.len() as u64
    }

    fn next(&mut self) -> Frame {
        if self.input.is_empty() {
            self.input.reserve(32 * self.frame.len());
            for _ in 0..32 {
                self.input.put_slice(&self.frame);
            }
        }
        match Codec::default().decode(&mut self.input) {
            Ok(Some(Incoming::Frame(frame))) => frame,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) type Variant = (&'static str, fn() -> Wire, fn(&mut Wire));

pub(crate) const VARIANTS: [Variant; 7] = [
    ("frame", Wire::small, frame),
    ("call: frame and names", Wire::small, names),
    ("call: and an attachment", Wire::small, attachment),
    ("call: and passed on with two attachments set", Wire::small, patch),
    ("call of 64 KiB: and an attachment", Wire::large, attachment),
    ("call of 64 KiB: and passed on with two attachments set", Wire::large, patch),
    ("answer: frame and passed on", Wire::answer, answer),
];

fn frame(wire: &mut Wire) {
    black_box(wire.next());
}

fn call(wire: &mut Wire) -> Request {
    Request::from_frame(wire.next(), Context::none()).expect("a call")
}

fn names(wire: &mut Wire) {
    let call = call(wire);
    black_box((call.service(), call.method()));
}

fn attachment(wire: &mut Wire) {
    let call = call(wire);
    assert!(black_box(call.attachment("remote.application")).is_some());
}

fn patch(wire: &mut Wire) {
    let mut call = call(wire);
    call.set("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    call.set("timeout", b"2990");
    wire.output.clear();
    call.write(8, &mut wire.output);
    black_box(&wire.output);
}

fn answer(wire: &mut Wire) {
    let response = Response::from_frame(wire.next());
    wire.output.clear();
    response.write(9, &mut wire.output);
    black_box(&wire.output);
}
