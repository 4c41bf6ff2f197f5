//! Requests and responses: what is seen of them, and that what is changed of their attachments changes nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use bytes::{Bytes, BytesMut};
use common::{bytes, decode, one, vectors};
use mesh_codec_dubbo::{
    Answer, Dubbo, Request, Response,
    frame::{Flags, Frame, HEADER_LEN, Head, Incoming, Serialization, Status},
    hessian2::{Limits, Reader, Writer},
};
use mesh_core::{Context, Head as _, Protocol, RequestView};
use proptest::prelude::*;
use serde_json::Value;
use std::time::Duration;
use tokio_util::codec::Decoder;

fn request(frame: Frame) -> Request {
    Request::from_frame(frame, Context::none()).unwrap()
}

/// The requests of the vectors that are calls, and what the vectors say of them.
fn calls() -> Vec<(String, Vec<u8>, Value)> {
    let all = common::frames().into_iter();
    all.filter(|(_, _, said)| said["invocation"].is_object()).collect()
}

fn written(request: &Request) -> Vec<u8> {
    let mut out = BytesMut::new();
    request.write(request.head().id, &mut out);
    out.to_vec()
}

#[test]
fn every_call_is_seen_as_the_vectors_say() {
    let calls = calls();
    assert!(calls.len() > 80, "{}", calls.len());
    for (id, bytes, said) in calls {
        let request = request(one(&bytes));
        let said = &said["invocation"];
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(request.dubbo_version(), text("dubbo_version"), "{id}");
        assert_eq!(request.service(), text("path"), "{id}");
        let version = Some(text("version")).filter(|version| !matches!(&version[..], "" | "0.0.0"));
        assert_eq!(request.service_version(), version.as_deref(), "{id}");
        assert_eq!(request.descriptor(), text("param_desc"), "{id}");
        assert_eq!(request.argument_count().map(u64::from), said["args"].as_u64(), "{id}");
        if request.is_generic() {
            assert!(text("method").starts_with("$invoke") && !request.method().starts_with('$'), "{id}");
        } else {
            assert_eq!(request.method(), text("method"), "{id}");
        }
        for (name, value) in said["attachments"].as_object().unwrap() {
            if let Some(value) = value.as_str() {
                assert_eq!(request.attachment(name), Some(value), "{id} {name}");
                assert_eq!(request.get(&name.to_lowercase()), Some(value.as_bytes()), "{id} {name}");
            }
        }
        assert_eq!(request.group(), said["attachments"]["group"].as_str(), "{id}");
        assert!(!request.is_malformed() && !request.is_opaque());
        assert_eq!(written(&request), bytes, "{id}");
    }
}

#[test]
fn probes_are_seen_through_or_found_to_be_malformed() {
    for vector in vectors("dubbo2-probe-java-provider").iter().chain(&vectors("generic-java-provider")) {
        let id = vector["id"].as_str().unwrap();
        let mut buffer = BytesMut::from(&bytes(&vector["sent_hex"])[..]);
        let mut codec = mesh_codec_dubbo::frame::Codec::default();
        while let Ok(Some(Incoming::Frame(frame))) = codec.decode(&mut buffer) {
            if frame.head.flags.is_event() {
                continue;
            }
            let mut request = Request::from_frame(frame.clone(), Context::none()).expect(id);
            let is_whole = request.get("path").is_some() || request.set_and_read("x") == Some("y");
            let is_readable = !matches!(
                id,
                "probe.serialization_id_0"
                    | "probe.serialization_id_21"
                    | "probe.body_truncated_inside_length_short_by_3"
                    | "probe.4_byte_utf8_len_1"
            );
            assert_eq!(is_whole, is_readable, "{id}");
            assert_eq!(request.is_malformed(), !is_whole && !request.is_opaque(), "{id}");
        }
    }
}

trait SetAndRead {
    fn set_and_read(&mut self, name: &str) -> Option<&str>;
}

impl SetAndRead for Request {
    fn set_and_read(&mut self, name: &str) -> Option<&str> {
        self.set_attachment(name, "y");
        self.attachment(name)
    }
}

