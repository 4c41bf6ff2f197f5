use super::*;

#[test]
fn settings_are_read() {
    let settings: Settings = node(json!({
        "rate": "5/s", "burst": 7, "max_wait": "1s", "mode": { "warm_up": { "cold": 3 } },
    }))
    .deserialize()
    .unwrap();
    assert_eq!(
        settings,
        Settings {
            rate: "5/s".parse().unwrap(),
            burst: NonZeroU32::new(7),
            max_wait: Some(Duration::from_secs(1)),
            mode: Mode::WarmUp { cold: 3 },
        }
    );
    for nothing in [json!(null), json!({ "from": 0 }), json!({})] {
        assert_eq!(node(nothing).deserialize(), Ok(Ramp::default()));
    }
}

#[test]
fn a_variant_is_a_name_or_a_mapping_with_one_key() {
    for (json, mode) in [
        (json!("reject"), Mode::Reject),
        (json!({ "reject": null }), Mode::Reject),
        (json!({ "reject": {} }), Mode::Reject),
        (json!("ramp"), Mode::Ramp(Ramp::default())),
        (json!({ "ramp": null }), Mode::Ramp(Ramp::default())),
        (json!({ "ramp": { "from": 2 } }), Mode::Ramp(Ramp { from: 2 })),
        (json!({ "steps": [1, 2] }), Mode::Steps(1, 2)),
    ] {
        assert_eq!(node(json.clone()).deserialize(), Ok(mode), "{json}");
    }
    for (json, message) in [
        (json!("rejekt"), "unknown value `rejekt`; did you mean `reject`?"),
        (json!("shape"), "unknown value `shape`, expected one of `reject`, `warm_up`, `ramp`, `steps`"),
        (json!({ "shape": {} }), "unknown value `shape`, expected one of `reject`, `warm_up`, `ramp`, `steps`"),
        (json!({ "reject": 5 }), "reject: `reject` takes no settings, found the number `5`"),
        (json!({ "ramp": { "form": 5 } }), "ramp: unknown key `form`; did you mean `from`?"),
        (json!({ "ramp": [5] }), "ramp: expected a mapping, found a list"),
        (json!({ "ramp": 5 }), "ramp: expected a mapping, found the number `5`; its keys are `from`"),
        (json!("warm_up"), "missing key `cold`"),
        (json!({ "steps": [1, 2, 3] }), "steps: expected a list of 2, found 3 entries"),
        (json!(7), "expected one of `reject`, `warm_up`, `ramp`, `steps`, found the number `7`"),
        (json!({}), "expected one of `reject`, `warm_up`, `ramp`, `steps`, found a mapping"),
        (
            json!({ "ramp": null, "to": 5 }),
            "expected `ramp` alone, found another key `to`; \
             indent the settings of `ramp` further than its name",
        ),
    ] {
        assert_eq!(refused::<Mode>(json), message);
    }
}

