//! Which call a request over HTTP becomes.

use super::{JavaType, Source};
use std::time::Duration;

/// `dubbo` of a route: the call that its requests become.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// The interface.
    pub service: String,
    /// The method.
    pub method: String,
    /// The version of the service; without one `0.0.0`.
    pub version: Option<String>,
    /// The group of the service.
    pub group: Option<String>,
    /// Its parameters, in their order.
    pub parameters: Vec<Parameter>,
    /// How arguments and result are written.
    pub generic: Generic,
    /// How long the provider may take, which it is told.
    pub timeout: Option<Duration>,
    /// Header fields that become attachments of the same name.
    pub attachments: Vec<String>,
}

/// A parameter of the method
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Where its value comes from.
    pub from: Source,
    /// Its declared type. Where one parameter of a method has none, the provider is not told any, and finds the method
    /// only if it is the one of its name.
    pub java_type: Option<JavaType>,
    /// What it is where the request does not say it; without that, and with no `value`, it is required unless it may be
    /// null.
    pub default: Option<serde_json::Value>,
    /// Whether a request without it is refused.
    pub required: bool,
}

/// `generic`: how arguments and result are written
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Generic {
    /// As maps, lists and scalars, which any provider understands.
    #[default]
    True,
    /// As JSON text, which providers from 2.7 on understand that have gson.
    Gson,
}

impl Generic {
    /// As the attachment `generic` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Gson => "gson",
        }
    }
}
