use super::fields::{Fields, remove_hop_by_hop};
use http::{HeaderMap, HeaderName, header};

/// Makes the head of an upstream's response one that may be passed on: hop-by-hop fields go, and `x-mesh-rejected-by`,
/// which only an answer of ours may carry. One pass over the names; the map is changed only where there is something.
/// Gives back whether the response is gRPC, so that nobody looks for its content type again.
pub fn strip_response(headers: &mut HeaderMap) -> bool {
    static REJECTED_BY: HeaderName = HeaderName::from_static("x-mesh-rejected-by");
    let found = Fields::of(headers);
    if found.has(Fields::HOP_BY_HOP) {
        remove_hop_by_hop(headers);
    }
    if found.has(Fields::REJECTED_BY) {
        headers.remove(&REJECTED_BY);
    }
    if found.has(Fields::TE) {
        headers.remove(header::TE);
    }
    found.has(Fields::GRPC)
}