#[test]
fn a_patch_changes_nothing_but_its_attachment() {
    for (id, bytes, _) in calls() {
        let original = request(one(&bytes));
        let end = bytes.len() - 1;
        // one more: before the end of the map, and the length
        let mut added = request(one(&bytes));
        added.set("traceparent", b"00-1-2-01");
        let mut expected = bytes[..end].to_vec();
        expected.extend_from_slice(b"\x0btraceparent\x0900-1-2-01Z");
        let length = (expected.len() - HEADER_LEN) as u32;
        expected[12..16].copy_from_slice(&length.to_be_bytes());
        assert_eq!(written(&added), expected, "{id}");
        // and away again
        added.remove("traceparent");
        assert_eq!(written(&added), bytes, "{id}");
        // each in turn, longer and shorter, and back
        let names: Vec<(String, String)> =
            original.attachments_iter().filter_map(|(name, value)| Some((name.into(), value?.into()))).collect();
        for (name, value) in names {
            for other in ["", "a much longer value than before, with ümläuts and \u{1f600}", &value[..]] {
                let mut changed = request(one(&bytes));
                changed.set_attachment(&name, other);
                let frame = written(&changed);
                let read = request(one(&frame));
                for (known, text) in original.attachments_iter() {
                    let expected = if known == name { Some(other) } else { text };
                    assert_eq!(read.attachment(known), expected, "{id} {known}");
                }
                let mut arguments = original.arguments().unwrap();
                let start = arguments.position();
                for _ in 0..original.argument_count().unwrap() {
                    arguments.skip().unwrap();
                }
                let arguments = start..arguments.position();
                assert_eq!(read.body()[arguments.clone()], original.body()[arguments], "{id}");
                if other == value {
                    assert_eq!(frame, bytes, "{id}");
                }
            }
            let mut removed = request(one(&bytes));
            removed.remove(&name);
            assert_eq!(removed.attachment(&name), None, "{id} {name}");
            let read = request(one(&written(&removed)));
            assert_eq!(read.attachment(&name), None, "{id} {name}");
            assert_eq!(read.attachments_iter().count(), original.attachments_iter().count() - 1, "{id} {name}");
        }
    }
}

/// A call without arguments whose attachments, and what follows, are these bytes.
fn with_attachments(tail: &[u8]) -> Request {
    let mut writer = Writer::new(Vec::new());
    for text in ["2.0.2", "s", "1.0", "m", ""] {
        writer.string(text);
    }
    let mut body = writer.into_inner();
    body.extend_from_slice(tail);
    let head = Head { flags: Flags::two_way(Serialization::HESSIAN2), status: Status(0), id: 1 };
    request(Frame { head, body: body.into() })
}

fn tail(request: &Request) -> Vec<u8> {
    let frame = written(request);
    assert_eq!(decode(&frame, usize::MAX).len(), 1);
    frame[HEADER_LEN + 15..].to_vec()
}

#[test]
fn attachments_of_every_shape() {
    // absent, null, empty, typed; and bytes behind them stay
    for (before, after) in [
        (&b""[..], &b"H\x01k\x01vZ"[..]),
        (b"N", b"H\x01k\x01vZ"),
        (b"Nrest", b"H\x01k\x01vZrest"),
        (b"HZ", b"H\x01k\x01vZ"),
        (b"HZ\x91\x92", b"H\x01k\x01vZ\x91\x92"),
        (b"M\x11java.util.HashMap\x01a\x01bZ", b"M\x11java.util.HashMap\x01a\x01b\x01k\x01vZ"),
        (b"C\x01c\x90N", b"C\x01c\x90H\x01k\x01vZ"),
    ] {
        let mut request = with_attachments(before);
        assert_eq!((request.attachment("k"), tail(&request)), (None, before.to_vec()));
        request.set_attachment("k", "v");
        assert_eq!(tail(&request), after, "{before:?}");
        assert_eq!(request.attachment("k"), Some("v"));
        request.remove_attachment("k");
        assert_eq!((request.attachment("k"), tail(&request)), (None, before.to_vec()));
    }
}

