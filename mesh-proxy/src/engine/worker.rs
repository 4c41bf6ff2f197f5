//! The workers: each is one thread with one single-threaded runtime, its own listening sockets and connection pools.

use super::newest::{self, Current, ListenerService, Slot};
use mesh_codec_http::{server::Ended, upstream};
use mesh_core::{Name, Peer, pipeline, time};
use mesh_net::{Accepted, Acceptor, Guard, Listeners};
use std::{
    io,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// How often a worker looks for idle connections that have expired and stages that are gone.
const SWEEP: Duration = Duration::from_secs(1);

/// A listening socket of one worker.
pub(super) struct WorkerListener {
    pub(super) name: Name,
    pub(super) socket: std::net::TcpListener,
    pub(super) current: Arc<Current>,
    /// Of the drain that ends the accepting; it waits for the worker to have begun.
    pub(super) guard: Guard,
}

enum Command {
    /// Accepts connections.
    Listen(WorkerListener),
    /// Lets go of what a reload has replaced, and says when that is done.
    Tidy(oneshot::Sender<()>),
}

/// All workers.
pub(super) struct Workers {
    count: NonZeroUsize,
    /// Empty when they have been told to end.
    running: Mutex<Vec<Worker>>,
}

struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    thread: thread::JoinHandle<()>,
}

impl Workers {
    /// Starts so many.
    pub(super) fn start(count: NonZeroUsize) -> io::Result<Self> {
        let running = (0..count.get()).map(spawn).collect::<io::Result<_>>()?;
        Ok(Self { count, running: Mutex::new(running) })
    }

    pub(super) fn count(&self) -> NonZeroUsize {
        self.count
    }

    /// Gives each of them a socket.
    pub(super) fn listen(&self, sockets: Listeners, listener: impl Fn(std::net::TcpListener) -> WorkerListener) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for (worker, socket) in running.iter().zip(sockets) {
            let _ = worker.commands.send(Command::Listen(listener(socket)));
        }
    }

    /// Has them let go of what a reload has replaced; ready when all have.
    pub(super) async fn tidy(&self) {
        let done: Vec<_> = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            let ask = |worker: &Worker| {
                let (done, told) = oneshot::channel();
                let _ = worker.commands.send(Command::Tidy(done));
                told
            };
            running.iter().map(ask).collect()
        };
        for done in done {
            // a worker that has ended holds nothing
            let _ = done.await;
        }
    }

    /// Ends them; what they still serve is dropped, tickets and all.
    pub(super) async fn end(&self) {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let threads: Vec<_> = running.into_iter().map(|worker| worker.thread).collect();
        let ended = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = ended.await;
    }
}

fn spawn(index: usize) -> io::Result<Worker> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (commands, to_do) = mpsc::unbounded_channel();
    let thread = thread::Builder::new().name(format!("mesh-worker-{index}")).spawn(move || {
        runtime.block_on(work(to_do));
        drop(runtime);
    })?;
    Ok(Worker { commands, thread })
}

/// Until nobody can give a command any more.
async fn work(mut commands: mpsc::UnboundedReceiver<Command>) {
    tokio::spawn(sweep());
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(listener) => {
                tokio::spawn(async move {
                    let name = listener.name;
                    if let Err(error) = accept(listener).await {
                        tracing::error!(listener = name.as_str(), %error, "the listener has stopped");
                    }
                });
            }
            Command::Tidy(done) => {
                tidy();
                let _ = done.send(());
            }
        }
    }
}

async fn sweep() {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        upstream::sweep(time::now());
        tidy();
    }
}

fn tidy() {
    newest::refresh();
    pipeline::sweep();
}

async fn accept(listener: WorkerListener) -> io::Result<()> {
    let WorkerListener { socket, current, guard, .. } = listener;
    let mut acceptor = Acceptor::new(socket, &guard)?;
    // the acceptor has one of its own
    drop(guard);
    let slot = Slot::new(current.clone());
    while let Some(Accepted { stream, info, guard }) = acceptor.accept().await? {
        let serving = current.serving();
        // the connection ends when those that are served like it do
        let until_the_end = serving.drain.watch().guard();
        drop(guard);
        let peer = Arc::new(Peer { address: Some(info.peer), ..Peer::UNKNOWN });
        let service = ListenerService::new(slot.clone());
        let serving = serving.server.serve(stream, peer, service, (*until_the_end).clone());
        tokio::spawn(async move {
            let _until_the_end = until_the_end;
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
