//! Frames, however they arrive.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use bytes::{Bytes, BytesMut};
use common::{bytes, decode, frames, one, vectors};
use mesh_codec_dubbo::frame::{
    Codec, Event, Flags, Frame, FrameError, HEADER_LEN, Head, Incoming, MAX_BODY, Serialization, Status,
};
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

#[test]
fn every_frame_is_read_as_the_vectors_say_and_written_as_it_came() {
    let all = frames();
    assert!(all.len() > 150, "{}", all.len());
    for (id, bytes, said) in all {
        let frame = one(&bytes);
        let Head { flags, status, id: number } = frame.head;
        assert_eq!(flags.is_request(), said["request"].as_bool().unwrap(), "{id}");
        assert_eq!(flags.is_two_way(), said["twoway"].as_bool().unwrap(), "{id}");
        assert_eq!(flags.is_event(), said["event"].as_bool().unwrap(), "{id}");
        assert_eq!(u64::from(flags.serialization().number()), said["serialization"].as_u64().unwrap(), "{id}");
        assert_eq!(u64::from(status.0), said["status"].as_u64().unwrap(), "{id}");
        assert_eq!(number.to_string(), said["id"].as_str().unwrap(), "{id}");
        assert_eq!(frame.body.len() as u64, said["body_len"].as_u64().unwrap(), "{id}");
        let mut out = BytesMut::new();
        Codec::default().encode(&frame, &mut out).unwrap();
        assert_eq!(out, bytes, "{id}");
    }
}

#[test]
fn in_pieces_of_any_size_and_many_in_one() {
    let all = frames();
    let stream: Vec<u8> = all.iter().flat_map(|(_, bytes, _)| bytes.clone()).collect();
    let whole: Vec<Frame> = all.iter().map(|(_, bytes, _)| one(bytes)).collect();
    for piece in [1, 2, 3, 7, 15, 16, 17, 100, 1000, stream.len()] {
        assert_eq!(decode(&stream, piece), whole, "{piece}");
    }
}

#[test]
fn probes_are_cut_into_frames_or_refused() {
    for vector in vectors("dubbo2-probe-java-provider").iter().chain(&vectors("generic-java-provider")) {
        let id = vector["id"].as_str().unwrap();
        let (mut codec, mut buffer) = (Codec::default(), BytesMut::from(&bytes(&vector["sent_hex"])[..]));
        let mut count = 0;
        let end = loop {
            match codec.decode(&mut buffer) {
                Ok(Some(_)) => count += 1,
                Ok(None) => break Ok(buffer.len()),
                Err(error) => break Err(error.to_string()),
            }
        };
        match id {
            "probe.oversize_declared_length_9mib" => assert_eq!((count, end), (1, Ok(0)), "{id}"),
            "probe.negative_length" => assert!(end.unwrap_err().starts_with("a body of"), "{id}"),
            "probe.garbage_then_frame" | "probe.telnet_ls" | "probe.http_get" => {
                assert_eq!((count, end), (0, Err("not a frame of Dubbo2".to_owned())), "{id}");
            }
            "probe.pipelined_3_first_slow" => assert_eq!((count, end), (3, Ok(0))),
            "probe.same_id_twice" => assert_eq!((count, end), (2, Ok(0))),
            // what is left stands in the body, or is a frame too short by what was cut off
            "probe.body_truncated_inside_length_short_by_3" => assert_eq!(count, 1, "{id} {end:?}"),
            _ => assert_eq!((count, end), (1, Ok(0)), "{id}"),
        }
    }
}

#[test]
fn bad_bytes_are_refused_at_the_first_of_them() {
    for bytes in [&b"G"[..], b"\xda\xbc", b"\xbb\xda", b"\xdb"] {
        assert!(matches!(Codec::default().decode(&mut bytes.into()), Err(FrameError::Magic)), "{bytes:?}");
    }
    for bytes in [&b""[..], b"\xda", b"\xda\xbb\xc2"] {
        assert!(matches!(Codec::default().decode(&mut bytes.into()), Ok(None)), "{bytes:?}");
    }
}

fn header(length: u32) -> BytesMut {
    let mut header = BytesMut::from(&Frame::heartbeat(9).head.write(0)[..]);
    header[12..].copy_from_slice(&length.to_be_bytes());
    header
}

