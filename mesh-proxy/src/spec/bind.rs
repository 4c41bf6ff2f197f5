//! Where a listener listens, as a spec says it.

use mesh_core::{
    Address,
    spec::{Invalid, Node, Spanned, Value},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use std::{borrow::Cow, fmt, os::unix::ffi::OsStrExt as _};

/// What the kernel takes as the path of a socket, in bytes.
const LONGEST_PATH: usize = 107;
/// The owner of the process alone.
const DEFAULT_MODE: u32 = 0o600;

/// `bind`: an address, or `{ address, mode }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindSpec {
    /// Where. Port 0: any free one, which is logged.
    pub address: Address,
    /// The permissions of a Unix socket's file; connecting needs that to write. Default `0600`.
    pub mode: u32,
}

impl fmt::Display for BindSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if self.is_unix() { write!(f, " (mode {:04o})", self.mode) } else { Ok(()) }
    }
}

/// The mapping form of an address to listen on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BindMapping")]
struct Settings {
    #[schemars(schema_with = "address")]
    address: Node,
    /// The permissions of a Unix socket's file, in octal and in quotes. Default `"0600"`.
    #[schemars(with = "Option<Mode>")]
    mode: Option<Node>,
}

/// What [`read_mode`] reads.
struct Mode;

fn address(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "description": "An IP address and a port, or the path of a Unix socket. Port 0: any free one, which is logged.",
        "examples": ["127.0.0.1:8080", "[::1]:8080", "unix:/run/mesh.sock"],
    })
}

impl JsonSchema for Mode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0?[0-7]{1,3}$", "examples": ["0660"] })
    }
}

impl JsonSchema for BindSpec {
    fn schema_name() -> Cow<'static, str> {
        "Bind".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (address, mapping) = (address(generator), generator.subschema_for::<Settings>());
        json_schema!({ "description": "An address, or a mapping.", "anyOf": [address, mapping] })
    }
}

impl BindSpec {
    /// Whether it is a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self.address, Address::Unix(_))
    }

    pub(super) fn read(node: &Node) -> Result<Spanned<Self>, Invalid> {
        let Value::Mapping(_) = &node.value else {
            let address = read_address(node)?;
            return Ok(Spanned::new(Self { address, mode: DEFAULT_MODE }, node.position));
        };
        let settings: Settings = node.deserialize()?;
        let address = read_address(&settings.address).map_err(|invalid| invalid.in_path("address"))?;
        let mode = match &settings.mode {
            None => DEFAULT_MODE,
            Some(node) => {
                let mode = match address {
                    Address::Unix(_) => read_mode(node),
                    Address::Tcp(_) => Err(Invalid::new("only the file of a Unix socket has a mode")),
                };
                mode.map_err(|invalid| invalid.at(node).in_path("mode"))?
            }
        };
        Ok(Spanned::new(Self { address, mode }, settings.address.position))
    }
}

fn read_address(node: &Node) -> Result<Address, Invalid> {
    let expected = || Invalid::new(format!("expected `IP:PORT` or `unix:/PATH`, found {}", node.describe())).at(node);
    let Some(text) = node.as_str() else { return Err(expected()) };
    let suggestion = if let Some(port) = text.strip_prefix("localhost:") {
        format!("127.0.0.1:{port}")
    } else if text.starts_with(':') {
        format!("0.0.0.0{text}")
    } else if text.starts_with('/') {
        format!("unix:{text}")
    } else {
        let address = text.parse().map_err(|_| expected())?;
        return match &address {
            Address::Unix(path) if path.as_os_str().as_bytes().len() > LONGEST_PATH => Err(Invalid::new(format!(
                "the path of a socket has at the most {LONGEST_PATH} bytes, this one {}",
                path.as_os_str().as_bytes().len()
            ))
            .at(node)),
            _ => Ok(address),
        };
    };
    Err(expected().with_suggestion(format!("did you mean `{suggestion}`?")))
}

/// Octal digits in quotes: what YAML makes of them without is another number.
fn read_mode(node: &Node) -> Result<u32, Invalid> {
    let expected = || Invalid::new(format!("expected permissions in octal, as \"0660\", found {}", node.describe()));
    if let Some(number) = node.as_integer() {
        return Err(expected().with_suggestion(format!("did you mean \"{number:04}\", in quotes?")));
    }
    let digits = node.as_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(expected)?;
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(expected)
}
