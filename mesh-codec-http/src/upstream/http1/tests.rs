use super::{
    decode::{Decoded, Decoder},
    head::{self, Head, MAX_HEAD, Malformed},
};
use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;

/// Data, trailers, and what is left, of bytes that come in such pieces; `None`: more is to come.
type Read = Result<(Vec<u8>, Option<HeaderMap>, Option<usize>), Malformed>;

fn decode(mut decoder: Decoder, pieces: &[&[u8]]) -> Read {
    let (mut data, mut trailers) = (Vec::new(), None);
    for (index, piece) in pieces.iter().enumerate() {
        let mut bytes = Bytes::copy_from_slice(piece);
        loop {
            match decoder.decode(&mut bytes)? {
                Decoded::Data(part) => data.extend_from_slice(&part),
                Decoded::Trailers(fields) => trailers = Some(fields),
                Decoded::More => break,
                Decoded::Done => {
                    let left = bytes.len() + pieces[index + 1..].iter().map(|piece| piece.len()).sum::<usize>();
                    return Ok((data, trailers, Some(left)));
                }
            }
        }
    }
    let over = matches!(decoder.decode(&mut Bytes::new())?, Decoded::Done);
    Ok((data, trailers, over.then_some(0)))
}

fn chunked(bytes: &str) -> Read {
    decode(Decoder::chunked(), &[bytes.as_bytes()])
}

#[test]
fn chunks() {
    assert_eq!(
        chunked("3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n00\r\n\r\n"),
        Ok((b"abc0123456789".into(), None, Some(0)))
    );
    assert_eq!(chunked("3 \t;x\r\nabc\r\n0\r\n\r\nHTTP"), Ok((b"abc".into(), None, Some(4))));
    assert_eq!(chunked("3\r\nab"), Ok((b"ab".into(), None, None)));
    assert_eq!(chunked("ffffffffffffffff\r\nab"), Ok((b"ab".into(), None, None)));
    let (data, trailers, left) = chunked("0\r\na: 1\r\nb:\r\n\r\n").unwrap();
    let trailers = trailers.unwrap();
    assert_eq!((data, left, trailers.len()), (vec![], Some(0), 2));
    assert!(trailers["a"] == "1" && trailers["b"].is_empty());
}

