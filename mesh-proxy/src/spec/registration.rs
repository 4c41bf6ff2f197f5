use super::{Faults, Registrar};
use mesh_core::{
    Target,
    spec::{Key, Node, Value},
};
use mesh_discovery::Static;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

/// `registrations.NAME`
#[derive(Clone, Debug)]
pub struct RegistrationSpec {
    /// Its name.
    pub name: String,
    /// Where the service makes itself known; a plan has it checked.
    pub registrar: Node,
    /// As what: where others reach it.
    pub instance: Target,
}

/// A registration: where this service makes itself known.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Registration")]
pub(super) struct Settings {
    /// Where: a registrar with its settings.
    #[schemars(with = "Registrar")]
    with: Node,
    /// As what: the address where others reach it, or a mapping.
    #[schemars(schema_with = "instance")]
    instance: Node,
}

/// What one entry of a list of endpoints is.
fn instance(generator: &mut SchemaGenerator) -> Schema {
    let list = <Static as JsonSchema>::json_schema(generator).to_value();
    list.get("items").cloned().and_then(|items| items.try_into().ok()).unwrap_or_default()
}

impl RegistrationSpec {
    pub(super) fn read(key: &Key, node: &Node, faults: &mut Faults) -> Option<Self> {
        let path = format!("registrations.{}", key.name);
        let settings: Settings = faults.read(node, &path)?;
        // an instance is written as an endpoint of a list is
        let list = Node { value: Value::Sequence(vec![settings.instance.clone()]), ..settings.instance };
        let instance: Static = faults.read(&list, &format!("{path}.instance"))?;
        let instance = instance.targets().first()?.clone();
        Some(Self { name: key.name.clone(), registrar: settings.with, instance })
    }
}
