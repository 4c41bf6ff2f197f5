use crate::time::TimeFormat;
use proptest::prelude::*;
use std::time::Duration;

fn written(format: &str, since_epoch: Duration) -> String {
    let mut into = Vec::new();
    TimeFormat::parse(format).unwrap().write(since_epoch, &mut into);
    String::from_utf8(into).unwrap()
}

#[test]
fn fields() {
    // date -u -d @1795511107
    let moment = Duration::new(1_795_511_107, 12_345_678);
    assert_eq!(written("%Y-%m-%dT%H:%M:%S.%3fZ", moment), "2026-11-24T09:05:07.012Z");
    assert_eq!(written("%d/%b/%Y:%T %z", moment), "24/Nov/2026:09:05:07 +0000");
    assert_eq!(
        written("%a %F %j %s.%6f %f %Z 100%%", moment),
        "Tue 2026-11-24 328 1795511107.012345 012345678 UTC 100%"
    );
    assert_eq!(written("", moment), "");
}

#[test]
fn calendar() {
    for (seconds, expected) in [
        (0, "1970-01-01 001 Thu"),
        (68_169_599, "1972-02-28 059 Mon"),
        (68_169_600, "1972-02-29 060 Tue"),
        (951_868_799, "2000-02-29 060 Tue"),
        (951_868_800, "2000-03-01 061 Wed"),
        (4_107_542_400, "2100-03-01 060 Mon"),
        (1_735_603_200, "2024-12-31 366 Tue"),
    ] {
        assert_eq!(written("%F %j %a", Duration::from_secs(seconds)), expected);
    }
}

/// More formats than a thread keeps texts of, over the turn of a second and back.
#[test]
fn what_was_written_before_does_not_show() {
    let formats =
        ["%S.%3f", "%1f %S.%9f", "%T", "%s", "%Y.%2f", "%F", "%3f%3f"].map(|text| TimeFormat::parse(text).unwrap());
    let expected = |second: u64, nanos: u32| {
        let all = format!("{nanos:09}");
        [
            format!("{second:02}.{}", &all[..3]),
            format!("{} {second:02}.{all}", &all[..1]),
            format!("00:00:{second:02}"),
            second.to_string(),
            format!("1970.{}", &all[..2]),
            "1970-01-01".to_owned(),
            format!("{0}{0}", &all[..3]),
        ]
    };
    for (second, nanos) in [(1, 5_000_000), (1, 999_999_999), (2, 0), (1, 12), (1, 120_000_000)] {
        for _ in 0..2 {
            for (format, expected) in formats.iter().zip(expected(second, nanos)) {
                let mut into = b"before ".to_vec();
                format.write(Duration::new(second, nanos), &mut into);
                assert_eq!(String::from_utf8(into).unwrap(), format!("before {expected}"));
            }
        }
    }
    // one that is escaped after it was copied has a text of its own
    let plain = TimeFormat::parse("a%S").unwrap();
    let mut escaped = plain.clone();
    escaped.literals().for_each(|text| *text = "b".into());
    let text = |format: &TimeFormat| {
        let mut into = Vec::new();
        format.write(Duration::from_secs(1), &mut into);
        String::from_utf8(into).unwrap()
    };
    assert_eq!((text(&plain), text(&escaped), text(&plain)), ("a01".into(), "b01".into(), "a01".into()));
}

#[test]
fn what_is_no_field() {
    for (format, field) in [("%Q", "%Q"), ("%", "%"), ("%3", "%3"), ("%3d", "%3"), ("%é", "%é")] {
        assert_eq!(TimeFormat::parse(format).map_err(|unknown| unknown.0), Err(field.to_owned()), "{format}");
    }
}

proptest! {
    /// Dates go up by one, and months have the days they have.
    #[test]
    fn days_follow_each_other(day in 0_u64..1_000_000) {
        let date = |day: u64| {
            let text = written("%Y %m %d", Duration::from_secs(day * 86_400));
            let parts: Vec<u64> = text.split(' ').map(|part| part.parse().unwrap()).collect();
            (parts[0], parts[1], parts[2])
        };
        let (year, month, last) = date(day);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month { 2 => 28 + u64::from(leap), 4 | 6 | 9 | 11 => 30, _ => 31 };
        let next = match (month, last) {
            (12, 31) => (year + 1, 1, 1),
            _ if last == days => (year, month + 1, 1),
            _ => (year, month, last + 1),
        };
        prop_assert_eq!(date(day + 1), next);
    }
}
