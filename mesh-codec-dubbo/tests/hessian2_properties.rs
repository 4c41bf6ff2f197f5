//! Whatever a stream holds: what is written is read as the same, and passed over to the same byte.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mesh_codec_dubbo::hessian2::{
    Class, JavaString, Limits, List, Map, Object, Reader, References, Value, Writer, decode, encode,
};
use proptest::{collection::vec, prelude::*};
use std::sync::Arc;

fn string() -> impl Strategy<Value = JavaString> {
    prop_oneof![
        4 => "\\PC{0,40}".prop_map(JavaString::from),
        1 => vec(any::<u16>(), 0..40).prop_map(|units| JavaString::from_units(&units)),
        1 => (0_usize..3, prop_oneof![Just("x"), Just("é"), Just("\u{1f600}")])
            .prop_map(|(around, char)| char.repeat(32_767 + around).into()),
    ]
}

/// Near the borders between forms, and anywhere.
fn whole() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        any::<i32>().prop_map(i64::from),
        (0_u32..63, -2_i64..3, any::<bool>())
            .prop_map(|(bits, beside, negative)| (1_i64 << bits).wrapping_add(beside) * if negative { -1 } else { 1 }),
    ]
}

fn double() -> impl Strategy<Value = f64> {
    // -0.0 is written as 0.0
    let bits = any::<u64>().prop_map(f64::from_bits).prop_map(|double| if double == 0.0 { 0.0 } else { double });
    prop_oneof![
        bits,
        any::<i32>().prop_map(|thousandths| 0.001 * f64::from(thousandths)),
        whole().prop_map(|n| n as f64)
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        whole().prop_map(|number| Value::Int(number as i32)),
        whole().prop_map(Value::Long),
        double().prop_map(Value::Double),
        whole().prop_map(Value::Date),
        whole().prop_map(|minutes| Value::Date(minutes.wrapping_mul(60_000))),
        string().prop_map(Value::String),
        vec(any::<u8>(), 0..1100).prop_map(|bytes| Value::Binary(bytes.into())),
        (65_534_usize..65_538).prop_map(|length| Value::Binary(vec![7; length].into())),
        any::<u32>().prop_map(Value::Ref),
    ]
}

fn kind() -> impl Strategy<Value = Option<Arc<str>>> {
    prop::option::of("(\\[int|[a-z]{1,3}\\.[A-Z]é?|[a-z]{30,40})").prop_map(|name| name.map(Arc::from))
}

fn class() -> impl Strategy<Value = Arc<Class>> {
    ("[A-C]", vec("[a-d]", 0..4)).prop_map(|(name, fields)| Arc::new(Class::new(&name, fields.iter().map(|f| &**f))))
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 60, 9, |inner| {
        prop_oneof![
            (kind(), any::<bool>(), vec(inner.clone(), 0..10)).prop_map(|(kind, variable, items)| List {
                kind,
                variable,
                items
            }
            .into()),
            (kind(), vec((inner.clone(), inner.clone()), 0..5))
                .prop_map(|(kind, entries)| Map { kind, entries }.into()),
            (class(), vec(inner, 4)).prop_map(|(class, mut values)| {
                values.truncate(class.fields.len());
                Object::new(class, values).unwrap().into()
            }),
        ]
    })
}

/// References are made ones to containers that open before them.
fn settle(value: &mut Value, opened: &mut u32) {
    match value {
        Value::Ref(number) => match *opened {
            0 => *value = Value::Null,
            opened => *number %= opened,
        },
        Value::List(list) => {
            *opened += 1;
            list.items.iter_mut().for_each(|item| settle(item, opened));
        }
        Value::Map(map) => {
            *opened += 1;
            for (key, value) in &mut map.entries {
                settle(key, opened);
                settle(value, opened);
            }
        }
        Value::Object(object) => {
            *opened += 1;
            object.values_mut().iter_mut().for_each(|value| settle(value, opened));
        }
        _ => {}
    }
}

