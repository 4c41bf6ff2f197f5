//! Streams that Java, Go and JavaScript have written.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mesh_codec_dubbo::hessian2::{ErrorKind, Limit, Limits, Reader, Text, Token, Value, decode, encode};
use mesh_test::alloc::{Counting, count};
use support::{compare, good, hex, load};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// All streams for which `check` fails.
fn each(vectors: impl Iterator<Item = support::Vector>, check: impl Fn(&support::Vector) -> Result<(), String>) {
    let failed: Vec<String> =
        vectors.filter_map(|vector| check(&vector).err().map(|why| format!("{}: {why}", vector.id))).collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

fn short(bytes: &[u8]) -> String {
    let hex = hex(bytes);
    if hex.len() > 300 { format!("{}… ({} bytes)", &hex[..300], bytes.len()) } else { hex }
}

#[test]
fn they_decode_to_the_stated_values() {
    each(good(), |vector| {
        let values = decode(&vector.bytes, Limits::DECODE).map_err(|error| error.to_string())?;
        let mut number = 0;
        let stated = values.iter().zip(&vector.values);
        stated.clone().try_for_each(|(value, stated)| compare(value, stated, &mut number))?;
        if stated.count() == vector.values.len() && values.len() == vector.values.len() {
            Ok(())
        } else {
            Err(format!("{} values", values.len()))
        }
    });
}

#[test]
fn they_are_written_byte_for_byte() {
    each(good(), |vector| {
        let values = decode(&vector.bytes, Limits::DECODE).map_err(|error| error.to_string())?;
        let written = encode(&values).map_err(|error| error.to_string())?;
        if vector.exact && written != vector.bytes {
            return Err(format!("{}\n    is not {}", short(&written), short(&vector.bytes)));
        }
        // the other writers' forms are read as the same values as the shortest ones
        match decode(&written, Limits::DECODE) {
            Ok(again) if again == values && written.len() <= vector.bytes.len() => Ok(()),
            again => Err(format!("{again:?} of {}", short(&written))),
        }
    });
}

#[test]
fn a_skip_ends_where_the_value_does_and_allocates_nothing() {
    each(good(), |vector| {
        let mut reader = Reader::new(&vector.bytes, Limits::WALK);
        let (result, allocated) = count(|| vector.values.iter().try_for_each(|_| reader.skip()));
        result.and_then(|()| reader.finish()).map_err(|error| error.to_string())?;
        let within = reader.tables().classes() <= 8 && reader.tables().types() <= 8 && !vector.id.contains("deep");
        if within && allocated.count > 0 { Err(format!("{} allocations", allocated.count)) } else { Ok(()) }
    });
}

#[test]
fn tokens_and_a_skip_end_at_the_same_place() {
    each(good(), |vector| {
        let mut tokens = Reader::new(&vector.bytes, Limits::WALK);
        let mut skipping = tokens.clone();
        for _ in &vector.values {
            pull(&mut tokens).and_then(|()| skipping.skip()).map_err(|error| error.to_string())?;
            if tokens.position() != skipping.position() || tokens.mark() != skipping.mark() {
                return Err(format!("{:?} and {:?}", tokens.mark(), skipping.mark()));
            }
        }
        Ok(())
    });
}

/// One value, token by token.
fn pull(reader: &mut Reader<'_>) -> Result<(), mesh_codec_dubbo::hessian2::Error> {
    let token = reader.read()?;
    inside(reader, token)
}

fn inside<'a>(reader: &mut Reader<'a>, token: Token<'a>) -> Result<(), mesh_codec_dubbo::hessian2::Error> {
    match token {
        Token::List { length: Some(length), .. } => (0..length).try_for_each(|_| pull(reader)),
        Token::List { length: None, .. } | Token::Map { .. } => {
            while let Some(token) = reader.read_or_end()? {
                inside(reader, token)?;
            }
            Ok(())
        }
        Token::Object { class, .. } => {
            assert_eq!(reader.field_names(class)?.count(), class.fields() as usize);
            (0..class.fields()).try_for_each(|_| pull(reader))
        }
        _ => Ok(()),
    }
}

#[test]
fn malformed_streams_are_refused_in_bounded_memory() {
    each(load("hessian2-malformed").into_iter(), |vector| {
        for walk in [true, false] {
            let run = || match walk {
                true => {
                    let mut reader = Reader::new(&vector.bytes, Limits::WALK);
                    reader.skip().and_then(|()| reader.finish())
                }
                false => decode(&vector.bytes, Limits::DECODE).and_then(|values| match values[..] {
                    [] => Reader::new(&[], Limits::DECODE).skip(),
                    _ => Ok(()),
                }),
            };
            let (result, allocated) = count(run);
            match result {
                Err(error) if error.offset() <= vector.bytes.len() && allocated.bytes <= 1 << 20 => {
                    assert!(!error.to_string().is_empty());
                }
                other => return Err(format!("walk {walk}: {other:?}, {} bytes allocated", allocated.bytes)),
            }
        }
        Ok(())
    });
}

