//! Dubbo2 as a protocol of pipelines.

use crate::{DubboError, Request, Response, call::argument};
use mesh_core::{Attribute, AttributeError, Protocol, Replay, Scope};

/// Dubbo2, for pipelines and registries.
///
/// # Attributes
/// The common ones, `metadata.NAME` being an attachment, and
///
/// | | |
/// | --- | --- |
/// | `version`, `group` | of the service asked for; none where it is unset |
/// | `argument.N` | the argument with this number, from 0, as text: a string, number, truth value, date in milliseconds, enum, or bytes |
/// | `argument.N.FIELD` | a field of it, and so on inwards: of an object, by a map's key, or by the number of a list's value |
///
/// `service` is the interface, `method` of a generic call the one that it names. An argument's attribute walks the body up to
/// it; the others read no argument's value.
#[derive(Clone, Copy, Debug)]
pub struct Dubbo;

/// The attributes there are.
const KNOWN: [&str; 10] = [
    "peer.address",
    "peer.uid",
    "peer.identity",
    "service",
    "method",
    "metadata.NAME",
    "version",
    "group",
    "argument.N",
    "argument.N.FIELD",
];

impl Protocol for Dubbo {
    const NAME: &'static str = "dubbo";
    type Request = Request;
    type Response = Response;
    type Error = DubboError;

    fn attribute(path: &str) -> Result<Attribute<Request>, AttributeError> {
        let attribute = match path {
            "version" => Some(shown(path, Request::service_version)),
            "group" => Some(shown(path, Request::group)),
            _ => Attribute::common(path).or_else(|| argument(path)),
        };
        attribute.ok_or_else(|| AttributeError { path: path.into(), known: &KNOWN })
    }

    /// A request is in memory whole: another attempt shares its body. `None` where that is longer than `limit`.
    fn replay(request: &mut Request, limit: usize) -> Option<Replay<Request>> {
        (request.body().len() <= limit).then(|| {
            let kept = request.again();
            Replay::new(move || Some(kept.again()))
        })
    }
}

fn shown(path: &str, read: fn(&Request) -> Option<&str>) -> Attribute<Request> {
    Attribute::new(path, Scope::Request, move |request, visit| {
        if let Some(value) = read(request) {
            visit(value.as_bytes());
        }
    })
}