#[test]
fn what_does_not_fit_is_told_in_words() {
    for (json, message) in [
        (json!({}), "missing key `rate`"),
        (json!(null), "missing key `rate`"),
        (json!({ "rate": "5/s", "bursts": 1 }), "unknown key `bursts`; did you mean `burst`?"),
        (
            json!({ "rate": "5/s", "limit": 1 }),
            "unknown key `limit`, expected one of `rate`, `burst`, `max_wait`, `mode`",
        ),
        (
            json!({ "rate": "5" }),
            "rate: `5` is not a rate: expected a whole number in a period, such as `100/s`, \
             `60/m` or `100/10s`; did you mean `5/s`?",
        ),
        (
            json!({ "rate": 5 }),
            "rate: `5` is not a rate: expected a whole number in a period, such as `100/s`, \
             `60/m` or `100/10s`; did you mean `5/s`?",
        ),
        (json!({ "rate": null }), "rate: expected a rate such as `100/s`, found nothing"),
        (json!({ "rate": ["5/s"] }), "rate: expected a rate such as `100/s`, found a list"),
        (
            json!({ "rate": "5/s", "burst": 0 }),
            "burst: expected a whole number from 1 to 4294967295, found the number `0`",
        ),
        (
            json!({ "rate": "5/s", "burst": -1 }),
            "burst: expected a whole number from 1 to 4294967295, found the number `-1`",
        ),
        (
            json!({ "rate": "5/s", "burst": 1.5 }),
            "burst: expected a whole number from 1 to 4294967295, found the number `1.5`",
        ),
        (
            json!({ "rate": "5/s", "burst": "10" }),
            "burst: expected a whole number from 1 to 4294967295, found text `10`; \
             remove the quotes to make it a number",
        ),
        (
            json!({ "rate": "5/s", "max_wait": 5 }),
            "max_wait: `5` is not a duration: expected whole numbers with units, such as `250ms`, \
             `2s` or `1h30m`, at most 213503d; did you mean `5s`?",
        ),
        (
            json!({ "rate": "5/s", "mode": { "warm_up": { "cold": 256 } } }),
            "mode.warm_up.cold: expected a whole number from 0 to 255, found the number `256`",
        ),
        (json!("5/s"), "expected a mapping, found text `5/s`; its keys are `rate`, `burst`, `max_wait`, `mode`"),
        (json!(["5/s"]), "expected a mapping, found a list"),
    ] {
        assert_eq!(refused::<Settings>(json), message);
    }
    for (message, expected) in [
        (refused::<bool>(json!("yes")), "expected `true` or `false`, found text `yes`; did you mean `true`?"),
        (refused::<bool>(json!("off")), "expected `true` or `false`, found text `off`; did you mean `false`?"),
        (refused::<bool>(json!(1)), "expected `true` or `false`, found the number `1`"),
        (refused::<String>(json!(1.0)), "expected text, found the number `1.0`; put it in quotes to make it text"),
        (refused::<String>(json!(true)), "expected text, found `true`; put it in quotes to make it text"),
        (refused::<f64>(json!("fast")), "expected a number, found text `fast`"),
        (refused::<Vec<u8>>(json!(1)), "expected a list, found the number `1`; put it in `[ ]` to make it a list"),
        (
            refused::<Vec<Vec<u8>>>(json!([[1], [2, -3]])),
            "[1][1]: expected a whole number from 0 to 255, found the number `-3`",
        ),
        (
            refused::<BTreeMap<u8, u8>>(json!({ "1": 2, "x": 3 })),
            "expected a whole number from 0 to 255, found text `x`",
        ),
        (refused::<BTreeMap<u8, u8>>(json!([])), "expected a mapping, found a list"),
        (refused::<(u8, u8)>(json!([1])), "expected a list of 2, found 1 entry"),
        (refused::<[u8; 2]>(json!([1, 2, 3])), "expected a list of 2, found 3 entries"),
        (
            refused::<u64>(json!(1e300)),
            "expected a whole number from 0 to 18446744073709551615, found the number `1e300`",
        ),
    ] {
        assert_eq!(message, expected);
    }
}

#[test]
fn numbers_fit_where_their_value_does() {
    assert_eq!(node(json!(5)).deserialize(), Ok(5.0_f64));
    assert_eq!(node(json!(-5)).deserialize(), Ok(-5_i8));
    assert_eq!(node(json!(u64::MAX)).deserialize(), Ok(u64::MAX));
    assert_eq!(node(json!(3)).deserialize(), Ok(3_u128));
    let large = Node::new(Value::Integer(i128::MAX), Position::UNKNOWN);
    assert_eq!(large.deserialize(), Ok(i128::MAX));
    assert!(large.deserialize::<u64>().is_err());
    let keyed = BTreeMap::from([(0_u32, "a".to_owned()), (7, "b".to_owned())]);
    assert_eq!(node(json!({ "0": "a", "7": "b" })).deserialize(), Ok(keyed));
    let truths = BTreeMap::from([(true, 1)]);
    assert_eq!(node(json!({ "true": 1 })).deserialize(), Ok(truths));
}

#[test]
fn hand_written_visitors_see_the_tree_as_it_is() {
    /// `2s`, or `{ total: 2s }`.
    #[derive(Debug, PartialEq)]
    struct Timeout(Duration);

    impl<'de> Deserialize<'de> for Timeout {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Whole {
                #[serde(with = "crate::units::duration")]
                total: Duration,
            }
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Timeout;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a duration or a mapping")
                }
                fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timeout, E> {
                    crate::units::parse_duration(text).map(Timeout).map_err(E::custom)
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Timeout, A::Error> {
                    let whole = Whole::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                    Ok(Timeout(whole.total))
                }
            }
            deserializer.deserialize_any(Visitor)
        }
    }

    let two = Timeout(Duration::from_secs(2));
    assert_eq!(node(json!("2s")).deserialize(), Ok(two));
    let two = Timeout(Duration::from_secs(2));
    assert_eq!(node(json!({ "total": "2s" })).deserialize(), Ok(two));
    assert_eq!(
        refused::<Timeout>(json!({ "total": "2" })),
        "total: `2` is not a duration: expected whole numbers with units, such as `250ms`, `2s` \
         or `1h30m`, at most 213503d; did you mean `2s`?"
    );
    assert_eq!(refused::<Timeout>(json!({ "totel": "2s" })), "unknown key `totel`; did you mean `total`?");
    assert_eq!(refused::<Timeout>(json!(true)), "expected a duration or a mapping, found `true`");
}