#[test]
fn what_ends_too_early_is_refused() {
    each(good(), |vector| {
        let length = vector.bytes.len();
        // long ones at their ends, where the heads are, and in steps
        let cuts = (0..length).filter(|cut| length < 2000 || *cut < 50 || *cut + 50 > length || cut % 10_007 == 0);
        for cut in cuts {
            let mut reader = Reader::new(&vector.bytes[..cut], Limits::WALK);
            if vector.values.iter().try_for_each(|_| reader.skip()).is_ok() {
                return Err(format!("skipped without what follows byte {cut}"));
            }
            let decoded = decode(&vector.bytes[..cut], Limits::DECODE);
            if decoded.is_ok_and(|values| values.len() == vector.values.len()) {
                return Err(format!("decoded without what follows byte {cut}"));
            }
        }
        Ok(())
    });
}

#[test]
fn any_changed_byte_is_read_or_refused_without_a_panic() {
    each(good(), |vector| {
        let mut bytes = vector.bytes.clone();
        let length = bytes.len();
        for at in (0..length).filter(|at| length < 600 || *at < 4 || at % 32_003 == 0) {
            let tags = [0x00, 0x41, 0x43, 0x49, 0x4f, 0x51, 0x52, 0x58, 0x5a, 0x60, 0x80, 0xff];
            for with in [tags[at % tags.len()], bytes[at] ^ 1 << (at % 8)] {
                let before = std::mem::replace(&mut bytes[at], with);
                let mut reader = Reader::new(&bytes, Limits::WALK);
                let mut skipped = Ok(());
                while skipped.is_ok() && !reader.is_at_end() {
                    skipped = reader.skip();
                }
                match (decode(&bytes, Limits::DECODE), skipped) {
                    (Ok(values), Ok(())) => {
                        let written = encode(&values).map_err(|error| error.to_string())?;
                        if decode(&written, Limits::DECODE) != Ok(values) {
                            return Err(format!("byte {at} as {with:02x} changes when it is written"));
                        }
                    }
                    (Err(_), _) => {}
                    (decoded, skipped) => return Err(format!("byte {at} as {with:02x}: {decoded:?}, {skipped:?}")),
                }
                bytes[at] = before;
            }
        }
        Ok(())
    });
}

#[test]
fn texts_are_borrowed_where_their_bytes_are_those_of_a_rust_string() {
    let vectors = load("hessian2-java-lite");
    let text = |id: &str| -> (Vec<u8>, bool) {
        let vector = vectors.iter().find(|vector| vector.id == id).unwrap();
        let text: Text<'_> = Reader::new(&vector.bytes, Limits::WALK).read_text().unwrap().unwrap();
        (text.to_string_lossy().into_owned().into_bytes(), text.as_str().is_some())
    };
    assert_eq!(text("lite.str_ascii_1"), (b"a".to_vec(), true));
    assert_eq!(text("lite.str_cjk_1"), ("中".into(), true));
    assert_eq!(text("lite.str_emoji_1"), ("\u{1f600}".into(), false));
    assert_eq!(text("lite.str_lone_low"), ("\u{fffd}x".into(), false));
    assert_eq!(text("lite.str_ascii_32769"), (vec![b'a'; 32769], false));
}

#[test]
fn memory_is_bounded_by_the_bytes_whatever_they_say() {
    assert_eq!(size_of::<Value>(), 24);
    let deep = |unit: &[u8], end: &[u8]| [unit.repeat(500), end.to_vec()].concat();
    // an open list for each, which announces as many values as there are bytes
    let announced: Vec<u8> = (0..500_u16).flat_map(|at| [b'X', 0xd4, 0x07 - (at >> 8) as u8, 0]).collect();
    let hostile: [(&str, Vec<u8>); 9] = [
        ("empty lists", [&[b'W'][..], &[0x78].repeat(100_000), b"Z"].concat()),
        ("announced lengths", [announced, vec![0x90; 2000]].concat()),
        ("objects without fields", [b"C\x00\x90W".as_slice(), &[0x60].repeat(100_000), b"Z"].concat()),
        ("classes", [b"C\x00\x90".repeat(60_000), b"\x60".to_vec()].concat()),
        (
            "a class of many fields",
            [b"C\x00I\x00\x01\x00\x00".as_slice(), &[0; 65_536], b"\x60", &[b'N'; 65_536]].concat(),
        ),
        ("types", [b"W".as_slice(), &b"\x70\x00".repeat(60_000), b"Z"].concat()),
        ("chunks", [b"R\x00\x00".repeat(50_000), vec![0]].concat()),
        ("maps", deep(b"H\x90", b"N")),
        ("a long string that is cut", b"S\xff\xff".iter().chain(&[b'a'; 1000]).copied().collect()),
    ];
    for (name, bytes) in hostile {
        let (result, walked) = count(|| {
            let mut reader = Reader::new(&bytes, Limits::WALK);
            reader.skip()
        });
        // all growth of tables that double, together
        assert!(walked.bytes <= 16 * bytes.len() as u64 + 4096, "{name}, a walk: {result:?}, {walked:?}");
        let (result, decoded) = count(|| decode(&bytes, Limits::DECODE));
        let result = result.map(|values| values.len());
        assert!(decoded.bytes <= 160 * bytes.len() as u64 + 4096, "{name}: {result:?}, {decoded:?}");
    }
    let many = [&[b'W'][..], &[0x78].repeat(2_000_000), b"Z"].concat();
    assert_eq!(decode(&many, Limits::DECODE).unwrap_err().kind(), ErrorKind::Limit(Limit::Values));
}
