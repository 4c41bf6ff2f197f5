//! What a connection passes before anything is read of it.

use crate::spec::{ConnectionLayer, ListenerSpec, Spec};
use mesh_codec_dubbo as dubbo;
use mesh_codec_http::{
    UpstreamError, UpstreamErrorKind,
    upstream::{Connect, Connecting},
};
use mesh_core::{Address, Kind, Name, Rejection};
use mesh_net::{ConnectionCount, Connector, Permit};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

/// The layers of a listener's `connection`, made.
#[derive(Debug)]
pub(super) struct ConnectionLayers {
    max: usize,
    /// Goes on over reloads: the limit may come and change while connections are open.
    count: ConnectionCount,
    open: Gauge,
}

#[derive(Clone)]
struct Gauge(metrics::Gauge);

impl std::fmt::Debug for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gauge")
    }
}

/// A connection that is open until this is dropped.
pub(super) struct Open {
    gauge: metrics::Gauge,
    _permits: [Permit; 2],
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

impl ConnectionLayers {
    pub(super) fn make(spec: &ListenerSpec, before: Option<&ConnectionLayers>) -> Self {
        let max = spec.connection.iter().map(|ConnectionLayer::MaxConnections(max)| max.get()).min();
        let count = before.map(|before| before.count.clone()).unwrap_or_default();
        let open = Gauge(metrics::gauge!("mesh_downstream_connections", "listener" => spec.name.clone()));
        Self { max: max.unwrap_or(usize::MAX), count, open }
    }

    /// Admits a connection, or says who refuses it.
    pub(super) fn admit(&self, process: &ProcessLimit) -> Result<Open, Rejection> {
        let refused = |layer| {
            let mut rejection = Rejection::new(Kind::Saturated);
            rejection.stamp(Name::intern(layer));
            rejection
        };
        let listeners = self.count.admit(self.max).ok_or_else(|| refused("max_connections"))?;
        let all = process.count.admit(process.clients()).ok_or_else(|| refused("descriptors"))?;
        self.open.0.increment(1.0);
        Ok(Open { gauge: self.open.0.clone(), _permits: [listeners, all] })
    }
}

/// How many connections there may be, those to endpoints included, so that file descriptors do not run out.
#[derive(Debug)]
pub(super) struct ProcessLimit {
    count: ConnectionCount,
    max: usize,
    descriptors: usize,
}

/// For the admin listener, discovery, files, and what libraries open.
const FOR_THE_REST: usize = 64;
/// Runtime, timers and pipes of a worker.
const PER_WORKER: usize = 8 + mesh_net::PIPE_DESCRIPTORS;

impl ProcessLimit {
    /// The limit in a process that may have so many descriptors.
    pub(super) fn new(descriptors: usize, workers: NonZeroUsize, listeners: usize) -> Self {
        let reserved = FOR_THE_REST.saturating_add(workers.get() * (PER_WORKER + listeners));
        let max = match descriptors {
            usize::MAX => usize::MAX,
            // who gives that few is to have something that works for one at a time
            _ => descriptors.saturating_sub(reserved).max(8),
        };
        Self { count: ConnectionCount::new(), max, descriptors }
    }

    /// The most connections of clients: a quarter is left for those to endpoints, so that who is in gets through.
    pub(super) fn clients(&self) -> usize {
        self.max - self.max / 4
    }

    /// Counts a connection to an endpoint; `None` where no more can be had.
    pub(super) fn admit_upstream(&self) -> Option<Permit> {
        self.count.admit(self.max)
    }

    /// What opens connections to endpoints, and counts them.
    pub(super) fn connector(self: &Arc<Self>) -> Arc<Counted> {
        Arc::new(Counted { connector: Connector::default(), process: self.clone() })
    }

