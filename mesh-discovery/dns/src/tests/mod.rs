#[cfg(feature = "config")]
mod config;
mod resolve;
mod schedule;

use crate::{
    DnsSettings,
    resolve::{Ask, Kind, Question, Record, Reply, Service},
    source::follow,
};
use mesh_core::{Target, Update};
use mesh_discovery::{Updates, updates};
use std::{
    collections::HashMap,
    future::{poll_fn, ready},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};
use tokio::time::Instant;

/// Servers that reply as they were told, and note when they were asked.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    replies: HashMap<(String, Kind), Reply>,
    asked: Vec<(Instant, Question)>,
    connected: u32,
}

impl Ask for Script {
    fn ask(&self, question: Question) -> impl Future<Output = Reply> + Send {
        let mut inner = self.0.lock().unwrap();
        inner.asked.push((Instant::now(), question.clone()));
        let reply = inner.replies.get(&(question.name, question.kind)).cloned();
        ready(reply.unwrap_or(Reply::Missing { ttl: None }))
    }
}

impl Script {
    fn tell(&self, name: &str, kind: Kind, reply: Reply) -> &Self {
        self.0.lock().unwrap().replies.insert((name.into(), kind), reply);
        self
    }

    /// When it was asked since, after `start`.
    fn times(&self, start: Instant) -> Vec<Duration> {
        self.0.lock().unwrap().asked.drain(..).map(|(time, _)| time - start).collect()
    }

    fn asked(&self) -> Vec<(String, Kind)> {
        self.0.lock().unwrap().asked.drain(..).map(|(_, Question { name, kind })| (name, kind)).collect()
    }

    /// The updates of a source that asks here.
    fn updates(&self, settings: DnsSettings) -> Updates {
        let script = self.clone();
        updates(async move |say| {
            let connect = |_: &DnsSettings| {
                script.0.lock().unwrap().connected += 1;
                Ok(script.clone())
            };
            follow(&settings, connect, &say).await;
        })
    }
}

fn a(addresses: &[&str], ttl: u64) -> Reply {
    let records = addresses.iter().map(|ip| Record::Address(ip.parse().unwrap())).collect();
    Reply::Found { records, ttl: Duration::from_secs(ttl) }
}

fn srv(services: &[(u16, u16, u16, &str)], ttl: u64) -> Reply {
    let records = services.iter().map(|&(priority, weight, port, target)| {
        Record::Service(Service { priority, weight, port, target: target.into() })
    });
    Reply::Found { records: records.collect(), ttl: Duration::from_secs(ttl) }
}

fn failed() -> Reply {
    Reply::Failed("no answer".into())
}

fn missing(ttl: Option<u64>) -> Reply {
    Reply::Missing { ttl: ttl.map(Duration::from_secs) }
}

/// The next update within a time, as text: `ADDRESS*WEIGHT`.
async fn next(updates: &mut Updates, within: Duration) -> Option<Vec<String>> {
    let update = tokio::time::timeout(within, poll_fn(|cx| updates.as_mut().poll_next(cx))).await.ok()?;
    match update.expect("it never ends") {
        Update::Set(targets) => Some(targets.iter().map(shown).collect()),
        other => panic!("{other:?}"),
    }
}

fn shown(target: &Target) -> String {
    match target.weight {
        1 => target.address.to_string(),
        weight => format!("{}*{weight}", target.address),
    }
}

/// Goes on for a time, in which nothing may be said but `expected`, again and again.
async fn during(updates: &mut Updates, time: Duration, expected: &[&str]) {
    let end = Instant::now() + time;
    while let Some(said) = next(updates, end - Instant::now()).await {
        assert_eq!(said, expected);
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn is_pending(updates: &mut Updates) -> impl Future<Output = bool> {
    poll_fn(|cx| Poll::Ready(updates.as_mut().poll_next(cx).is_pending()))
}
