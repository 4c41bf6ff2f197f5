use mesh_core::Target;
use std::{fmt, future::Future, sync::Arc};
use tokio::{sync::watch, task::JoinHandle};

/// The other direction of discovery: a registry where this service makes itself known.
pub trait Registrar: Send + Sync {
    /// Makes `instance` known, and keeps it so over failures of the registry for as long as what it gives lives. It
    /// does not wait: what goes wrong is logged by the registrar, and tried again.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    fn register(&self, instance: Target) -> Registration;
}

/// Whatever a shared one does.
impl<R: Registrar + ?Sized> Registrar for Arc<R> {
    fn register(&self, instance: Target) -> Registration {
        (**self).register(instance)
    }
}

/// An instance that is known in a registry. Made by [`Registrar::register`].
///
/// [`Registration::deregister`] takes it out again and waits until that is done: the first thing of a drain. Dropping
/// it does the same without waiting, as far as the runtime lives long enough; else the registry notices by itself that
/// nobody keeps the instance, after the lease of the registrar.
#[must_use = "dropping it takes the instance out of the registry"]
pub struct Registration {
    /// Dropping it asks the task to leave.
    leave: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Registration {
    /// What a registrar gives: `keep` runs on the present tokio runtime. It makes the instance known and keeps it so,
    /// until [`Leave::asked`] says that it should go; then it takes the instance out, within a bounded time, and ends.
    ///
    /// ```
    /// use mesh_discovery::{Leave, Registration};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let registration = Registration::spawn(async |mut leave: Leave| {
    ///     // register, and here: keep the lease, or begin anew when it is lost
    ///     leave.asked().await;
    ///     // take it out
    /// });
    /// registration.deregister().await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn<F>(keep: impl FnOnce(Leave) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (leave, asked) = watch::channel(());
        Self { leave, task: tokio::spawn(keep(Leave(asked))) }
    }

    /// Takes the instance out of the registry; ready when that is done, or has been given up. Give it a time limit of
    /// your own where one is needed: dropped before its end, it goes on by itself.
    pub async fn deregister(self) {
        let Self { leave, task } = self;
        drop(leave);
        if let Err(error) = task.await {
            tracing::error!(%error, "the registration ended badly");
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("ended", &self.task.is_finished()).finish_non_exhaustive()
    }
}

/// Tells what keeps a [`Registration`] when it should leave.
#[derive(Clone, Debug)]
pub struct Leave(watch::Receiver<()>);

impl Leave {
    /// Ready when it should leave, and from then on always. Dropping the future loses nothing.
    pub async fn asked(&mut self) {
        while self.0.changed().await.is_ok() {}
    }

    /// Whether it should leave.
    pub fn is_asked(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicU32, Ordering::Relaxed},
        time::Duration,
    };

    /// 1 while it is known.
    fn registered(known: &Arc<AtomicU32>) -> Registration {
        let known = known.clone();
        Registration::spawn(async move |mut leave: Leave| {
            known.store(1, Relaxed);
            leave.asked().await;
            leave.asked().await;
            assert!(leave.is_asked());
            tokio::time::sleep(Duration::from_secs(1)).await;
            known.store(0, Relaxed);
        })
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_until_it_is_taken_out_or_dropped() {
        let known = Arc::<AtomicU32>::default();
        let registration = registered(&known);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(known.load(Relaxed), 1);
        registration.deregister().await;
        assert_eq!(known.load(Relaxed), 0, "deregister waits");

        let registration = registered(&known);
        tokio::task::yield_now().await;
        drop(registration);
        assert_eq!(known.load(Relaxed), 1, "drop does not");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(known.load(Relaxed), 0);

        let registration = registered(&known);
        tokio::task::yield_now().await;
        let waited = tokio::time::timeout(Duration::from_millis(10), registration.deregister()).await;
        assert!(waited.is_err() && known.load(Relaxed) == 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(known.load(Relaxed), 0, "a wait given up does not keep it");
    }

    #[tokio::test]
    async fn one_that_panics_is_over() {
        Registration::spawn(async |_| panic!("a defect of the registrar")).deregister().await;
    }
}
