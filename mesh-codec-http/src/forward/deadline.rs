use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::{Context, Kind, Nanos, Rejection, http::is_grpc, time};
use std::time::Duration;

/// Largest first: nanoseconds and the letter.
const UNITS: [(u64, u8); 6] = [
    (3_600_000_000_000, b'H'),
    (60_000_000_000, b'M'),
    (1_000_000_000, b'S'),
    (1_000_000, b'm'),
    (1_000, b'u'),
    (1, b'n'),
];
/// What the eight digits of a `grpc-timeout` can say.
const MOST: u64 = 99_999_999;

/// The value of `grpc-timeout` for this time: the largest unit that leaves three digits or more, rounded down, so that
/// it never grows and loses less than one per cent; at the most 99,999,999 hours.
///
/// ```
/// # use std::time::Duration;
/// # use mesh_codec_http::forward::format_grpc_timeout;
/// assert_eq!(format_grpc_timeout(Duration::from_secs(2)), "2000m");
/// assert_eq!(format_grpc_timeout(Duration::from_micros(99_999)), "99999u");
/// assert_eq!(format_grpc_timeout(Duration::from_nanos(7)), "7n");
/// ```
pub fn format_grpc_timeout(remaining: Duration) -> HeaderValue {
    let nanos = remaining.as_nanos();
    let unit = UNITS.iter().find(|unit| nanos >= 100 * u128::from(unit.0));
    let (size, letter) = *unit.unwrap_or(&UNITS[UNITS.len() - 1]);
    let mut number = u64::try_from(nanos / u128::from(size)).unwrap_or(u64::MAX).min(MOST);
    // eight digits at the most, and the unit
    let mut text = [0; 9];
    let mut first = text.len() - 1;
    text[first] = letter;
    loop {
        first -= 1;
        text[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&text[first..]).unwrap_or(HeaderValue::from_static("0n"))
}

/// Tells a gRPC upstream how much time the call has left: `grpc-timeout` becomes what remains until the deadline of
/// the context. Without a deadline, and on messages that are not gRPC, nothing is done; that costs one load.
///
/// # Errors
/// The deadline has passed: the upstream need not be called.
pub fn shrink_grpc_timeout(headers: &mut HeaderMap, context: &Context) -> Result<(), Rejection> {
    let Some(deadline) = context.deadline() else { return Ok(()) };
    if !is_grpc(headers) {
        return Ok(());
    }
    shrink(headers, deadline, time::now())
}

fn shrink(headers: &mut HeaderMap, deadline: Nanos, now: Nanos) -> Result<(), Rejection> {
    static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
    let remaining = deadline.since(now);
    if remaining.is_zero() {
        return Err(Rejection::new(Kind::Timeout));
    }
    headers.insert(GRPC_TIMEOUT.clone(), format_grpc_timeout(remaining));
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use http::header::CONTENT_TYPE;

    #[test]
    fn what_remains_is_written_and_nothing_left_is_refused() {
        let context = Context::begin(time::now(), None);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-timeout", HeaderValue::from_static("1H"));
        assert!(shrink_grpc_timeout(&mut headers, &context).is_ok());
        assert_eq!(headers["grpc-timeout"], "1H", "no deadline");

        let at = |nanos| Nanos::from_nanos(nanos);
        assert!(shrink(&mut headers, at(3_500_000_000), at(1_000_000_000)).is_ok());
        assert_eq!(headers["grpc-timeout"], "2500m");
        let late = shrink(&mut headers, at(5), at(5)).unwrap_err();
        assert_eq!(late.kind(), Kind::Timeout);
    }

    #[test]
    fn units() {
        let text = |nanos| format_grpc_timeout(Duration::from_nanos(nanos));
        for (nanos, expected) in [
            (0, "0n"),
            (99, "99n"),
            (99_999, "99999n"),
            (100_000, "100u"),
            (100_000_000, "100m"),
            (99_999_999_999, "99999m"),
            (100_000_000_000, "100S"),
            (5_999_999_999_999, "5999S"),
            (6_000_000_000_000, "100M"),
            (360_000_000_000_000, "100H"),
        ] {
            assert_eq!(text(nanos), expected);
        }
        assert_eq!(format_grpc_timeout(Duration::MAX), "99999999H");
    }
}
