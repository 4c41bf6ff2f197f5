use super::{DubboLimits, DubboTimeouts, RelayTimeouts};
use mesh_core::units::{self, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use std::time::Duration;

/// `limits` of a listener
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// The most fields in a head, 1 to 10000. Default 100.
    #[serde(deserialize_with = "headers")]
    #[schemars(range(min = 1, max = 10_000))]
    pub headers: usize,
    /// The largest head, 8KiB to 16MiB. Default 64KiB.
    #[serde(deserialize_with = "header_bytes")]
    pub header_bytes: Size,
    /// The most HTTP/2 streams of a connection at once, at least 1. Default 100.
    #[serde(deserialize_with = "streams")]
    #[schemars(range(min = 1, max = 1 << 30))]
    pub streams: u32,
    /// The largest body of a request. Default any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Size>,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self { headers: 100, header_bytes: Size::from_kib(64), streams: 100, body: None }
    }
}

/// `timeouts` of a listener
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsSpec {
    /// How long the head of a request may take. Default 10s.
    #[serde(serialize_with = "units::duration::serialize", deserialize_with = "positive")]
    #[schemars(schema_with = "units::duration::schema")]
    pub header: Duration,
    /// How long a connection may be without a request, or take nothing of what is written to it. Default 60s.
    #[serde(serialize_with = "units::duration::serialize", deserialize_with = "positive")]
    #[schemars(schema_with = "units::duration::schema")]
    pub idle: Duration,
    /// How old a connection may become, give or take a tenth. Default any age.
    #[serde(
        serialize_with = "units::duration::option::serialize",
        deserialize_with = "positive_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "units::duration::schema")]
    pub max_age: Option<Duration>,
}

impl Default for TimeoutsSpec {
    fn default() -> Self {
        Self { header: Duration::from_secs(10), idle: Duration::from_secs(60), max_age: None }
    }
}

/// `limits` of a listener, as the schema describes it.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read as one or the other by the protocol of the listener")]
pub(super) enum Limits {
    Http(LimitsSpec),
    Dubbo(DubboLimits),
}

/// `timeouts` of a listener, as the schema describes it.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "read as one or the other by the protocol of the listener")]
pub(super) enum Timeouts {
    Http(TimeoutsSpec),
    Tcp(RelayTimeouts),
    Dubbo(DubboTimeouts),
}

/// `value`, if it is within these bounds.
fn within<T: PartialOrd + std::fmt::Display, E: Error>(value: T, least: T, most: T) -> Result<T, E> {
    if value < least || value > most {
        return Err(E::custom(format_args!("expected {least} to {most}, found {value}")));
    }
    Ok(value)
}

fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    within(usize::deserialize(deserializer)?, 1, 10_000)
}

fn streams<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(u32::deserialize(deserializer)?, 1, 1 << 30)
}

fn header_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
    within(Size::deserialize(deserializer)?, Size::from_kib(8), Size::from_mib(16))
}

/// A duration of more than nothing.
pub(super) fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = units::duration::deserialize(deserializer)?;
    if duration.is_zero() { Err(D::Error::custom("expected more than 0s")) } else { Ok(duration) }
}

/// The same, where there may be none.
pub(super) fn positive_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match units::duration::option::deserialize(deserializer)? {
        Some(Duration::ZERO) => Err(D::Error::custom("expected more than 0s")),
        duration => Ok(duration),
    }
}
