use super::*;
use std::{collections::VecDeque, sync::Mutex, task::Waker};

/// What is to come, and who waits for it.
type Fed = (VecDeque<Option<Update>>, Option<Waker>);

/// A stream fed by hand.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<Fed>>);

impl Feed {
    fn send(&self, update: Option<Update>) {
        let mut inner = self.0.lock().unwrap();
        inner.0.push_back(update);
        if let Some(waker) = inner.1.take() {
            waker.wake();
        }
    }
}

impl Stream for Feed {
    type Item = Update;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        let mut inner = self.0.lock().unwrap();
        match inner.0.pop_front() {
            Some(update) => Poll::Ready(update),
            None => {
                inner.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn target(port: u16) -> Target {
    Target::new(std::net::SocketAddr::from(([127, 0, 0, 1], port)))
}

fn addresses(endpoints: &Endpoints) -> Vec<String> {
    endpoints.load().endpoints().iter().map(|endpoint| endpoint.address().to_string()).collect()
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_change_comes_at_once_and_later_ones_together() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    assert!(!endpoints.load().is_resolved());
    let _driver = driver.spawn();
    feed.send(Some(Update::Set(vec![target(1)])));
    tokio::task::yield_now().await;
    assert_eq!(addresses(&endpoints), ["127.0.0.1:1"]);
    for port in 2..50 {
        feed.send(Some(Update::Change { upsert: vec![target(port)], remove: vec![] }));
        tokio::task::yield_now().await;
    }
    assert_eq!(endpoints.load().version(), 1, "still gathering");
    settle().await;
    assert_eq!((endpoints.load().version(), addresses(&endpoints).len()), (2, 49));
}

#[tokio::test(start_paused = true)]
async fn identity_survives_a_flap_and_a_change_of_weight_but_not_a_minute() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    let _driver = driver.spawn();
    let send = async |targets: Vec<Target>| {
        feed.send(Some(Update::Set(targets)));
        settle().await;
        endpoints.load().endpoints().first().map(|endpoint| endpoint.id())
    };
    let first = send(vec![target(1)]).await;
    endpoints.load().endpoints()[0].pick();
    assert_eq!(send(vec![]).await, None);
    assert_eq!(send(vec![target(1).with_weight(3)]).await, first);
    assert_eq!((endpoints.load().endpoints()[0].in_flight(), endpoints.load().endpoints()[0].weight()), (1, 3));
    assert_eq!(send(vec![]).await, None);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(send(vec![]).await, None);
    assert_ne!(send(vec![target(1)]).await, first);
}

#[tokio::test(start_paused = true)]
async fn the_last_set_stays_when_the_driver_is_gone() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    let handle = driver.spawn();
    feed.send(Some(Update::Set(vec![target(1), target(2), target(1)])));
    settle().await;
    drop(handle);
    settle().await;
    feed.send(Some(Update::Set(vec![])));
    settle().await;
    assert_eq!(addresses(&endpoints), ["127.0.0.1:1", "127.0.0.1:2"], "duplicates count once");
}

#[tokio::test(start_paused = true)]
async fn an_ended_stream_publishes_what_it_gathered() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    feed.send(Some(Update::Set(vec![target(1)])));
    feed.send(Some(Update::Change { upsert: vec![target(2)], remove: vec![target(1).address] }));
    feed.send(None);
    driver.await;
    assert_eq!(addresses(&endpoints), ["127.0.0.1:2"]);
}

