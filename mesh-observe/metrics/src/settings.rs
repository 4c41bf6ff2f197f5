//! What the builder fills and a spec is read into.

use std::{collections::BTreeMap, error::Error, fmt};

/// The settings of request metrics.
///
/// In a spec (feature `config`) a mapping: `{ labels: { team: shop } }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields))]
pub struct MetricsSettings {
    /// Labels that every series carries, with their values. Names are letters, digits and underscores, do not begin
    /// with a digit or two underscores, and are not those that the series have of their own. Default: none.
    #[cfg_attr(feature = "config", serde(default))]
    pub labels: BTreeMap<String, String>,
}

/// The labels that series have of their own, and those that Prometheus gives a meaning.
const TAKEN: [&str; 10] = [
    "listener",
    "route",
    "cluster",
    "protocol",
    "status_class",
    "outcome",
    "otel_metric_overflow",
    "le",
    "quantile",
    "endpoint",
];

impl MetricsSettings {
    /// Looks at the names of the labels.
    ///
    /// # Errors
    /// The first name that a label cannot have.
    pub fn check(&self) -> Result<(), LabelError> {
        for name in self.labels.keys() {
            let fault = if TAKEN.contains(&name.as_str()) {
                "the series have it already"
            } else if name.starts_with("__") {
                "two underscores at its start are Prometheus' own"
            } else if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
                "it must begin with a letter or an underscore"
            } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                "it may consist of letters, digits and underscores"
            } else {
                continue;
            };
            return Err(LabelError { name: name.clone(), fault });
        }
        Ok(())
    }
}

/// A name that a label cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelError {
    name: String,
    fault: &'static str,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be a label: {}", self.name, self.fault)
    }
}

impl Error for LabelError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_labels() {
        let check = |name: &str| MetricsSettings { labels: BTreeMap::from([(name.into(), "x".into())]) }.check();
        for good in ["team", "_x", "Zone2", "a__b"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "2x", "a-b", "a.b", "__x", "route", "le", "é"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let message = check("route").map_err(|error| error.to_string());
        assert_eq!(message, Err("`route` cannot be a label: the series have it already".to_owned()));
    }
}
