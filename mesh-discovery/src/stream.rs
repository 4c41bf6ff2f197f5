use crate::Updates;
use futures_core::Stream;
use mesh_core::{Address, Target, Update};
use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

/// The updates that an async function says one after another: how a source is written as a loop.
///
/// The function runs inside the stream, so it goes on only while somebody polls, nothing is spawned, and dropping the
/// stream drops it at the place where it waits. The stream ends when the function does, after all it has said.
///
/// ```
/// use mesh_core::{Endpoints, Target};
/// use mesh_discovery::{Backoff, updates};
/// use std::{io, net::SocketAddr};
///
/// async fn ask() -> io::Result<Vec<Target>> {
///     Ok(vec![Target::new(SocketAddr::from(([127, 0, 0, 1], 9001)))])
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let stream = updates(async |say| {
///     let mut backoff = Backoff::default();
///     loop {
///         match ask().await {
///             Ok(targets) => return say.set(targets),
///             Err(_) => backoff.wait().await, // and a line in the log; what was said before stays good
///         }
///     }
/// });
/// let (endpoints, driver) = Endpoints::new(stream);
/// driver.await;
/// assert_eq!(endpoints.load().endpoints().len(), 1);
/// # }
/// ```
pub fn updates<F>(source: impl FnOnce(Say) -> F) -> Updates
where
    F: Future<Output = ()> + Send + 'static,
{
    let said = Arc::<Mutex<VecDeque<Update>>>::default();
    Box::pin(Spoken { source: Some(Box::pin(source(Say { said: said.clone() }))), said })
}

/// Says what a source has found, in [`updates`]. It never waits.
#[derive(Clone)]
pub struct Say {
    said: Arc<Mutex<VecDeque<Update>>>,
}

impl Say {
    /// All there are. What is the same as before costs nothing further on, so it may be said again.
    pub fn set(&self, targets: Vec<Target>) {
        self.update(Update::Set(targets));
    }

    /// Some are new or changed, some are gone.
    pub fn change(&self, upsert: Vec<Target>, remove: Vec<Address>) {
        self.update(Update::Change { upsert, remove });
    }

    /// Either of the two.
    pub fn update(&self, update: Update) {
        locked(&self.said).push_back(update);
    }
}

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Say").finish_non_exhaustive()
    }
}

fn locked(said: &Mutex<VecDeque<Update>>) -> MutexGuard<'_, VecDeque<Update>> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Spoken<F> {
    /// Until it has ended.
    source: Option<Pin<Box<F>>>,
    said: Arc<Mutex<VecDeque<Update>>>,
}

impl<F: Future<Output = ()>> Stream for Spoken<F> {
    type Item = Update;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        if let Some(update) = locked(&self.said).pop_front() {
            return Poll::Ready(Some(update));
        }
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        if source.as_mut().poll(cx).is_ready() {
            self.source = None;
        }
        let update = locked(&self.said).pop_front();
        match update {
            Some(update) => Poll::Ready(Some(update)),
            None if self.source.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, time::Duration};

    async fn next(updates: &mut Updates) -> Option<Update> {
        poll_fn(|cx| updates.as_mut().poll_next(cx)).await
    }

    fn target(port: u16) -> Target {
        Target::new(std::net::SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_comes_in_order_and_the_end_after_it() {
        let mut updates = updates(async |say: Say| {
            say.set(vec![target(1)]);
            say.change(vec![target(2)], vec![target(1).address]);
            tokio::time::sleep(Duration::from_secs(1)).await;
            say.set(vec![]);
        });
        assert_eq!(next(&mut updates).await, Some(Update::Set(vec![target(1)])));
        let change = Update::Change { upsert: vec![target(2)], remove: vec![target(1).address] };
        assert_eq!(next(&mut updates).await, Some(change));
        assert_eq!(next(&mut updates).await, Some(Update::Set(vec![])));
        assert_eq!((next(&mut updates).await, next(&mut updates).await), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_stream_drops_the_source_where_it_waits() {
        let alive = Arc::new(());
        let held = alive.clone();
        let mut updates = updates(async move |say: Say| {
            say.set(vec![]);
            std::future::pending::<()>().await;
            drop(held);
        });
        assert!(next(&mut updates).await.is_some());
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(updates);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
