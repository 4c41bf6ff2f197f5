use crate::{
    EtcdRegistrarSettings, SettingsError,
    client::{Client, Failure},
    outage::Outage,
    settings::Access,
    value,
};
use mesh_core::{Target, time};
use mesh_discovery::{Leave, Registrar, Registration};
use std::{convert::Infallible, sync::Arc, time::Duration};

/// How long leaving may take, when etcd does not answer: then the lease runs out by itself.
const LEFT_WITHIN: Duration = Duration::from_secs(5);

/// Puts an instance into etcd under a lease, so that it goes when it is told to, and also when nobody keeps it any
/// more. See [the crate](crate) for an example.
///
/// The lease is renewed after a third of its life. When it was lost (a pause that was too long, an etcd that came back
/// without its data) it is granted anew, and the key is put again; over a lost connection the same, at the next server
/// and by a jittered backoff from 100 ms to 10 s. All of it happens in a task of its own.
///
/// Leaving revokes the lease, which takes the key out at once; when etcd does not answer for 5 s it is given up, and
/// the key goes with the lease.
#[derive(Clone, Debug)]
pub struct EtcdRegistrar {
    settings: Arc<EtcdRegistrarSettings>,
}

impl EtcdRegistrar {
    /// A registrar by these settings.
    ///
    /// # Errors
    /// The first fault of the settings.
    pub fn new(settings: EtcdRegistrarSettings) -> Result<Self, SettingsError> {
        settings.validate()?;
        Ok(Self::of_valid(settings))
    }

    pub(crate) fn of_valid(settings: EtcdRegistrarSettings) -> Self {
        Self { settings: Arc::new(settings) }
    }
}

impl Registrar for EtcdRegistrar {
    fn register(&self, instance: Target) -> Registration {
        let settings = self.settings.clone();
        Registration::spawn(async move |mut leave: Leave| {
            let access = settings.access();
            let place = Place::new(&settings, &instance);
            tokio::select! {
                () = leave.asked() => {}
                () = place.keep(&access, &settings.prefix) => {}
            }
            if tokio::time::timeout(LEFT_WITHIN, place.leave(&access)).await.is_err() {
                tracing::warn!(key = place.key, "etcd does not answer; the registration goes with its lease");
            }
        })
    }
}

/// What stands in etcd. The number of the lease is chosen here, once: so nothing is lost with an answer that does not
/// come, and what must be revoked is known at any moment. A put that is still on its way when the lease is revoked finds
/// no lease and fails.
struct Place {
    key: String,
    value: Vec<u8>,
    lease: i64,
    ttl: Duration,
}

impl Place {
    fn new(settings: &EtcdRegistrarSettings, instance: &Target) -> Self {
        let address = instance.address.to_string();
        let key = format!("{}{}", settings.prefix, settings.id.as_ref().unwrap_or(&address));
        let ttl = Duration::from_secs(settings.ttl.as_millis().div_ceil(1000) as u64);
        Self { key, value: value::write(instance), lease: fastrand::i64(1..), ttl }
    }

    /// Never ends.
    async fn keep(&self, access: &Access, prefix: &str) {
        let mut outage = Outage::new("registration", prefix);
        for server in access.rounds() {
            let Err(failure) = self.stand(server, access, &mut outage).await;
            outage.wait(server, &failure).await;
        }
    }

    /// Stands on one server until that fails.
    async fn stand(&self, server: &str, access: &Access, outage: &mut Outage<'_>) -> Result<Infallible, Failure> {
        let client = Client::connect(server, access).await?;
        let mut ttl = match client.keep_alive(self.lease, self.ttl).await? {
            Some(ttl) => ttl,
            None => client.grant(self.lease, self.ttl).await?,
        };
        client.put(self.key.as_bytes(), &self.value, self.lease).await?;
        tracing::debug!(key = self.key, server, ?ttl, "registered in etcd");
        outage.over(server);
        loop {
            time::sleep(ttl / 3).await;
            ttl = client.keep_alive(self.lease, ttl / 3).await?.ok_or(Failure::Lost)?;
        }
    }

    /// Takes it out, by any server.
    async fn leave(&self, access: &Access) {
        for server in access.rounds() {
            let revoked = async { Client::connect(server, access).await?.revoke(self.lease).await };
            match revoked.await {
                Ok(()) => return,
                Err(failure) => tracing::debug!(key = self.key, server, %failure, "not yet taken out of etcd"),
            }
            time::sleep(Duration::from_millis(100)).await;
        }
    }
}