fn stream() -> impl Strategy<Value = Vec<Value>> {
    vec(value(), 1..4).prop_map(|mut values| {
        let mut opened = 0;
        values.iter_mut().for_each(|value| settle(value, &mut opened));
        values
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(values in stream()) {
        let bytes = encode(&values).unwrap();
        let read = decode(&bytes, Limits::DECODE).unwrap();
        prop_assert_eq!(&read, &values);
        prop_assert_eq!(encode(&read).unwrap(), bytes);
    }

    #[test]
    fn a_skip_ends_where_the_value_does(values in stream()) {
        let mut writer = Writer::new(Vec::new());
        let mut ends = Vec::new();
        for value in &values {
            writer.value(value).unwrap();
            ends.push(writer.get_ref().len());
        }
        let containers = writer.containers();
        let bytes = writer.into_inner();
        let mut reader = Reader::new(&bytes, Limits::WALK);
        for end in ends {
            reader.skip().unwrap();
            prop_assert_eq!(reader.position(), end);
        }
        prop_assert_eq!(reader.tables().containers(), containers);
        prop_assert_eq!(References::new(&values).get(containers), None);
        prop_assert!(containers == 0 || References::new(&values).get(containers - 1).is_some());
    }

    #[test]
    fn whatever_comes_is_read_or_refused(bytes in vec(prop_oneof![any::<u8>(), 0x40_u8..0x80], 0..200)) {
        let mut reader = Reader::new(&bytes, Limits::WALK);
        let mut skipped = Ok(());
        while skipped.is_ok() && !reader.is_at_end() {
            skipped = reader.skip();
        }
        let decoded = decode(&bytes, Limits::DECODE);
        prop_assert_eq!(decoded.is_ok(), skipped.is_ok(), "{:?} {:?}", decoded, skipped);
        if let Ok(values) = decoded {
            let written = encode(&values).unwrap();
            prop_assert_eq!(decode(&written, Limits::DECODE).unwrap(), values);
        }
    }
}

/// Strings as other writers may have them: of four bytes a character, longer than need be, in chunks, pairs split.
fn written_otherwise() -> impl Strategy<Value = (Vec<u8>, Vec<u16>)> {
    let part = prop_oneof![
        Just((vec![0x61], vec![0x61])),
        Just(("中é".as_bytes().to_vec(), vec![0x4e2d, 0xe9])),
        Just((vec![0xf0, 0x9f, 0x98, 0x80], vec![0xd83d, 0xde00])),
        Just((vec![0xed, 0xa0, 0xbd], vec![0xd83d])),
        Just((vec![0xed, 0xb8, 0x80], vec![0xde00])),
        Just((vec![0xc0, 0x80], vec![0])),
        Just((vec![0xe0, 0x80, 0xaf], vec![0x2f])),
    ];
    vec(vec(part, 0..6), 1..5).prop_map(|chunks| {
        let (mut bytes, mut units) = (Vec::new(), Vec::new());
        for (at, chunk) in chunks.iter().enumerate() {
            let length: usize = chunk.iter().map(|(_, units)| units.len()).sum();
            bytes.extend([if at + 1 == chunks.len() { b'S' } else { b'R' }, 0, length as u8]);
            chunk.iter().for_each(|(part, _)| bytes.extend(part));
            chunk.iter().for_each(|(_, part)| units.extend(part));
        }
        (bytes, units)
    })
}

proptest! {
    #[test]
    fn strings_are_the_units_they_are_made_of((bytes, units) in written_otherwise()) {
        let mut reader = Reader::new(&bytes, Limits::WALK);
        let text = reader.read_text().unwrap().unwrap();
        prop_assert!(reader.is_at_end());
        prop_assert_eq!(text.units().collect::<Vec<_>>(), units.clone());
        prop_assert_eq!(text.to_str().map(|text| text.into_owned()), String::from_utf16(&units).ok());
        prop_assert_eq!(text.to_string_lossy(), String::from_utf16_lossy(&units));
        prop_assert_eq!(&JavaString::from(text), &JavaString::from_units(&units));
        prop_assert!(text.to_str().is_none_or(|same| text == *same));
    }
}