#[test]
fn the_last_of_a_name_counts_and_case_only_where_there_is_no_other() {
    let request = with_attachments(b"H\x01k\x011\x01k\x012\x01K\x013\x01X\x014Z");
    assert_eq!(request.attachment("k"), Some("2"));
    assert_eq!(request.attachment("x"), Some("4"));
    let mut seen = Vec::new();
    request.get_all("k", &mut |value| seen.push(value.to_vec()));
    request.get_several(&["x", "none", "k"], &mut |place, value| seen.push([&[place as u8], value].concat()));
    assert_eq!(seen, [b"2".to_vec(), b"\x004".to_vec(), b"\x022".to_vec()]);
    // one value in place of all there were
    let mut request = request;
    request.set("k", b"5");
    assert_eq!(tail(&request), b"H\x01k\x015\x01X\x014Z");
    request.remove("k");
    assert_eq!(tail(&request), b"H\x01X\x014Z");
    // the last change counts
    request.set("new", b"6");
    request.set("new", b"7");
    assert_eq!(tail(&request), b"H\x01X\x014\x03new\x017Z");
    request.set("new", b"\xff");
    assert_eq!(request.attachment("new"), Some("7"));
}

#[test]
fn values_that_define_something_stay_where_they_are() {
    // an int may go; a list, an object with its class, and a key before which a class is defined may not
    let mut request = with_attachments(b"H\x01i\x95\x01l\x78\x01oC\x01c\x91\x01f`\x01vC\x01d\x90\x01k\x01v\x02in`QZ");
    assert_eq!(request.attachment("i"), None);
    request = with_attachments(b"H\x01i\x95\x01l\x78\x01oC\x01c\x91\x01f`\x01vC\x01d\x90\x01k\x01vZ");
    for name in ["i", "l", "o"] {
        assert_eq!(request.attachment(name), None);
        request.set_attachment(name, "x");
        assert_eq!(request.attachment(name), Some("x"));
    }
    request.set_attachment("k", "y");
    assert_eq!(
        tail(&request),
        b"H\x01i\x01x\x01l\x78\x01oC\x01c\x91\x01f`\x01vC\x01d\x90\x01k\x01v\x01l\x01x\x01o\x01x\x01k\x01yZ"
    );
    for name in ["i", "l", "o", "k"] {
        request.remove_attachment(name);
        assert_eq!(request.attachment(name), None);
    }
    let again = with_attachments(&tail(&request));
    assert_eq!(again.attachments_iter().filter(|(_, value)| value.is_some()).count(), 1, "only `k` before its null");
    assert_eq!((again.attachment("k"), again.attachment("l")), (None, None));
}

#[test]
fn names_are_what_the_receiver_reads_however_they_are_written() {
    // in chunks, and with a surrogate pair
    let head = Head { flags: Flags::two_way(Serialization::HESSIAN2), status: Status(0), id: 1 };
    let body = b"\x052.0.2R\x00\x04demo\x04.Foo\x00S\x00\x03bar\x00H\x05groupR\x00\x01g\x011\x02\xed\xa0\xbd\xed\xb8\x80\x01eZ";
    let mut request = request(Frame { head, body: Bytes::from_static(body) });
    assert_eq!((request.service(), request.method(), request.group()), ("demo.Foo", "bar", Some("g1")));
    assert_eq!(request.attachment("\u{1f600}"), Some("e"));
    request.set_attachment("group", "g2");
    let again = self::request(one(&written(&request)));
    assert_eq!((again.service(), again.group()), ("demo.Foo", Some("g2")));
}

#[test]
fn malformed_and_opaque_bodies() {
    let head = Head { flags: Flags::two_way(Serialization::HESSIAN2), status: Status(0), id: 1 };
    for body in [&b""[..], b"\x052.0.2", b"\x95\x01a\x01b\x01c\x00HZ", b"\x01a\x01b\x01c\x01d\x95HZ"] {
        assert!(Request::from_frame(Frame { head, body: Bytes::from_static(body) }, Context::none()).is_err());
    }
    // nobody has looked: it goes on as it is
    let mut bad = request(Frame { head, body: Bytes::from_static(b"\x01a\x01b\x01c\x01d\x01I\x40HZ") });
    assert!(!bad.is_malformed());
    assert_eq!(bad.attachment("x"), None);
    assert!(bad.is_malformed());
    bad.set_attachment("x", "y");
    assert_eq!(written(&bad)[HEADER_LEN..], *b"\x01a\x01b\x01c\x01d\x01I\x40HZ");

    let head = Head { flags: Flags::one_way(Serialization::new(23)), ..head };
    let mut opaque = request(Frame { head, body: Bytes::from_static(b"\x01\x02\x03") });
    opaque.set_attachment("x", "y");
    assert_eq!((opaque.service(), opaque.method(), opaque.attachment("x")), ("", "", None));
    assert!(opaque.is_opaque() && opaque.is_one_way() && !opaque.is_malformed());
    assert!(opaque.arguments().is_none() && opaque.argument_count().is_none());
    assert_eq!(written(&opaque)[HEADER_LEN..], *b"\x01\x02\x03");
}