#[test]
fn a_body_that_is_too_long_is_passed_over_and_the_next_frame_is_read() {
    let mut codec = Codec::new(100);
    let mut buffer = header(101);
    let Some(Incoming::TooLong { head, length }) = codec.decode(&mut buffer).unwrap() else { panic!("it is too long") };
    assert_eq!((head.id, length), (9, 101));
    for _ in 0..100 {
        buffer.extend_from_slice(b"x");
        assert!(codec.decode(&mut buffer).unwrap().is_none());
    }
    buffer.extend_from_slice(b"x");
    Frame::heartbeat(10).write(&mut buffer);
    assert_eq!(codec.decode(&mut buffer).unwrap(), Some(Incoming::Frame(Frame::heartbeat(10))));

    let mut codec = Codec::new(100);
    assert!(matches!(codec.decode(&mut header(801)), Err(FrameError::Length(801))));
    assert!(matches!(codec.decode(&mut header(0x8000_0000)), Err(FrameError::Length(0x8000_0000))));
    // as long as may be, and nothing is reserved for it
    let mut buffer = header(MAX_BODY as u32);
    assert!(Codec::default().decode(&mut buffer).unwrap().is_none() && buffer.capacity() < 1024);
}

#[test]
fn a_body_is_a_part_of_what_was_read() {
    let mut buffer = BytesMut::with_capacity(256);
    Frame { head: Frame::heartbeat(1).head, body: Bytes::from_static(b"0123456789") }.write(&mut buffer);
    let there = buffer[HEADER_LEN..].as_ptr();
    let Some(Incoming::Frame(frame)) = Codec::default().decode(&mut buffer).unwrap() else { panic!("it is whole") };
    assert_eq!(frame.body.as_ptr(), there);
}

#[test]
fn events() {
    let event = |flags: u8, body: &'static [u8]| {
        let head = Head { flags: Flags::from_bits(flags), status: Status(0), id: 1 };
        Frame { head, body: Bytes::from_static(body) }.event()
    };
    assert_eq!(event(0xe2, b"N"), Some(Event::Heartbeat));
    assert_eq!(event(0x22, b"NN"), Some(Event::Heartbeat));
    assert_eq!(event(0xa2, b"\x01R"), Some(Event::ReadOnly));
    assert_eq!(event(0xa2, b"\x30\x01W"), Some(Event::Writable));
    assert_eq!(event(0xe2, b""), Some(Event::Other));
    assert_eq!(event(0xe2, b"\x01H"), Some(Event::Other));
    assert_eq!(event(0xe6, b"null\n"), Some(Event::Heartbeat));
    assert_eq!(event(0xa6, b"\"R\"\n"), Some(Event::ReadOnly));
    assert_eq!(event(0xf7, b"\xaf"), Some(Event::Heartbeat));
    assert_eq!(event(0xb7, b"\xaf"), Some(Event::Other));
    assert_eq!(event(0xc2, b"N"), None);
    let answer = Frame::heartbeat(5).heartbeat_answer();
    assert_eq!((answer.head.flags.bits(), answer.head.status, answer.head.id), (0x22, Status::OK, 5));
    assert_eq!(answer.body, b"N"[..]);
    let other =
        Frame { head: Head { flags: Flags::from_bits(0xe6), ..answer.head }, body: Bytes::from_static(b"null") };
    assert_eq!(other.heartbeat_answer().head.flags.bits(), 0x26);
    assert_eq!(Flags::from_bits(0xff).serialization(), Serialization::new(31));
}

proptest! {
    #[test]
    fn what_is_written_is_read(flags: u8, status: u8, id: u64, body in prop::collection::vec(any::<u8>(), 0..300), piece in 1_usize..64) {
        let head = Head { flags: Flags::from_bits(flags), status: Status(status), id };
        let frame = Frame { head, body: body.into() };
        let mut out = BytesMut::new();
        frame.write(&mut out);
        frame.write(&mut out);
        prop_assert_eq!(decode(&out, piece), [frame.clone(), frame]);
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut codec = Codec::new(64);
        while let Ok(Some(_)) = codec.decode(&mut buffer) {}
        prop_assert!(buffer.len() <= bytes.len());
    }
}
