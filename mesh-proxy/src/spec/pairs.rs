//! Mappings whose keys are names of their own kind, in the order of the file.

use http::HeaderName;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use std::{fmt, marker::PhantomData};

/// The entries of a mapping. Two keys that are written differently may still be the same name: that is refused.
pub(super) fn pairs<'de, D, K, V>(deserializer: D) -> Result<Vec<(K, V)>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + PartialEq + fmt::Display,
    V: Deserialize<'de>,
{
    struct Pairs<K, V>(PhantomData<(K, V)>);

    impl<'de, K, V> Visitor<'de> for Pairs<K, V>
    where
        K: Deserialize<'de> + PartialEq + fmt::Display,
        V: Deserialize<'de>,
    {
        type Value = Vec<(K, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a mapping")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs: Vec<(K, V)> = Vec::new();
            while let Some((key, value)) = map.next_entry()? {
                if pairs.iter().any(|(earlier, _)| *earlier == key) {
                    return Err(de::Error::custom(format!("`{key}` is given twice")));
                }
                pairs.push((key, value));
            }
            Ok(pairs)
        }
    }

    deserializer.deserialize_map(Pairs(PhantomData))
}

/// The name of a header field.
#[derive(PartialEq)]
pub(super) struct FieldName(pub(super) HeaderName);

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(name) => Ok(Self(name)),
            Err(_) => Err(de::Error::custom(format!("`{text}` is not the name of a header field"))),
        }
    }
}