#[tokio::test(start_paused = true)]
async fn an_observer_hears_every_set_before_it_shows_until_the_subscription_is_dropped() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    let _driver = driver.spawn();
    let heard: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
    let subscription = endpoints.subscribe({
        let (heard, endpoints) = (heard.clone(), endpoints.clone());
        move |set| heard.lock().unwrap().push((set.version(), endpoints.load().version()))
    });
    for port in 1..=2 {
        feed.send(Some(Update::Set(vec![target(port)])));
        settle().await;
    }
    assert_eq!(*heard.lock().unwrap(), [(0, 0), (1, 0), (2, 1)], "what is told, what shows");
    drop(subscription);
    feed.send(Some(Update::Set(vec![])));
    settle().await;
    assert_eq!((heard.lock().unwrap().len(), endpoints.load().version()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_again_is_no_new_set() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    let _driver = driver.spawn();
    let version = async |update: Update| {
        feed.send(Some(update));
        settle().await;
        endpoints.load().version()
    };
    assert_eq!(version(Update::Set(vec![])).await, 1, "none is an answer");
    assert_eq!(version(Update::Set(vec![])).await, 1);
    assert_eq!(version(Update::Set(vec![target(1), target(2)])).await, 2);
    assert_eq!(version(Update::Set(vec![target(1), target(2)])).await, 2);
    assert_eq!(version(Update::Change { upsert: vec![target(2)], remove: vec![target(3).address] }).await, 2);
    assert_eq!(version(Update::Set(vec![target(2), target(1)])).await, 3, "the order counts");
    assert_eq!(version(Update::Change { upsert: vec![target(1).with_weight(2)], remove: vec![] }).await, 4);
    let replaced = Update::Change { upsert: vec![target(1)], remove: vec![target(1).address] };
    assert_eq!((version(replaced).await, addresses(&endpoints).len()), (5, 2));
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_pause_is_published_and_leaves_others_their_turn() {
    struct Endless(u16);

    impl Stream for Endless {
        type Item = Update;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Update>> {
            self.0 = self.0.wrapping_add(1);
            Poll::Ready(Some(Update::Set(vec![target(self.0)])))
        }
    }

    let (endpoints, driver) = Endpoints::new(Endless(0));
    let _driver = driver.spawn();
    tokio::task::yield_now().await;
    assert_eq!(endpoints.load().version(), 1);
    tokio::time::advance(Duration::from_millis(11)).await;
    tokio::task::yield_now().await;
    assert_eq!(endpoints.load().version(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_result_is_waited_for_so_long() {
    let feed = Feed::default();
    let (endpoints, driver) = Endpoints::new(feed.clone());
    let _driver = driver.spawn();
    let second = Duration::from_secs(1);
    assert!(endpoints.resolved(second).await.is_none());
    assert_eq!(endpoints.observers.lock().unwrap().list.len(), 0);
    let waiting = tokio::spawn({
        let endpoints = endpoints.clone();
        async move { endpoints.resolved(second).await }
    });
    tokio::task::yield_now().await;
    feed.send(Some(Update::Set(vec![target(1)])));
    assert_eq!(waiting.await.unwrap().unwrap().endpoints().len(), 1);
    assert_eq!(endpoints.resolved(Duration::ZERO).await.unwrap().version(), 1);
}

fn ids(endpoints: &Endpoints) -> Vec<EndpointId> {
    endpoints.load().endpoints().iter().map(|endpoint| endpoint.id()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_successor_has_the_same_endpoints_at_the_same_addresses() {
    let first = Endpoints::fixed([target(1), target(2)]);
    let before = ids(&first);
    let second = Endpoints::fixed_after([target(3), target(2)], &first);
    assert_eq!(ids(&second)[1], before[1]);
    assert!(second.load().version() > first.load().version());
    assert_eq!(ids(&first), before, "what was there goes on as it was");
    // away in the second, back within a minute, and then after more than one
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(ids(&Endpoints::fixed_after([target(1)], &second)), before[..1]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_ne!(ids(&Endpoints::fixed_after([target(1)], &second)), before[..1]);
}

#[tokio::test(start_paused = true)]
async fn a_successor_keeps_the_set_until_its_source_has_spoken() {
    let first = Endpoints::fixed([target(1), target(2)]);
    let before = ids(&first);
    let feed = Feed::default();
    let (second, driver) = Endpoints::new_after(feed.clone(), &first);
    let _driver = driver.spawn();
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(second.load().is_resolved());
    assert_eq!(ids(&second), before);
    feed.send(Some(Update::Set(vec![target(2), target(3)])));
    settle().await;
    assert_eq!(addresses(&second), ["127.0.0.1:2", "127.0.0.1:3"]);
    assert_eq!(ids(&second)[0], before[1]);
    // its source has nothing at all: that is an answer, too
    let feed = Feed::default();
    let (third, driver) = Endpoints::new_after(feed.clone(), &second);
    let _driver = driver.spawn();
    feed.send(Some(Update::Set(vec![])));
    settle().await;
    assert!(third.load().endpoints().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_has_left_when_it_is_in_no_set_any_more() {
    let first = Endpoints::fixed([target(1), target(2)]);
    let presence = first.load().endpoints()[0].presence();
    let feed = Feed::default();
    let (second, driver) = Endpoints::new_after(feed.clone(), &first);
    let _driver = driver.spawn();
    drop(first);
    assert!(!presence.has_left(), "its successor has it");
    feed.send(Some(Update::Set(vec![target(2)])));
    settle().await;
    assert!(presence.has_left());
    feed.send(Some(Update::Set(vec![target(1).with_weight(3)])));
    settle().await;
    assert!(!presence.has_left(), "it is back");
    drop((second, _driver, feed));
    settle().await;
    assert!(presence.has_left());
    assert!(!Endpoint::new(target(3)).presence().has_left(), "it was in none");
}
