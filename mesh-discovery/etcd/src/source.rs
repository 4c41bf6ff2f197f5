use crate::{
    EtcdSettings, SettingsError,
    client::{Client, Failure, Watched},
    outage::Outage,
    settings::Access,
    view::View,
};
use mesh_core::time;
use mesh_discovery::{Discovery, Say, Updates, updates};
use std::{convert::Infallible, sync::Arc};

/// The endpoints under a prefix in etcd, kept up to date by a watch. See [the crate](crate) for an example, the form of
/// the values, and what becomes of the endpoints when etcd fails.
#[derive(Clone, Debug)]
pub struct Etcd {
    settings: Arc<EtcdSettings>,
}

impl Etcd {
    /// The endpoints that these settings name. Connects when its updates are polled first.
    ///
    /// # Errors
    /// The first fault of the settings.
    pub fn new(settings: EtcdSettings) -> Result<Self, SettingsError> {
        settings.validate()?;
        Ok(Self::of_valid(settings))
    }

    pub(crate) fn of_valid(settings: EtcdSettings) -> Self {
        Self { settings: Arc::new(settings) }
    }
}

/// Its updates never end. They are to be polled inside a tokio runtime with time and I/O enabled: the connection runs
/// there as tasks, which end when the stream is dropped.
impl Discovery for Etcd {
    fn updates(&self) -> Updates {
        let settings = self.settings.clone();
        updates(async move |say| {
            let access = settings.access();
            let mut view = View::new(settings.grace);
            let mut outage = Outage::new("endpoints", &settings.prefix);
            for server in access.rounds() {
                let Err(failure) = follow(server, &access, &settings.prefix, &mut view, &say, &mut outage).await;
                outage.wait(server, &failure).await;
            }
        })
    }
}

/// Follows the prefix on one server until that fails.
async fn follow(
    server: &str,
    access: &Access,
    prefix: &str,
    view: &mut View,
    say: &Say,
    outage: &mut Outage<'_>,
) -> Result<Infallible, Failure> {
    let client = Client::connect(server, access).await?;
    loop {
        let snapshot = client.range(prefix.as_bytes()).await?;
        let from = snapshot.mark.revision + 1;
        outage.over(server);
        say.update(view.snapshot(snapshot, time::now()));
        watch(&client, prefix, from, view, say).await?;
    }
}

/// Says the changes from a revision on, until that is no longer kept.
pub(crate) async fn watch(client: &Client, prefix: &str, from: i64, view: &mut View, say: &Say) -> Result<(), Failure> {
    let mut watch = client.watch(prefix.as_bytes(), from).await?;
    loop {
        let release = view.release_at();
        let update = tokio::select! {
            watched = watch.next() => match watched? {
                Watched::Changes(mark, changes) => view.changes(mark, changes, time::now()),
                Watched::Compacted => {
                    tracing::info!(prefix, from, "etcd no longer keeps this revision; asking for all endpoints anew");
                    return Ok(());
                }
            },
            () = time::sleep_until(release.unwrap_or_default()), if release.is_some() => view.release(time::now()),
        };
        if let Some(update) = update {
            say.update(update);
        }
    }
}
