//! Where lines go: a buffer per thread, and one thread that writes.

mod output;
mod writer;

use mesh_core::thread_number;
use metrics::Counter;
use output::Output;
use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    thread::Thread,
    time::{Duration, Instant},
};

/// `mesh_access_log_lines_total{sink}`, a counter: lines that were written.
pub const LINES_TOTAL: &str = "mesh_access_log_lines_total";
/// `mesh_access_log_dropped_total{sink}`, a counter: lines that were lost, since the writer fell behind or could not
/// write.
pub const DROPPED_TOTAL: &str = "mesh_access_log_dropped_total";

/// How many bytes of lines a thread may be ahead of the writer; what is more is dropped and counted. Beyond it there is
/// at the most one line.
pub const BUFFER_LIMIT: usize = 1 << 20;

/// A place that lines are appended to: standard output, a file, or any writer. Clones share it, and so do all that name
/// the same file.
///
/// Appending never waits: lines go into a buffer of the thread, and a thread of the sink's own writes them, at the
/// latest a tenth of a second later. A writer that falls behind by [`BUFFER_LIMIT`] loses lines, which are counted. When
/// the last clone is dropped the thread writes what there is and ends; before a program ends it should call [`flush`].
#[derive(Clone)]
pub struct Sink(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    target: Target,
}

/// What a sink writes to, to find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Stdout,
    File(PathBuf),
    Other,
}

impl Target {
    fn label(&self) -> String {
        match self {
            Target::Stdout => "stdout".into(),
            Target::File(path) => path.display().to_string(),
            Target::Other => "other".into(),
        }
    }
}

/// What the threads of requests share with the writer.
struct Shared {
    shelves: Box<[Shelf]>,
    /// There are lines that the writer has not looked for.
    dirty: AtomicBool,
    /// Nobody appends any more.
    closed: AtomicBool,
    lines: AtomicU64,
    dropped: AtomicU64,
    lines_total: Counter,
    dropped_total: Counter,
    /// Set before anybody appends.
    writer: OnceLock<Thread>,
    /// Flushes that were asked for.
    asked: AtomicUsize,
    done: Mutex<Done>,
    progress: Condvar,
}

/// How far the writer has come.
#[derive(Default)]
struct Done {
    flushes: usize,
    ended: bool,
}

/// Lines of some threads, on cache lines of its own.
#[repr(align(128))]
struct Shelf(Mutex<Vec<u8>>);

/// What a buffer begins with, so that requests find it large enough.
const BUFFER: usize = 64 << 10;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sinks that are open, for those that name the same; and those whose writers are not done.
static OPEN: Mutex<Vec<(Weak<Handle>, Weak<Shared>)>> = Mutex::new(Vec::new());

impl Sink {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::open(Target::Stdout, || Output::writer(io::stdout()))
    }

    /// A file, which is made where there is none. One that was renamed or removed, as log rotation does, is left for a
    /// new one before the next lines are written. A file that cannot be opened is logged, tried again with the next
    /// lines, and those in between are lost and counted.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::open(Target::File(path.clone()), || Output::file(path))
    }

    /// Any writer. It is called on the sink's own thread, and may block there.
    pub fn writer(writer: impl io::Write + Send + 'static) -> Self {
        Self(Arc::new(Handle::start(Target::Other, Output::writer(writer))))
    }

    fn open(target: Target, output: impl FnOnce() -> Output) -> Self {
        // held until the new one is among them: two that come at once are one
        let mut open = lock(&OPEN);
        let known = open.iter().find_map(|(handle, _)| handle.upgrade().filter(|handle| handle.target == target));
        if let Some(handle) = known {
            return Self(handle);
        }
        let handle = Arc::new(Handle::start(target, output()));
        remember(&mut open, &handle);
        Self(handle)
    }

    /// Appends a line, which `write` gives to the end of the buffer it is shown. Never waits.
    #[inline]
    pub(crate) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.shared.append(write);
    }

    /// How many lines have been written.
    pub fn lines(&self) -> u64 {
        self.0.shared.lines.load(Relaxed)
    }

    /// How many lines were lost.
    pub fn dropped(&self) -> u64 {
        self.0.shared.dropped.load(Relaxed)
    }

    /// Waits until what has been appended is written, at the most for so long; whether it is. Blocks: not for the
    /// threads of requests.
    pub fn flush(&self, patience: Duration) -> bool {
        self.0.shared.flush(Instant::now() + patience)
    }
}

