//! Sources and registrars by name, for a spec (feature `config`).

use crate::{Discovery, Registrar};
use mesh_core::{
    Target,
    pipeline::Validate,
    spec::{Invalid, Node, Value, nearest},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// The sources and registrars there are, by name: what `discovery: { NAME: settings }` of a cluster may say.
///
/// ```
/// use mesh_core::spec::Node;
/// use mesh_discovery::Sources;
///
/// let mut sources = Sources::new();
/// mesh_discovery::register(&mut sources);
/// let source = sources.check(&Node::from(serde_json::json!({ "static": ["127.0.0.1:9001"] })))?;
/// assert_eq!((source.name(), source.fixed_targets().map(|targets| targets.len())), ("static", Some(1)));
///
/// let invalid = sources.check(&Node::from(serde_json::json!({ "sttic": [] }))).unwrap_err();
/// assert_eq!(invalid.to_string(), "unknown source `sttic`; did you mean `static`?");
/// # Ok::<(), mesh_core::spec::Invalid>(())
/// ```
#[derive(Debug, Default)]
pub struct Sources {
    discoveries: Kinds<dyn Discovery>,
    registrars: Kinds<dyn Registrar>,
}

impl Sources {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source under a name; a later one of the same name takes its place. `about` is one line on where the
    /// endpoints come from. `make` is given settings that have been found good, while the spec is being checked: it
    /// does no I/O, begins nothing and cannot fail; work begins in [`Discovery::updates`].
    pub fn add<S, D>(
        &mut self,
        name: &'static str,
        about: &'static str,
        make: impl Fn(S) -> D + Send + Sync + 'static,
    ) -> &mut Self
    where
        S: DeserializeOwned + Serialize + JsonSchema + Validate + 'static,
        D: Discovery + 'static,
    {
        self.discoveries.add(name, about, move |settings: S| -> Arc<dyn Discovery> { Arc::new(make(settings)) });
        self
    }

    /// Adds a registrar, in the same way; work begins in [`Registrar::register`]. Sources and registrars have names of
    /// their own: a registry is usually both, under the same name.
    pub fn add_registrar<S, R>(
        &mut self,
        name: &'static str,
        about: &'static str,
        make: impl Fn(S) -> R + Send + Sync + 'static,
    ) -> &mut Self
    where
        S: DeserializeOwned + Serialize + JsonSchema + Validate + 'static,
        R: Registrar + 'static,
    {
        self.registrars.add(name, about, move |settings: S| -> Arc<dyn Registrar> { Arc::new(make(settings)) });
        self
    }

    /// Looks at the `discovery` of a cluster: a mapping with the name of a source as its only key.
    ///
    /// # Errors
    /// The first fault, with its position and its path from `node`.
    pub fn check(&self, node: &Node) -> Result<CheckedSource, Invalid> {
        self.discoveries.check(node, "source")
    }

    /// Looks at a registrar: a mapping with its name as its only key.
    ///
    /// # Errors
    /// The first fault, with its position and its path from `node`.
    pub fn check_registrar(&self, node: &Node) -> Result<CheckedRegistrar, Invalid> {
        self.registrars.check(node, "registrar")
    }

    /// The JSON Schema of what [`Sources::check`] takes.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        self.discoveries.schema(generator)
    }

    /// The JSON Schema of what [`Sources::check_registrar`] takes.
    pub fn registrar_schema(&self, generator: &mut SchemaGenerator) -> Schema {
        self.registrars.schema(generator)
    }

    /// The sources by name, and what each is about.
    pub fn sources(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.discoveries.known.iter().map(|(name, kind)| (*name, kind.about))
    }

    /// The registrars by name, and what each is about.
    pub fn registrars(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.registrars.known.iter().map(|(name, kind)| (*name, kind.about))
    }
}

/// What settings make, by name.
struct Kinds<T: ?Sized> {
    known: BTreeMap<&'static str, Kind<T>>,
}

struct Kind<T: ?Sized> {
    about: &'static str,
    /// The settings with all defaults filled in, and what is made of them.
    check: Box<Check<T>>,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

type Check<T> = dyn Fn(&Node) -> Result<(serde_json::Value, Arc<T>), Invalid> + Send + Sync;

impl<T: ?Sized> Default for Kinds<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new() }
    }
}

impl<T: ?Sized> fmt::Debug for Kinds<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known.keys()).finish()
    }
}

