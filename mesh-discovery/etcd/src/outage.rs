use crate::client::Failure;
use mesh_core::{Nanos, time};
use mesh_discovery::Backoff;
use std::time::Duration;

/// What lasts longer than this has gone well, and the next wait is a short one.
const STEADY: Duration = Duration::from_secs(10);

/// The failures of one who wants something of etcd: when to try again, and a line in the log for each change of state.
pub(crate) struct Outage<'a> {
    what: &'static str,
    prefix: &'a str,
    backoff: Backoff,
    down: bool,
    /// Since when it goes well.
    well: Option<Nanos>,
}

impl<'a> Outage<'a> {
    pub(crate) fn new(what: &'static str, prefix: &'a str) -> Self {
        Self { what, prefix, backoff: Backoff::default(), down: false, well: None }
    }

    /// It goes well.
    pub(crate) fn over(&mut self, server: &str) {
        self.well.get_or_insert_with(time::now);
        if self.down {
            tracing::info!(what = self.what, prefix = self.prefix, server, "etcd answers again");
        }
        self.down = false;
    }

    /// It failed; ready when it should be tried again.
    pub(crate) async fn wait(&mut self, server: &str, failure: &Failure) {
        if self.well.take().is_some_and(|well| time::now().since(well) >= STEADY) {
            self.backoff.reset();
        }
        let Self { what, prefix, .. } = *self;
        if self.down {
            tracing::debug!(what, prefix, server, %failure, "etcd still fails");
        } else {
            tracing::warn!(what, prefix, server, %failure, "etcd fails; what was known stays, and it is tried again");
        }
        self.down = true;
        self.backoff.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_until_it_has_gone_well_for_a_while() {
        let mut outage = Outage::new("endpoints", "/a/");
        let wait = async |outage: &mut Outage<'_>| {
            let before = time::now();
            outage.wait("http://x:1", &Failure::Ended).await;
            time::now().since(before)
        };
        for _ in 0..10 {
            outage.over("http://x:1"); // and fails at once
            wait(&mut outage).await;
        }
        assert!(wait(&mut outage).await >= Duration::from_secs(5));
        outage.over("http://x:1");
        time::sleep(STEADY / 2).await;
        outage.over("http://x:1");
        time::sleep(STEADY / 2).await;
        assert!(wait(&mut outage).await <= Duration::from_millis(110));
    }
}