fn remember(open: &mut Vec<(Weak<Handle>, Weak<Shared>)>, handle: &Arc<Handle>) {
    open.retain(|(_, shared)| shared.strong_count() > 0);
    open.push((Arc::downgrade(handle), Arc::downgrade(&handle.shared)));
}

/// Waits until all lines of files and of standard output are written, also those of sinks that have been dropped, at
/// the most for so long; whether they are. For the end of a program. Blocks: not for the threads of requests.
pub fn flush(patience: Duration) -> bool {
    let until = Instant::now() + patience;
    let open: Vec<Arc<Shared>> = lock(&OPEN).iter().filter_map(|(_, shared)| shared.upgrade()).collect();
    // all are asked, also behind one that stalls
    open.iter().filter(|shared| shared.flush(until)).count() == open.len()
}

impl Handle {
    fn start(target: Target, output: Output) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // two at the least, so that there is another while the writer takes one
        let shelves = cores.next_power_of_two().clamp(2, 64);
        let label = target.label();
        metrics::describe_counter!(LINES_TOTAL, "Lines of access logs that were written.");
        metrics::describe_counter!(DROPPED_TOTAL, "Lines of access logs that were lost.");
        let shared = Arc::new(Shared {
            shelves: (0..shelves).map(|_| Shelf(Mutex::new(Vec::with_capacity(BUFFER)))).collect(),
            dirty: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            lines: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            lines_total: metrics::counter!(LINES_TOTAL, "sink" => label.clone()),
            dropped_total: metrics::counter!(DROPPED_TOTAL, "sink" => label.clone()),
            writer: OnceLock::new(),
            asked: AtomicUsize::new(0),
            done: Mutex::default(),
            progress: Condvar::new(),
        });
        writer::start(shared.clone(), output, label);
        Self { shared, target }
    }
}

impl Drop for Handle {
    /// The writer writes what there is, and ends; nobody waits for it here.
    fn drop(&mut self) {
        self.shared.closed.store(true, Release);
        self.shared.wake();
    }
}

impl Shared {
    #[inline]
    fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(mut shelf) = self.free_shelf() else { return self.drop_lines(1) };
        if shelf.len() >= BUFFER_LIMIT {
            return self.drop_lines(1);
        }
        let half_before = shelf.len() >= BUFFER_LIMIT / 2;
        write(&mut shelf);
        let half = shelf.len() >= BUFFER_LIMIT / 2;
        drop(shelf);
        // the first line wakes the writer; so does the one with which it must hurry
        if (!self.dirty.load(Relaxed) && !self.dirty.swap(true, AcqRel)) || half != half_before {
            self.wake();
        }
    }

    /// The buffer of this thread, or another while the writer takes that one.
    #[inline]
    fn free_shelf(&self) -> Option<MutexGuard<'_, Vec<u8>>> {
        let first = thread_number();
        let count = self.shelves.len();
        (0..count).find_map(|step| match self.shelves[(first + step) & (count - 1)].0.try_lock() {
            Ok(shelf) => Some(shelf),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
    }

    #[cold]
    fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Relaxed);
        self.dropped_total.increment(lines);
    }

    #[cold]
    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    fn flush(&self, until: Instant) -> bool {
        let wanted = self.asked.fetch_add(1, AcqRel) + 1;
        self.wake();
        let mut done = lock(&self.done);
        while !done.ended && done.flushes < wanted {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return false;
            };
            done = match self.progress.wait_timeout(done, left) {
                Ok((done, _)) => done,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }

    /// Whether the writer has something to do.
    fn is_wanted(&self, flushed: usize) -> bool {
        self.dirty.load(Acquire) || self.closed.load(Acquire) || self.asked.load(Acquire) != flushed
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("target", &self.0.target)
            .field("lines", &self.lines())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}
