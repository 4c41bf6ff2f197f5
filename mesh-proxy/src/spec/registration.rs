use super::Faults;
use mesh_core::{
    Target,
    spec::{Key, Node, Value},
};
use mesh_discovery::Static;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    with: Node,
    instance: Node,
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