#[test]
fn no_chunks() {
    for bytes in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\n",
        ";\r\n",
        "1\nab",
        "1\r\rab",
        "1 1\r\n",
        "1;a\nb\r\n",
        "3\r\nabcd",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\rx",
        "10000000000000000\r\n",
        "0\r\na b: c\r\n\r\n",
        "0\r\n: c\r\n\r\n",
        "0\r\nx\r\n\r\n",
    ] {
        assert!(chunked(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn what_means_nothing_is_bounded() {
    let extension = |length| format!("1;{}\r\na\r\n", "x".repeat(length));
    assert!(chunked(&extension(16_000)).is_ok());
    assert!(chunked(&extension(17_000)).is_err());
    assert!(chunked(&extension(1_000).repeat(17)).is_err(), "over all chunks");
    assert!(chunked(&format!("0\r\na: {}\r\n\r\n", "x".repeat(17_000))).is_err());
    assert!(chunked(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(101))).is_err());
}

#[test]
fn lengths() {
    assert_eq!(decode(Decoder::length(3), &[b"ab", b"cd"]), Ok((b"abc".into(), None, Some(1))));
    assert_eq!(decode(Decoder::length(0), &[b"ab"]), Ok((vec![], None, Some(2))));
    assert_eq!(decode(Decoder::UntilEnd, &[b"ab", b"cd"]), Ok((b"abcd".into(), None, None)));
}

fn read(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    head::read(&mut Vec::new(), bytes, false)
}

fn whole(head: &str) -> Head {
    read(head.as_bytes()).unwrap().unwrap()
}

#[test]
fn heads() {
    let head = whole("HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nx: a\r\nX:\tb \r\nempty:\r\n\r\nabcd");
    assert_eq!(head.response.status(), 200);
    let values: Vec<_> = head.response.headers().get_all("x").iter().collect();
    assert!(values == ["a", "b"] && head.response.headers()["empty"].is_empty());
    assert_eq!((head.decoder, &head.rest[..], head.keeps_alive), (Decoder::Length(3), &b"abcd"[..], true));
    for (head, keeps_alive) in [
        ("HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 1\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nconnection: keep-alive, close\r\ncontent-length: 1\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nconnection: x, y\r\ncontent-length: 1\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 1\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
    ] {
        assert_eq!(whole(head).keeps_alive, keeps_alive, "{head:?}");
    }
}

#[test]
fn one_framing() {
    for (fields, framing) in [
        ("content-length: 0", Some(Decoder::Done)),
        ("content-length: 5\r\ncontent-length: 5", Some(Decoder::Length(5))),
        ("content-length: 5, 5", Some(Decoder::Length(5))),
        ("content-length: 5\r\ncontent-length: 6", None),
        ("content-length: 5, 6", None),
        ("content-length: +5", None),
        ("content-length: -5", None),
        ("content-length:", None),
        ("content-length: 5,", None),
        ("content-length: 0x5", None),
        ("content-length: 99999999999999999999", None),
        ("transfer-encoding: chunked", Some(Decoder::chunked())),
        ("transfer-encoding: Chunked", Some(Decoder::chunked())),
        ("transfer-encoding: gzip, chunked", None),
        ("transfer-encoding: identity", None),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", None),
        ("transfer-encoding: chunked\r\ncontent-length: 5", Some(Decoder::chunked())),
        ("x: y", Some(Decoder::UntilEnd)),
    ] {
        let head = read(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes());
        match (head, framing) {
            (Ok(Some(head)), Some(framing)) => {
                assert_eq!(head.decoder, framing, "{fields}");
                let lengths = head.response.headers().get_all("content-length").iter().count();
                assert_eq!(lengths, usize::from(fields.starts_with("content")), "{fields}");
            }
            (Err(_), None) => {}
            (head, _) => panic!("{fields}: {:?}", head.map(|head| head.map(|head| head.decoder))),
        }
    }
    let both = whole("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n");
    assert!(!both.keeps_alive);
    assert!(read(b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    for bodyless in ["204 No Content", "304 Not Modified"] {
        let head = whole(&format!("HTTP/1.1 {bodyless}\r\ncontent-length: 5\r\n\r\n"));
        assert_eq!((head.decoder, head.keeps_alive), (Decoder::Done, true));
    }
    let to_head = head::read(&mut Vec::new(), b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", true);
    assert_eq!(to_head.unwrap().unwrap().decoder, Decoder::Done);
}

#[test]
fn heads_are_bounded() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(MAX_HEAD));
    assert!(read(long.as_bytes()).is_err());
    let mut partial = Vec::new();
    let mut pieces = long.as_bytes().chunks(1_000).map(|piece| head::read(&mut partial, piece, false));
    assert!(pieces.any(|read| read.is_err()), "before its end");
    assert!(partial.len() < MAX_HEAD + 1_000);
    assert!(read(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(100)).as_bytes()).is_ok());
    assert!(read(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101)).as_bytes()).is_err());
}

#[test]
fn a_head_may_come_in_pieces() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 201 Created\r\na: b\r\n\r\nrest";
    for size in 1..bytes.len() {
        let mut partial = Vec::new();
        let mut pieces = bytes.chunks(size);
        let head = pieces.by_ref().find_map(|piece| head::read(&mut partial, piece, false).unwrap()).unwrap();
        assert_eq!((head.response.status().as_u16(), &head.response.headers()["a"]), (201, &"b".parse().unwrap()));
        assert!(partial.is_empty());
        let rest: Vec<u8> = head.rest.iter().chain(pieces.flatten()).copied().collect();
        assert_eq!(rest, b"rest", "in pieces of {size}");
    }
}

/// Bytes that are nearly a body in chunks.
fn nearly_chunked() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"0\r\na: b\r\n\r\n".to_vec()),
        Just(b";ext=1".to_vec()),
        (0_usize..20).prop_map(|size| format!("{size:x}\r\n{}\r\n", "z".repeat(size)).into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn pieces_change_nothing(bytes in nearly_chunked(), cuts in proptest::collection::vec(0_usize..100, 0..4)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decode(Decoder::chunked(), &pieces), decode(Decoder::chunked(), &[&bytes]));
    }

    #[test]
    fn anything_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), to_head: bool) {
        let mut partial = Vec::new();
        let _ = head::read(&mut partial, b"HTTP/1.1 200 OK\r\n", to_head);
        let _ = head::read(&mut partial, &bytes, to_head);
        let _ = head::read(&mut partial, b"\r\n\r\n", to_head);
    }
}

/// What an idle connection takes beside its socket, and what a request on its way holds beside its head and body.
#[test]
fn a_connection_is_small() {
    let (connection, message) = (size_of::<super::Http1>(), size_of::<super::Message>());
    assert!(connection <= 256 && message <= 256, "{connection}, {message}");
}
