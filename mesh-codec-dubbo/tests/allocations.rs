//! What a proxy does with a call and its answer allocates nothing beside the buffers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::BytesMut;
use mesh_codec_dubbo::{
    Request, Response,
    frame::{Codec, Frame, Incoming},
};
use mesh_core::{Context, Head, RequestView, time};
use mesh_test::alloc::{Counting, count};
use tokio_util::codec::Decoder;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn next(wire: &mut BytesMut) -> Frame {
    match Codec::default().decode(wire).unwrap() {
        Some(Incoming::Frame(frame)) => frame,
        other => panic!("{other:?}"),
    }
}

/// Frame, names, walk, patch, and written; and the same of the answer.
fn pass_on(calls: &mut BytesMut, answers: &mut BytesMut, out: &mut BytesMut) {
    let mut call = Request::from_frame(next(calls), Context::begin(time::now(), None)).unwrap();
    assert_eq!((call.service(), call.method(), call.group()), ("demo.Shop", "order", Some("g")));
    assert!(call.timeout().is_some() && call.get("traceparent").is_none());
    call.set("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    call.set("timeout", b"29");
    call.remove("group");
    call.write(1, out);
    let mut answer = Response::from_frame(next(answers));
    assert!(!answer.is_exception() && answer.outcome().is_some());
    answer.set("x-mesh-shadow", b"limit");
    answer.write(2, out);
}

#[tokio::test(start_paused = true)]
async fn calls_and_answers() {
    let call = Request::of("demo.Shop", "order")
        .group("g")
        .timeout(std::time::Duration::from_secs(3))
        .arguments("Ljava/util/List;I", |writer| {
            writer.list(None, Some(2));
            writer.string("apples");
            writer.string("pears");
            writer.int(3);
        })
        .build();
    let (mut calls, mut answers, mut out) = (BytesMut::new(), BytesMut::new(), BytesMut::with_capacity(1 << 16));
    for id in 0..20 {
        call.write(id, &mut calls);
        Response::value(&call, |writer| writer.bool(true)).write(id, &mut answers);
    }
    // the first takes what is then used again
    pass_on(&mut calls, &mut answers, &mut out);
    let ((), allocated) = count(|| (1..20).for_each(|_| pass_on(&mut calls, &mut answers, &mut out)));
    assert_eq!(allocated.count, 0, "{allocated:?}");
}
