use crate::spec::{Forwarded, ListenerProtocol, ListenerSpec, RequestId};
use mesh_codec_http::{
    forward,
    server::{Options, Protocol, Server},
};
use mesh_core::{Name, units::Size};

/// The server of a listener's connections: what of it holds for a connection as long as that is open.
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
            Forwarded::Replace => forward::Forwarded::Replace,
            Forwarded::Off => forward::Forwarded::Off,
        },
        request_id: match spec.request_id {
            RequestId::Keep => forward::RequestId::Keep,
            RequestId::Always => forward::RequestId::Always,
            RequestId::Off => forward::RequestId::Off,
        },
        trusted_hops: spec.trusted_hops,
        headers: spec.limits.headers,
        header_bytes: spec.limits.header_bytes.as_usize(),
        streams: spec.limits.streams,
        body: spec.limits.body.map(Size::bytes),
        header_timeout: spec.timeouts.header,
        idle_timeout: spec.timeouts.idle,
        max_age: spec.timeouts.max_age,
    })
}
