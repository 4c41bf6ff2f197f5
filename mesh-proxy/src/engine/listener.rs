use crate::spec::{Forwarded, ListenerProtocol, ListenerSpec, RequestId};
use mesh_codec_http::{
    forward,
    server::{Options, Protocol, Server},
};
use mesh_core::Name;

/// The server of a listener: what of it does not change while it is open.
pub(super) fn server(spec: &ListenerSpec) -> Server {
    Server::new(Options {
        listener: Name::intern(&spec.name),
        protocol: match spec.protocol {
            ListenerProtocol::Http => Protocol::Http,
            ListenerProtocol::Http1 => Protocol::Http1,
            ListenerProtocol::Http2 => Protocol::Http2,
            ListenerProtocol::Grpc => Protocol::Grpc,
        },
        forwarded: match spec.forwarded {
            Forwarded::Append => forward::Forwarded::Append,
            Forwarded::Off => forward::Forwarded::Off,
        },
        request_id: match spec.request_id {
            RequestId::Keep => forward::RequestId::Keep,
            RequestId::Off => forward::RequestId::Off,
        },
        ..Options::default()
    })
}
