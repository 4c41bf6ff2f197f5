use super::de::second_key;
use super::{Invalid, Key, Node, Position, Value};

/// A layer as a pipeline names it: `name`, or `{ name: settings }`.
///
/// Any layer's settings may also say `id`, under which its state is kept, and `shadow: true`; both
/// are taken out before the layer's own settings struct sees the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// The name under which the layer is registered.
    pub name: String,
    /// Its own settings: a mapping (empty where only the name is given), or whatever else stands
    /// there as a shorthand, untouched.
    pub settings: Node,
    /// The name under which its state is kept over reloads, where one is given.
    pub id: Option<String>,
    /// Whether it decides and counts but lets pass what it refuses.
    pub shadow: bool,
    /// Where its name is written.
    pub position: Position,
    /// The path of the settings from the list: `[2].rate_limit`.
    pub path: String,
}

impl LayerSpec {
    /// Reads a list of layers. A node without value is an empty list.
    ///
    /// Returns the layers that are well-formed and the faults of the others, whose paths begin at
    /// the list.
    pub fn read_list(list: &Node) -> (Vec<Self>, Vec<Invalid>) {
        let mut layers = Vec::new();
        let mut faults = Vec::new();
        match &list.value {
            Value::Null => {}
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("[{index}]");
                    match Self::read(item, &path, &mut faults) {
                        Ok(layer) => layers.push(layer),
                        Err(fault) => faults.push(fault.at(item).in_path(path)),
                    }
                }
            }
            _ => {
                let fault = Invalid::new(format!("expected a list of layers, found {}", list.describe()))
                    .with_suggestion("write each layer as an entry of its own: `- name` or `- name: settings`");
                faults.push(fault.at(list));
            }
        }
        (layers, faults)
    }

    /// One layer. What is wrong with `id` and `shadow` goes to `faults`, so that both are told.
    fn read(item: &Node, path: &str, faults: &mut Vec<Invalid>) -> Result<Self, Invalid> {
        let (name, position, mut settings) = match &item.value {
            Value::String(name) => (name, item.position, Node::empty(item.position)),
            Value::Mapping(entries) => match entries.as_slice() {
                [] => return Err(Invalid::new("expected a layer, found an empty mapping")),
                [(key, settings)] => (&key.name, key.position, settings.clone()),
                [first, (second, _), ..] => return Err(second_key(first, second)),
            },
            _ => {
                return Err(Invalid::new(format!(
                    "expected a layer, `name` or `name: settings`, found {}",
                    item.describe()
                )));
            }
        };
        if settings.is_null() && settings.source.is_none() {
            settings = Node::empty(settings.position);
        }
        let path = format!("{path}.{name}");
        let mut take = |key: &str| settings.remove(key);
        let id = take("id").and_then(|entry| noted(read_id(&entry), &entry, &path, faults));
        let shadow = take("shadow").and_then(|entry| noted(read_shadow(&entry), &entry, &path, faults));
        Ok(Self { name: name.clone(), settings, id, shadow: shadow.unwrap_or(false), position, path })
    }
}

fn noted<T>(read: Result<T, Invalid>, (key, node): &(Key, Node), path: &str, faults: &mut Vec<Invalid>) -> Option<T> {
    read.map_err(|fault| faults.push(fault.at(node).in_path(&key.name).in_path(path))).ok()
}

fn read_id((_, node): &(Key, Node)) -> Result<String, Invalid> {
    match node.deserialize::<String>()? {
        id if id.is_empty() => Err(Invalid::new("expected a name, found an empty text")),
        id => Ok(id),
    }
}

fn read_shadow((_, node): &(Key, Node)) -> Result<bool, Invalid> {
    node.deserialize()
}