#[test]
fn timeouts() {
    assert_eq!(with_attachments(b"H\x07timeout\x043000Z").timeout(), Some(Duration::from_secs(3)));
    assert_eq!(with_attachments(b"H\x03_TO\x0250Z").timeout(), Some(Duration::from_millis(50)));
    for none in [&b"HZ"[..], b"H\x07timeout\x010Z", b"H\x07timeout\x02-1Z", b"H\x07timeout\x95Z"] {
        assert_eq!(with_attachments(none).timeout(), None);
    }
}

fn values(request: &Request, path: &str) -> Vec<String> {
    let mut values = Vec::new();
    Dubbo::attribute(path).expect(path).visit(request, &mut |value| {
        values.push(String::from_utf8_lossy(value).into_owned());
    });
    values
}

#[test]
fn attributes() {
    let calls = calls();
    let (_, bytes, _) = calls.iter().find(|(id, ..)| id == "node-to-java.022.describeUser request").unwrap();
    let user = request(one(bytes));
    assert_eq!(values(&user, "service"), ["demo.DemoService"]);
    assert_eq!(values(&user, "method"), ["describeUser"]);
    assert_eq!(values(&user, "metadata.interface"), ["demo.DemoService"]);
    assert_eq!(values(&user, "version"), [""; 0]);
    assert_eq!(values(&user, "argument.0.name").len(), 1);
    assert_eq!(values(&user, "argument.0.nothing"), [""; 0]);
    assert_eq!(values(&user, "argument.1"), [""; 0]);
    for unknown in ["argument", "argument.", "argument.x", "argument.0.", "arguments.0", "path"] {
        assert!(Dubbo::attribute(unknown).is_err(), "{unknown}");
    }

    let request = Request::of("demo.Shop", "order")
        .version("1.0")
        .group("g")
        .arguments("Ljava/util/Map;Ljava/util/Map;I[JZDLjava/util/Date;Ljava/lang/Object;", |writer| {
            let map = writer.map(None);
            writer.string("user");
            let inner = writer.map(Some("a.Map"));
            writer.string("name");
            writer.string("Ann");
            writer.string("tags");
            writer.list(None, Some(2));
            writer.string("x");
            writer.string("y");
            writer.end();
            writer.string("self");
            writer.reference(map);
            writer.end();
            writer.reference(inner);
            writer.int(-7);
            writer.list(Some("[long"), Some(1));
            writer.long(1 << 40);
            writer.bool(true);
            writer.double(1e300);
            writer.date(1_000);
            writer.null();
        })
        .build();
    for (path, value) in [
        ("version", "1.0"),
        ("group", "g"),
        ("argument.0.user.name", "Ann"),
        ("argument.0.user.tags.1", "y"),
        ("argument.0.self.self.user.name", "Ann"),
        ("argument.1.name", "Ann"),
        ("argument.1.tags.0", "x"),
        ("argument.2", "-7"),
        ("argument.3.0", "1099511627776"),
        ("argument.4", "true"),
        ("argument.6", "1000"),
    ] {
        assert_eq!(values(&request, path), [value], "{path}");
    }
    assert_eq!(values(&request, "argument.5")[0].len(), 301);
    for path in ["argument.7", "argument.0", "argument.3.1", "argument.0.user.tags.9", "argument.2.x", "argument.8"] {
        assert_eq!(values(&request, path), [""; 0], "{path}");
    }
}

