//! Requests that are refused here, before the service has seen them.

use super::connection::Connection;
use crate::{Body, Request};
use http::{Method, Uri};
use mesh_core::{Context, Rejection, http::CallBody};
use std::{fmt, sync::Arc};

/// Who is told of them.
#[derive(Clone)]
pub(super) struct OnRefusal(pub(super) Arc<Tell>);

type Tell = dyn Fn(Request, &mut Rejection) + Send + Sync;

impl fmt::Debug for OnRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRefusal")
    }
}

impl Connection {
    /// A request is refused whose head was read.
    #[cold]
    pub(super) fn refuse<B>(&self, request: http::Request<B>, call: Context, mut rejection: Rejection) -> Rejection {
        rejection.count();
        if let Some(OnRefusal(tell)) = self.on_refusal() {
            call.end_request_on_arrival();
            tell(request.map(|_| CallBody::new(call, Body::empty())), &mut rejection);
        }
        rejection
    }

    /// A request was refused that could not be read: nothing is known of it but where it came from. Its method, and the
    /// authority it is for, are `-`, and it has no path.
    #[cold]
    pub(super) fn refuse_unread(&self, rejection: Rejection) {
        let call = self.begin(self.arrival(), self.always_answers_grpc(), None);
        let mut request = http::Request::new(());
        *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
        *request.uri_mut() = Uri::from_static("-");
        self.refuse(request, call, rejection);
    }
}
