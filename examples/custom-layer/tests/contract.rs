//! The layer keeps the contract that all layers keep: the kit tries it on every way that a request can go.

use custom_layer::{TenantSettings, Tenants};
use mesh_core::{At, End, Gate, Rejection, RequestView, Ticket, Watch};
use mesh_test::{Exhaust, Http, Line, alloc::Counting, contract};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The gate for requests that all are of one tenant.
struct One(Tenants);

impl One {
    fn new(max: u32) -> Self {
        let settings = serde_json::json!({ "limits": { "gold": max } });
        let settings: TenantSettings = serde_json::from_value(settings).expect("good settings");
        Self(Tenants::new(settings, None))
    }
}

impl<R: RequestView> Gate<R> for One {
    fn admit(&self, request: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        request.set("x-tenant", b"gold");
        self.0.admit(request, at)
    }
}

impl Watch for One {
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        self.0.on_end(ticket, end);
    }
}

#[test]
fn over_http() {
    contract::gate::<Http, _>(|| One::new(1000))
        .settled(|gate| gate.0.in_flight("gold") == Some(0))
        .tight(|| One::new(1), Exhaust::Call)
        .check();
}

#[test]
fn over_a_protocol_that_is_not_http() {
    contract::gate::<Line, _>(|| One::new(1000))
        .settled(|gate| gate.0.in_flight("gold") == Some(0))
        .tight(|| One::new(1), Exhaust::Call)
        .check();
}
