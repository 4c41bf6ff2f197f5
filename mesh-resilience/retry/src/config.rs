//! Reading the settings, and the registration for pipelines (feature `config`).

use crate::{
    BackoffSettings, BudgetSettings, Condition, Conditions, RetryLayer, RetrySettings, Spoken,
    layer::{Counters, METRIC, NAME, Shared},
};
use mesh_core::{
    Protocol, Registry,
    pipeline::{Made, Shape, Site, State, Validate, layer},
    spec::{Invalid, nearest, shorthand},
    units::{Ratio, Size, duration},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, num::NonZeroU32, sync::Arc, time::Duration};

/// Registers `retry`. Over a reload the layer that stood there goes on with the new settings, and its budget with its
/// balance.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.made(
        NAME,
        "sends failed requests again, to another endpoint, within a budget",
        |_| Shape::Layer,
        |settings: RetrySettings, previous: Option<Arc<State>>, site: &Site<P>| {
            let shared = match previous.and_then(|state| state.downcast::<Shared>().ok()) {
                Some(shared) => {
                    shared.set(settings);
                    shared
                }
                None => {
                    let shared = Shared::new(settings);
                    let counter = |result: &'static str| site.counter(METRIC, &[("result", result.to_owned())]);
                    shared.counters.get_or_init(|| Counters::new(counter));
                    shared
                }
            };
            let state: Arc<State> = shared.clone();
            (state, Made::Layer(layer(RetryLayer::over(shared, Spoken::<P>::default()))))
        },
    );
}

impl Validate for RetrySettings {
    fn validate(&self) -> Result<(), Invalid> {
        if self.on.is_empty() {
            return Err(Invalid::new("`on` names nothing to be tried again").with_suggestion("leave `retry` out"));
        }
        if self.backoff.base > self.backoff.max {
            return Err(Invalid::new("the backoff's `base` is longer than its `max`"));
        }
        if self.budget.is_some_and(|budget| budget.ratio == Ratio::ZERO && budget.reserve == 0) {
            return Err(Invalid::new("a budget of nothing allows no retry: expected a `ratio` or a `reserve` above 0"));
        }
        Ok(())
    }
}

/// The mapping form.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RetryMapping")]
struct Mapping {
    /// How often a request is sent at the most, the first time included: 1 to 100. Default: 3.
    #[serde(default = "attempts", deserialize_with = "read_attempts")]
    #[schemars(schema_with = "attempts_schema")]
    attempts: NonZeroU32,
    /// What is tried again.
    #[serde(default = "conditions")]
    on: Conditions,
    /// The methods whose requests may be sent again after they may have been acted on, `*` for all; of gRPC requests
    /// `on` alone decides. Default: the idempotent ones of HTTP.
    #[serde(default = "methods")]
    methods: Vec<String>,
    /// How many retries there may be for the requests there are.
    #[serde(default)]
    budget: Budget,
    /// How long is waited before a retry, at random.
    #[serde(default)]
    backoff: Backoff,
    /// How much of a request's body is kept to be sent again. Default: 64KiB.
    #[serde(default = "max_body")]
    max_body: Size,
}

fn attempts() -> NonZeroU32 {
    RetrySettings::default().attempts
}

fn conditions() -> Conditions {
    Conditions::DEFAULT
}

fn methods() -> Vec<String> {
    RetrySettings::default().methods
}

fn max_body() -> Size {
    RetrySettings::default().max_body
}

/// The attempts that a spec may ask for.
const MOST: u32 = 100;

fn checked_attempts(number: u64) -> Result<NonZeroU32, String> {
    u32::try_from(number)
        .ok()
        .filter(|number| *number <= MOST)
        .and_then(NonZeroU32::new)
        .ok_or_else(|| format!("`{number}` attempts are not possible: expected a number from 1 (no retry) to {MOST}"))
}

fn parse_attempts(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_or_else(
        |_| Err(format!("`{text}` is not a number of attempts: expected one from 1 (no retry) to {MOST}")),
        checked_attempts,
    )
}

