//! The workers: each is one thread with one single-threaded runtime, its own listening sockets and connection pools.

use super::{
    connections::{Open, ProcessLimit},
    listener::Serves,
    newest::{self, Current, ListenerService, Slot},
    relay,
};
use mesh_codec_http::{server::Ended, upstream};
use mesh_core::{Name, Peer, pipeline, time};
use mesh_net::{Accepted, Acceptor, Guard, Inbox, Listener, Load, Place, Stream};
use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// How often a worker looks for idle connections that have expired and stages that are gone.
const SWEEP: Duration = Duration::from_secs(1);

/// How many questions for the time one reading of the clock answers at the most, where a worker is never out of work:
/// those of a few requests, a fraction of a millisecond.
const ANSWERS: u32 = 64;

/// A listening socket of one worker.
pub(super) struct WorkerListener {
    pub(super) name: Name,
    pub(super) socket: Listener,
    pub(super) current: Arc<Current>,
    /// Of the drain that ends the accepting; it waits for the worker to have begun.
    pub(super) guard: Guard,
}

/// A connection that another worker has accepted: begins to serve it here.
type Arrival = Box<dyn FnOnce(Load) + Send>;

enum Command {
    /// Accepts connections.
    Listen(WorkerListener),
    /// Lets go of what a reload has replaced, and says when that is done.
    Tidy(oneshot::Sender<()>),
}

/// All workers.
pub(super) struct Workers {
    count: NonZeroUsize,
    /// Who accepts for the next listener that has one socket.
    next: AtomicUsize,
    /// Empty when they have been told to end.
    running: Mutex<Vec<Worker>>,
}

struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    thread: thread::JoinHandle<()>,
}

impl Workers {
    /// Starts so many.
    pub(super) fn start(count: NonZeroUsize, process: &Arc<ProcessLimit>) -> io::Result<Self> {
        let places = Place::new(count.get()).into_iter().enumerate();
        let running = places.map(|(index, place)| spawn(index, place, process.clone())).collect::<io::Result<_>>()?;
        Ok(Self { count, next: AtomicUsize::new(0), running: Mutex::new(running) })
    }

    pub(super) fn count(&self) -> NonZeroUsize {
        self.count
    }

    /// Gives each of them a socket; where there is only one, one of them.
    pub(super) fn listen(&self, sockets: Vec<Listener>, listener: impl Fn(Listener) -> WorkerListener) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let first = if sockets.len() == 1 { self.next.fetch_add(1, Ordering::Relaxed) % self.count.get() } else { 0 };
        for (worker, socket) in running.iter().skip(first).zip(sockets) {
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

fn spawn(index: usize, place: (Place<Arrival>, Inbox<Arrival>), process: Arc<ProcessLimit>) -> io::Result<Worker> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().on_thread_unpark(time::begin_turn).build()?;
    let (commands, to_do) = mpsc::unbounded_channel();
    let thread = thread::Builder::new().name(format!("mesh-worker-{index}")).spawn(move || {
        time::set_answers(ANSWERS);
        runtime.block_on(work(to_do, place, process));
        drop(runtime);
    })?;
    Ok(Worker { commands, thread })
}

/// Until nobody can give a command any more.
async fn work(
    mut commands: mpsc::UnboundedReceiver<Command>,
    (place, mut inbox): (Place<Arrival>, Inbox<Arrival>),
    process: Arc<ProcessLimit>,
) {
    tokio::spawn(sweep());
    tokio::spawn(async move {
        while let Some((load, arrival)) = inbox.next().await {
            arrival(load);
        }
    });
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(listener) => {
                let (place, process) = (place.clone(), process.clone());
                tokio::spawn(async move {
                    let name = listener.name;
                    if let Err(error) = accept(listener, &place, &process).await {
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

async fn accept(listener: WorkerListener, place: &Place<Arrival>, process: &ProcessLimit) -> io::Result<()> {
    let WorkerListener { name, socket, current, guard } = listener;
    let mut acceptor = Acceptor::new(socket, &guard)?;
    // the acceptor has one of its own
    drop(guard);
    let slot = Slot::of(&current);
    while let Some(Accepted { stream, peer, guard, .. }) = acceptor.accept().await? {
        let open = match slot.config().connection.admit(process) {
            Ok(open) => open,
            Err(rejection) => {
                // dropped, it is closed
                tracing::debug!(listener = name.as_str(), ?peer, %rejection, "a connection is refused");
                rejection.count();
                continue;
            }
        };
        let connection = Connection { listener: name, peer, guard, open };
        let load = place.choose();
        if place.is_here(&load) {
            connection.serve(stream, load, slot.clone(), &current);
        } else {
            hand_over(place, load, stream, connection, &current);
        }
    }
    Ok(())
}

/// Gives a connection to a worker that has fewer.
fn hand_over(place: &Place<Arrival>, load: Load, stream: Stream, connection: Connection, current: &Arc<Current>) {
    let stream = match stream.detach() {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!(%error, "a connection could not be handed to another worker"),
    };
    let current = current.clone();
    let arrive = move |load| match stream.attach() {
        Ok(stream) => connection.serve(stream, load, Slot::of(&current), &current),
        Err(error) => tracing::debug!(%error, "a connection could not be taken from another worker"),
    };
    if let Err((load, arrive)) = place.hand_over(load, Box::new(arrive)) {
        // the other one is far behind: this one has it after all
        arrive(load);
    }
}

/// A connection that has been admitted.
struct Connection {
    listener: Name,
    peer: Peer,
    /// Of the drain that ends the accepting.
    guard: Guard,
    open: Open,
}

impl Connection {
    fn serve(self, stream: Stream, load: Load, slot: Arc<Slot>, current: &Current) {
        let (serving, peer) = (current.serving(), Arc::new(self.peer));
        // the connection ends when those that are served like it do
        let until_the_end = serving.drain.watch().guard();
        drop(self.guard);
        let counted = (self.open, load);
        match &serving.serves {
            Serves::Relay => {
                let relaying = relay::serve(stream, peer, self.listener, slot.config());
                tokio::spawn(async move {
                    let _counted = counted;
                    // it goes on to the last moment of a drain
                    tokio::select! {
                        () = relaying => {}
                        () = until_the_end.expired() => {}
                    }
                });
            }
            Serves::Http(server) => {
                let watch = (*until_the_end).clone();
                let serving = server.serve(stream, peer.clone(), ListenerService::new(slot), watch);
                tokio::spawn(async move {
                    let _until_the_end = (until_the_end, counted);
                    match serving.await {
                        Ok(Ended::Closed) => {}
                        Ok(Ended::Reset(stream)) => {
                            if let Err(error) = stream.set_zero_linger() {
                                tracing::debug!(%error, "a connection could not be reset and is closed instead");
                            }
                        }
                        Err(error) => tracing::debug!(?peer, error, "a connection has failed"),
                    }
                });
            }
            Serves::Dubbo(server) => {
                let watch = (*until_the_end).clone();
                let serving = server.serve(stream, peer.clone(), ListenerService::new(slot), watch);
                tokio::spawn(async move {
                    let _until_the_end = (until_the_end, counted);
                    if let Err(error) = serving.await {
                        tracing::debug!(?peer, %error, "a connection has failed");
                    }
                });
            }
        }
    }
}
