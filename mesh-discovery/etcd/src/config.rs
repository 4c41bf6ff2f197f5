//! Reading the settings, and the names in a spec (feature `config`).

use crate::{Etcd, EtcdRegistrar, EtcdRegistrarSettings, EtcdSettings, SettingsError};
use mesh_core::{pipeline::Validate, spec::Invalid};
use mesh_discovery::Sources;
use serde::Serializer;

/// Adds the source `etcd` and the registrar `etcd`.
///
/// ```
/// use mesh_core::spec::Node;
/// use mesh_discovery::Sources;
/// use serde_json::json;
///
/// let mut sources = Sources::new();
/// mesh_discovery_etcd::register(&mut sources);
/// let settings = json!({ "endpoints": ["http://127.0.0.1:2379"], "prefix": "/services/orders/" });
/// let source = sources.check(&Node::from(json!({ "etcd": settings })))?;
/// assert_eq!(source.effective()["grace"], "1m");
/// let registrar = sources.check_registrar(&Node::from(json!({ "etcd": settings })))?;
/// assert_eq!(registrar.effective()["ttl"], "10s");
/// # Ok::<(), mesh_core::spec::Invalid>(())
/// ```
pub fn register(sources: &mut Sources) {
    sources.add("etcd", "The keys under a prefix in etcd, watched", Etcd::of_valid).add_registrar(
        "etcd",
        "A key in etcd, kept by a lease",
        EtcdRegistrar::of_valid,
    );
}

impl Validate for EtcdSettings {
    fn validate(&self) -> Result<(), Invalid> {
        Ok(self.validate()?)
    }
}

impl Validate for EtcdRegistrarSettings {
    fn validate(&self) -> Result<(), Invalid> {
        Ok(self.validate()?)
    }
}

impl From<SettingsError> for Invalid {
    fn from(error: SettingsError) -> Self {
        Invalid::new(error.message()).with_suggestion(error.help()).in_path(error.key())
    }
}

/// Shows that there is a password, and not which.
pub(crate) fn hidden<S: Serializer>(password: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match password {
        Some(_) => serializer.serialize_str("***"),
        None => serializer.serialize_none(),
    }
}