#[test]
fn a_generic_call_is_known_by_the_method_it_names() {
    for vector in vectors("generic-java-provider") {
        let request = request(one(&bytes(&vector["sent_hex"])));
        assert!(request.is_generic() && !request.method().starts_with('$'), "{}", vector["id"]);
        assert_eq!(values(&request, "argument.0"), [request.method()]);
    }
}

#[test]
fn replays_are_the_same_as_they_were() {
    let (_, bytes, _) = &calls()[0];
    let mut first = request(one(bytes));
    first.set("a", b"1");
    let mut replay = Dubbo::replay(&mut first, 1 << 20).unwrap();
    let before = written(&first);
    first.set("b", b"2");
    for _ in 0..2 {
        let mut again = replay.again().unwrap();
        assert_eq!(written(&again), before);
        again.set("c", b"3");
    }
    assert!(Dubbo::replay(&mut first, 10).is_none());
}

#[test]
fn answers_say_what_the_vectors_say() {
    let mut kinds = [0; 6];
    for (id, bytes, said) in common::frames() {
        if said["request"] == true || said["event"] == true {
            continue;
        }
        let response = Response::from_frame(one(&bytes));
        let Some(flag) = said["result_flag"].as_u64() else {
            if response.status() == Status::OK {
                // a provider for Node says null without saying that it does
                assert!(response.answer().is_err() && response.body() == &b"N"[..], "{id}");
                continue;
            }
            let Answer::Failed(status, message) = response.answer().expect(&id) else { panic!("{id} is a failure") };
            assert_eq!((status, u64::from(status.0)), (response.status(), said["status"].as_u64().unwrap()), "{id}");
            if let Some(said) = said["body"][0]["v"].as_str() {
                assert_eq!(message.as_deref(), Some(said), "{id}");
            }
            assert_eq!(response.outcome(), Some(response.code().outcome()));
            continue;
        };
        kinds[flag as usize] += 1;
        match (flag, response.answer().expect(&id)) {
            (0 | 3, Answer::Exception(_)) | (1 | 4, Answer::Value(_)) | (2 | 5, Answer::Null) => {}
            (_, answer) => panic!("{id}: {answer:?}"),
        }
        assert_eq!(response.is_exception(), matches!(flag, 0 | 3), "{id}");
        let attachments =
            (flag > 2).then(|| said["body"].as_array().and_then(|body| body.last()?["entries"].as_array()));
        for entry in attachments.flatten().into_iter().flatten() {
            assert_eq!(response.attachment(entry[0]["v"].as_str().unwrap()), entry[1]["v"].as_str(), "{id}");
        }
        let mut out = BytesMut::new();
        response.write(response.head().id, &mut out);
        assert_eq!(out, bytes, "{id}");
        let mut changed = response;
        changed.set("x-mesh-shadow", b"limit");
        assert_eq!(changed.attachment("x-mesh-shadow"), (flag > 2).then_some("limit"), "{id}");
        out.clear();
        changed.write(1, &mut out);
        let again = Response::from_frame(one(&out));
        assert_eq!((again.head().id, again.attachment("x-mesh-shadow")), (1, (flag > 2).then_some("limit")), "{id}");
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

#[test]
fn what_consumers_take_is_forwarded_and_looked_into_or_not() {
    for vector in vectors("dubbo2-java-consumer-accepts") {
        let id = vector["id"].as_str().unwrap();
        let bytes = bytes(&vector["response_bytes_hex"]);
        if id == "accept.garbage-before" {
            continue;
        }
        for frame in decode(&bytes, 5) {
            if frame.head.flags.is_event() {
                continue;
            }
            let response = Response::from_frame(frame);
            let is_bad = matches!(id, "accept.flag9");
            assert_eq!(response.answer().is_err(), is_bad, "{id}");
            let _ = response.attachment("dubbo");
            let mut out = BytesMut::new();
            response.write(response.head().id, &mut out);
            assert!(bytes.windows(out.len()).any(|part| part == out), "{id}");
        }
    }
}

#[test]
fn answers_of_our_own() {
    let text = |response: &Response| match response.answer().unwrap() {
        Answer::Value(mut reader) | Answer::Exception(mut reader) => {
            reader.read_text().unwrap().unwrap().to_string_lossy().into_owned()
        }
        Answer::Failed(status, message) => format!("{} {}", status.0, message.unwrap_or_default()),
        other => format!("{other:?}"),
    };
    let request = Request::of("s", "m").build();
    let response = Response::value(&request, |writer| writer.string("hi"));
    assert_eq!((text(&response), response.attachment("dubbo")), ("hi".into(), Some("2.0.2")));
    assert!(Response::exception(&request, |writer| writer.string("no throwable")).is_exception());
    assert_eq!(text(&Response::null(&request)), "Null");
    assert_eq!(text(&Response::failed(Status::SERVICE_ERROR, "why")), "70 why");
    let old = with_attachments(b"HZ").body().clone();
    let old = Bytes::from([b"\x052.5.3", &old[6..]].concat());
    let old = self::request(Frame { head: *request.head(), body: old });
    let response = Response::value(&old, |writer| writer.string("hi"));
    assert_eq!((text(&response), response.body().len(), response.attachment("dubbo")), ("hi".into(), 4, None));
}

proptest! {
    /// Whatever is set and removed, a reader of the written frame sees what the request said, the arguments are the same
    /// bytes, and the stream is whole.
    #[test]
    fn patches_read_back(
        attachments in prop::collection::vec(("[a-cA-C]{1,2}", prop::option::of("\\PC{0,40}")), 0..8),
        changes in prop::collection::vec(("[a-cA-C]{1,2}", prop::option::of("\\PC{0,40}")), 0..8),
        trailing in prop::collection::vec(any::<u8>(), 0..4),
        null: bool,
    ) {
        let mut writer = Writer::new(Vec::new());
        for text in ["2.0.2", "s", "", "m", "[I"] {
            writer.string(text);
        }
        writer.list(Some("[int"), Some(2));
        writer.int(1);
        writer.int(100_000);
        if null && attachments.is_empty() {
            writer.null();
        } else {
            writer.map(None);
            for (name, value) in &attachments {
                writer.string(name);
                match value {
                    Some(value) => writer.string(value),
                    None => {
                        writer.list(None, Some(1));
                        writer.null();
                    }
                }
            }
            writer.end();
        }
        let mut body = writer.into_inner();
        body.extend_from_slice(&trailing);
        let head = Head { flags: Flags::two_way(Serialization::HESSIAN2), status: Status(0), id: 1 };
        let mut changed = request(Frame { head, body: body.clone().into() });
        for (name, value) in &changes {
            match value {
                Some(value) => changed.set_attachment(name, value),
                None => changed.remove_attachment(name),
            }
            prop_assert_eq!(changed.attachment(name), value.as_deref());
        }
        let frame = one(&written(&changed));
        let read = request(frame.clone());
        for first in "abcABC".chars() {
            for second in ["", "a", "b", "c", "A", "B", "C"] {
                let name = format!("{first}{second}");
                prop_assert_eq!(read.attachment(&name), changed.attachment(&name), "{}", name);
            }
        }
        let start = changed.arguments().unwrap().position();
        prop_assert_eq!(&frame.body[start..start + 10], &body[start..start + 10]);
        prop_assert!(frame.body.ends_with(&trailing));
        let mut reader = Reader::new(&frame.body[..frame.body.len() - trailing.len()], Limits::WALK);
        for _ in 0..7 {
            reader.skip().unwrap();
        }
        reader.finish().unwrap();
        if changes.is_empty() {
            prop_assert_eq!(&frame.body[..], &body[..]);
        }
    }

    #[test]
    fn any_body_is_a_call_or_an_error(body in prop::collection::vec(any::<u8>(), 0..120), name in "[a-c]") {
        let head = Head { flags: Flags::two_way(Serialization::HESSIAN2), status: Status(0), id: 1 };
        let frame = Frame { head, body: body.into() };
        if let Ok(mut request) = Request::from_frame(frame.clone(), Context::none()) {
            let _ = (request.service(), request.method(), request.is_generic(), request.group());
            request.set_attachment(&name, "1");
            request.remove_attachment("group");
            let _ = values(&request, "argument.0.a.0");
            let _ = one(&written(&request));
        }
        let response = Response::from_frame(Frame { head: Head { status: Status::OK, ..head }, ..frame });
        let _ = (response.answer().is_ok(), response.attachment("a"));
    }
}