fn read_attempts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU32, D::Error> {
    checked_attempts(u64::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn attempts_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": MOST })
}

impl From<Mapping> for RetrySettings {
    fn from(mapping: Mapping) -> Self {
        let Mapping { attempts, on, methods, budget, backoff, max_body } = mapping;
        let backoff = BackoffSettings { base: backoff.base, max: backoff.max };
        RetrySettings { attempts, on, methods, budget: budget.0, backoff, max_body }
    }
}

impl From<&RetrySettings> for Mapping {
    fn from(settings: &RetrySettings) -> Self {
        let RetrySettings { attempts, on, methods, budget, backoff, max_body } = settings.clone();
        let backoff = Backoff { base: backoff.base, max: backoff.max };
        Mapping { attempts, on, methods, budget: Budget(budget), backoff, max_body }
    }
}

/// The mapping form.
impl Serialize for RetrySettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Mapping::from(self).serialize(serializer)
    }
}

/// A mapping, or the attempts alone.
impl<'de> Deserialize<'de> for RetrySettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shorthand::<Self, Mapping, _, _>(
            deserializer,
            "a number of attempts such as `3`, or a mapping with `attempts`",
            |text| parse_attempts(text).map(Self::attempts),
        )
    }
}

impl JsonSchema for RetrySettings {
    fn schema_name() -> Cow<'static, str> {
        "RetrySettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (attempts, mapping) = (attempts_schema(generator), generator.subschema_for::<Mapping>());
        json_schema!({ "description": "A number of attempts, or a mapping.", "anyOf": [attempts, mapping] })
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Backoff {
    /// The longest wait before the first retry; it doubles with each. Default: 25ms.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    base: Duration,
    /// The longest wait before any. Default: 250ms.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        let BackoffSettings { base, max } = BackoffSettings::default();
        Self { base, max }
    }
}

/// `off`, a ratio, or a mapping.
struct Budget(Option<BudgetSettings>);

impl Default for Budget {
    fn default() -> Self {
        Self(Some(BudgetSettings::default()))
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct BudgetMapping {
    /// The retries there may be for each request. Default: 20%.
    ratio: Ratio,
    /// Retries a second that there may be beside those. Default: 10.
    reserve: u32,
    /// For how long the reserve is saved. Default: 10s.
    #[serde(with = "duration")]
    #[schemars(schema_with = "duration::schema")]
    ttl: Duration,
}

impl From<BudgetSettings> for BudgetMapping {
    fn from(settings: BudgetSettings) -> Self {
        let BudgetSettings { ratio, reserve, ttl } = settings;
        Self { ratio, reserve, ttl }
    }
}

impl Default for BudgetMapping {
    fn default() -> Self {
        BudgetSettings::default().into()
    }
}

impl From<BudgetMapping> for Budget {
    fn from(mapping: BudgetMapping) -> Self {
        let BudgetMapping { ratio, reserve, ttl } = mapping;
        Self(Some(BudgetSettings { ratio, reserve, ttl }))
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(settings) => BudgetMapping::from(settings).serialize(serializer),
            None => serializer.serialize_str("off"),
        }
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shorthand::<Self, BudgetMapping, _, _>(
            deserializer,
            "a percentage such as `20%`, `off`, or a mapping with `ratio`",
            |text| match text {
                "off" => Ok(Self(None)),
                _ => text.parse().map(|ratio| Self(Some(BudgetSettings { ratio, ..BudgetSettings::default() }))),
            },
        )
    }
}

impl JsonSchema for Budget {
    fn schema_name() -> Cow<'static, str> {
        "RetryBudget".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (ratio, mapping) = (generator.subschema_for::<Ratio>(), generator.subschema_for::<BudgetMapping>());
        json_schema!({ "description": "A ratio, a mapping, or `off`.", "anyOf": [{ "const": "off" }, ratio, mapping] })
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::ALL.into_iter().find(|condition| condition.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str);
            let hint = match nearest(&text, names) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("expected one of {}", names.join(", ")),
            };
            de::Error::custom(format_args!("unknown condition `{text}`; {hint}"))
        })
    }
}

impl Serialize for Conditions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Condition>::deserialize(deserializer).map(|conditions| conditions.into_iter().collect())
    }
}

impl JsonSchema for Conditions {
    fn schema_name() -> Cow<'static, str> {
        "RetryConditions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Condition::ALL.map(Condition::as_str);
        json_schema!({
            "type": "array",
            "description": "What is tried again. Default: connect-failure, refused-stream, reset, unavailable.",
            "items": { "enum": names }
        })
    }
}
