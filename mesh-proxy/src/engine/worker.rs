//! A worker: one thread, one single-threaded runtime, its own listening sockets and connection pools.

use super::config::{ListenerConfig, ListenerService};
use arc_swap::ArcSwap;
use mesh_codec_http::{server::Ended, upstream};
use mesh_core::{Name, Peer, pipeline, time};
use mesh_net::{Accepted, Acceptor, Watch};
use std::{io, sync::Arc, thread, time::Duration};

/// How often a worker looks for idle connections that have expired and stages that are gone.
const SWEEP: Duration = Duration::from_secs(1);

/// A listening socket of one worker.
pub(super) struct WorkerListener {
    pub(super) name: Name,
    pub(super) socket: std::net::TcpListener,
    pub(super) config: Arc<ArcSwap<ListenerConfig>>,
}

/// Starts a worker. It ends when `drain` has been signalled and its connections are gone or out of time.
pub(super) fn spawn(index: usize, listeners: Vec<WorkerListener>, drain: Watch) -> io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("mesh-worker-{index}")).spawn(move || {
        runtime.block_on(work(listeners, drain));
        // what did not end in time is dropped here, tickets and all
        drop(runtime);
    })
}

async fn work(listeners: Vec<WorkerListener>, drain: Watch) {
    let sweeper = tokio::spawn(sweep());
    for listener in listeners {
        let drain = drain.clone();
        tokio::spawn(async move {
            let name = listener.name;
            if let Err(error) = accept(listener, &drain).await {
                tracing::error!(listener = name.as_str(), %error, "the listener has stopped");
            }
        });
    }
    drain.signaled().await;
    let left = drain.finished().await;
    if left > 0 {
        tracing::warn!(left, "connections were cut off at the end of the shutdown's timeout");
    }
    sweeper.abort();
}

async fn sweep() {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        upstream::sweep(time::now());
        pipeline::sweep();
    }
}

async fn accept(listener: WorkerListener, drain: &Watch) -> io::Result<()> {
    let mut acceptor = Acceptor::new(listener.socket, drain)?;
    let service = ListenerService::new(listener.config.clone());
    while let Some(Accepted { stream, info, guard }) = acceptor.accept().await? {
        let peer = Arc::new(Peer { address: Some(info.peer), ..Peer::UNKNOWN });
        let serving = listener.config.load().server.serve(stream, peer, service.clone(), (*guard).clone());
        tokio::spawn(async move {
            let _until_the_end = guard;
            match serving.await {
                Ok(Ended::Closed) => {}
                Ok(Ended::Reset(stream)) => {
                    if let Err(error) = stream.set_zero_linger() {
                        tracing::debug!(%error, "a connection could not be reset and is closed instead");
                    }
                }
                Err(error) => tracing::debug!(peer = %info.peer, error, "a connection has failed"),
            }
        });
    }
    Ok(())
}