    /// What is wrong, where a spec admits more connections than there are descriptors for.
    pub(super) fn shortage(&self, spec: &Spec) -> Option<String> {
        let limits = spec.listeners.iter().flat_map(|listener| &listener.connection);
        let admitted = limits.fold(0usize, |sum, ConnectionLayer::MaxConnections(max)| sum.saturating_add(max.get()));
        (admitted > self.clients()).then(|| {
            format!(
                "the listeners admit {admitted} connections; with {} file descriptors no more than {} will be admitted \
                 (see `ulimit -Hn`)",
                self.descriptors,
                self.clients()
            )
        })
    }
}

const NO_DESCRIPTOR: &str = "no file descriptor is left for it";

/// Connects to endpoints as far as there are descriptors.
pub(super) struct Counted {
    connector: Connector,
    process: Arc<ProcessLimit>,
}

impl Connect for Counted {
    fn connect<'a>(&'a self, address: &'a Address, timeout: Duration) -> Connecting<'a> {
        Box::pin(async move {
            let Some(permit) = self.process.admit_upstream() else {
                return Err(UpstreamError::new(UpstreamErrorKind::Local, NO_DESCRIPTOR));
            };
            let transport = Connect::connect(&self.connector, address, timeout).await?;
            Ok(transport.keeping(permit))
        })
    }
}

impl dubbo::client::Connect for Counted {
    fn connect<'a>(&'a self, address: &'a Address, timeout: Duration) -> dubbo::client::Connecting<'a> {
        Box::pin(async move {
            let Some(permit) = self.process.admit_upstream() else {
                return Err(dubbo::UpstreamError::new(dubbo::UpstreamErrorKind::Local, NO_DESCRIPTOR));
            };
            let transport = dubbo::client::Connect::connect(&self.connector, address, timeout).await?;
            Ok(transport.keeping(permit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn spec(text: &str) -> Spec {
        let document = read::read(text, "t.yaml", &|_| None).expect("YAML");
        let (spec, faults) = Spec::read(&document.root);
        assert!(faults.is_empty(), "{faults:?}");
        spec
    }

    fn listener(limit: &str) -> ListenerSpec {
        spec(&format!("listeners: {{ a: {{ bind: 127.0.0.1:0, connection: {limit} }} }}")).listeners.remove(0)
    }

    #[test]
    fn a_limit_is_found_again_with_its_count_after_a_reload() {
        let process = ProcessLimit::new(usize::MAX, NonZeroUsize::MIN, 1);
        let unlimited = ConnectionLayers::make(&listener("[]"), None);
        let two = [unlimited.admit(&process), unlimited.admit(&process)];
        let three = ConnectionLayers::make(&listener("[ max_connections: 3 ]"), Some(&unlimited));
        let third = three.admit(&process).ok();
        assert!(third.is_some());
        let rejection = three.admit(&process).err().expect("the fourth");
        assert_eq!((rejection.layer().as_str(), rejection.kind()), ("max_connections", Kind::Saturated));
        let one = ConnectionLayers::make(&listener("[ max_connections: 1 ]"), Some(&three));
        assert!(one.admit(&process).is_err());
        drop((two, third));
        assert!(one.admit(&process).is_ok());
    }

    #[test]
    fn descriptors_limit_all_listeners_together() {
        let process = ProcessLimit::new(1000, NonZeroUsize::new(2).expect("two"), 3);
        assert_eq!(process.max, 1000 - 64 - 2 * (PER_WORKER + 3));
        let layers = [(); 2].map(|()| ConnectionLayers::make(&listener("[]"), None));
        let most = process.clients();
        let open: Vec<Open> = (0..most).filter_map(|n| layers[n % 2].admit(&process).ok()).collect();
        assert_eq!(open.len(), most);
        assert_eq!(layers[0].admit(&process).err().expect("one too many").layer().as_str(), "descriptors");
        // one that was refused there has given back its place at the listener
        assert_eq!(layers[0].count.live() + layers[1].count.live(), most);

        // those who are in get through, as far as there are any left
        let upstream: Vec<Permit> = std::iter::from_fn(|| process.admit_upstream()).collect();
        assert_eq!(open.len() + upstream.len(), process.max);
        drop(open);
        assert!(layers[0].admit(&process).is_ok());

        assert!(ProcessLimit::new(10, NonZeroUsize::MIN, 1).clients() > 1);
        assert!(ProcessLimit::new(usize::MAX, NonZeroUsize::MIN, 1).clients() > usize::MAX / 2);
    }

    #[test]
    fn a_spec_that_admits_too_many_is_told() {
        let of = |max: usize| {
            spec(&format!(
                "listeners: {{ a: {{ bind: 127.0.0.1:0, connection: [ max_connections: {max} ] }}, \
                 b: {{ bind: 127.0.0.1:0, connection: [ max_connections: 100 ] }}, c: {{ bind: 127.0.0.1:0 }} }}"
            ))
        };
        let process = ProcessLimit::new(1024, NonZeroUsize::MIN, 3);
        assert_eq!(process.shortage(&of(300)), None);
        let told = process.shortage(&of(10_000)).expect("too many");
        assert!(told.contains("admit 10100 connections") && told.contains("with 1024 file descriptors"), "{told}");
    }
}