impl<T: ?Sized> Kinds<T> {
    fn add<S>(&mut self, name: &'static str, about: &'static str, make: impl Fn(S) -> Arc<T> + Send + Sync + 'static)
    where
        S: DeserializeOwned + Serialize + JsonSchema + Validate + 'static,
    {
        let check = move |node: &Node| {
            let settings: S = node.deserialize()?;
            settings.validate().map_err(|invalid| invalid.at(node))?;
            let mut effective = serde_json::to_value(&settings).unwrap_or_default();
            node.conceal(&mut effective);
            Ok((effective, make(settings)))
        };
        self.known.insert(name, Kind { about, check: Box::new(check), schema: |g| g.subschema_for::<S>() });
    }

    fn check(&self, node: &Node, what: &str) -> Result<Checked<T>, Invalid> {
        let (key, settings) = match &node.value {
            Value::Mapping(entries) => match entries.as_slice() {
                [(key, settings)] => (key, settings),
                [] => return Err(self.none(what, "an empty mapping").at(node)),
                [(first, _), (second, _), ..] => {
                    let message = format!("expected `{}` alone, found another key `{}`", first.name, second.name);
                    let invalid = Invalid::new(message).at_position(second.position);
                    return Err(invalid.with_suggestion(format!("there is exactly one {what}")));
                }
            },
            _ => return Err(self.none(what, &node.describe()).at(node)),
        };
        let Some((name, kind)) = self.known.get_key_value(key.name.as_str()) else {
            let invalid = Invalid::new(format!("unknown {what} `{}`", key.name)).at_position(key.position);
            return Err(match nearest(&key.name, self.known.keys().copied()) {
                Some(known) => invalid.with_suggestion(format!("did you mean `{known}`?")),
                None => invalid.with_suggestion(self.all(what)),
            });
        };
        let (effective, made) = (kind.check)(settings).map_err(|invalid| invalid.at(settings).in_path(name))?;
        Ok(Checked { name, settings: settings.clone(), effective, made })
    }

    fn none(&self, what: &str, found: &str) -> Invalid {
        Invalid::new(format!("expected a {what} as `{{ NAME: settings }}`, found {found}"))
            .with_suggestion(self.all(what))
    }

    fn all(&self, what: &str) -> String {
        let known: Vec<&str> = self.known.keys().copied().collect();
        format!("the {what}s are {}", known.join(", "))
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let alternatives: Vec<Schema> = self
            .known
            .iter()
            .map(|(name, kind)| {
                let settings = (kind.schema)(generator);
                json_schema!({
                    "type": "object",
                    "description": kind.about,
                    "properties": { *name: settings },
                    "required": [name],
                    "additionalProperties": false,
                })
            })
            .collect();
        json_schema!({ "oneOf": alternatives })
    }
}

/// What a spec names and that has been found good: a [`CheckedSource`] or a [`CheckedRegistrar`]. Two are equal when
/// name and settings are, so that a reload can keep what did not change.
pub struct Checked<T: ?Sized> {
    name: &'static str,
    settings: Node,
    effective: serde_json::Value,
    made: Arc<T>,
}

/// A source of endpoints that a spec names.
pub type CheckedSource = Checked<dyn Discovery>;

/// A registrar that a spec names.
pub type CheckedRegistrar = Checked<dyn Registrar>;

impl<T: ?Sized> Checked<T> {
    /// The name it was added under.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its settings with every default filled in; what came from the environment by its name.
    pub fn effective(&self) -> &serde_json::Value {
        &self.effective
    }
}

impl Checked<dyn Discovery> {
    /// The source.
    pub fn discovery(&self) -> &Arc<dyn Discovery> {
        &self.made
    }

    /// Its endpoints, if they never change: [`Discovery::fixed`].
    pub fn fixed_targets(&self) -> Option<&[Target]> {
        self.made.fixed()
    }
}

impl Checked<dyn Registrar> {
    /// The registrar.
    pub fn registrar(&self) -> &Arc<dyn Registrar> {
        &self.made
    }
}

impl<T: ?Sized> Clone for Checked<T> {
    fn clone(&self) -> Self {
        let Self { name, settings, effective, made } = self;
        Self { name, settings: settings.clone(), effective: effective.clone(), made: made.clone() }
    }
}

impl<T: ?Sized> PartialEq for Checked<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.name, &self.settings) == (other.name, &other.settings)
    }
}

impl<T: ?Sized> fmt::Debug for Checked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("name", &self.name).field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
