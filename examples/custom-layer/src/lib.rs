//! `tenants`, a layer of one's own: it admits requests that say on whose behalf they are, so many of each tenant at
//! once.
//!
//! ```yaml
//! pipeline:
//!   - tenants: { header: x-tenant, limits: { gold: 100, free: 5 } }
//! ```
//!
//! It is a gate: it looks at a request, and hears of its end. It does not know that requests are HTTP, so it can be
//! registered for any protocol whose requests carry metadata.

use mesh_core::{
    At, End, Gate, Kind, Protocol, Registry, Rejection, RequestView, Ticket, Watch, pipeline::Validate, spec::Invalid,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

/// Registers `tenants`. Over a reload the requests under way go on to count.
pub fn register<P: Protocol>(registry: &mut Registry<P>) {
    registry.gate(
        "tenants",
        "admits so many requests of each tenant at once",
        |settings: TenantSettings, previous: Option<Arc<Tenants>>, _| {
            Arc::new(Tenants::new(settings, previous.as_deref()))
        },
    );
}

/// The settings of `tenants`, as a spec writes them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantSettings {
    /// The metadata that names the tenant, in lower case. Default `x-tenant`.
    #[serde(default = "x_tenant")]
    pub header: String,
    /// How many requests of each tenant may be under way at once, by its name; nobody else is admitted. At least one.
    #[schemars(extend("minProperties" = 1))]
    pub limits: BTreeMap<String, NonZeroU32>,
}

fn x_tenant() -> String {
    "x-tenant".into()
}

impl Validate for TenantSettings {
    fn validate(&self) -> Result<(), Invalid> {
        if self.limits.is_empty() {
            return Err(Invalid::new("without a tenant nobody is admitted: expected at least one").in_path("limits"));
        }
        let lower = self.header.to_lowercase();
        if self.header != lower {
            let fault = Invalid::new("names of metadata are in lower case").in_path("header");
            return Err(fault.with_suggestion(format!("did you mean `{lower}`?")));
        }
        Ok(())
    }
}

/// The gate.
pub struct Tenants {
    header: String,
    /// In the order of their names.
    tenants: Vec<Tenant>,
}

struct Tenant {
    name: String,
    max: u32,
    /// The requests under way: one count for all gates that stood here one after the other.
    now: Arc<AtomicU32>,
}

impl Tenants {
    /// A gate by these settings, in the place of `previous`.
    pub fn new(settings: TenantSettings, previous: Option<&Self>) -> Self {
        let count = |name: &str| {
            let before = previous.and_then(|gate| gate.find(name.as_bytes()).map(|index| &gate.tenants[index]));
            before.map(|tenant| tenant.now.clone()).unwrap_or_default()
        };
        let tenants = settings.limits.into_iter();
        let tenants = tenants.map(|(name, max)| Tenant { max: max.get(), now: count(&name), name }).collect();
        Self { header: settings.header, tenants }
    }

    /// How many requests of this tenant are under way.
    pub fn in_flight(&self, name: &str) -> Option<u32> {
        self.find(name.as_bytes()).map(|index| self.tenants[index].now.load(Relaxed))
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.tenants.binary_search_by(|tenant| tenant.name.as_bytes().cmp(name)).ok()
    }
}

impl<R: RequestView> Gate<R> for Tenants {
    /// The ticket is the tenant's place in the list.
    fn admit(&self, request: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        let Some(index) = request.get(&self.header).and_then(|name| self.find(name)) else {
            return Err(Rejection::new(Kind::Forbidden));
        };
        let Tenant { max, now, .. } = &self.tenants[index];
        match now.fetch_update(Relaxed, Relaxed, |now| (now < *max).then_some(now + 1)) {
            Ok(_) => Ok(Some(Ticket(index as u64, 0))),
            Err(_) => Err(Rejection::new(Kind::Saturated)),
        }
    }
}

impl Watch for Tenants {
    /// At the end of the body, or however else a request is over: exactly once.
    fn on_end(&self, ticket: Ticket, _: &End<'_>) {
        if let Some(tenant) = self.tenants.get(ticket.0 as usize) {
            tenant.now.fetch_sub(1, Relaxed);
        }
    }
}
