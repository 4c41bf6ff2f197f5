use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use std::time::Duration;
use std::{
    collections::BTreeSet,
    env, fmt, fs,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// After a change the file is left alone until nothing has changed for this long: whoever writes it in place may not be
/// done.
const SETTLED: Duration = Duration::from_millis(50);
/// But no longer than so many times that, for a file that is written all the time.
const PATIENCE: u32 = 20;
/// More symbolic links on the way are a circle, as for Linux.
const LINKS: usize = 40;

/// Tells when a file may have changed: it was written, replaced by a rename, or a symbolic link on the way to it was
/// swapped, as Kubernetes does with config maps. Clones share it.
///
/// Watched are the directories of everything on the way to the file whose change can make another file of it: of the
/// file itself, and of each symbolic link. Not the file itself: a rename puts another one in its place.
///
/// ```no_run
/// use mesh_discovery::FileWatch;
/// use std::{path::Path, time::Duration};
///
/// # async fn run() {
/// let watch = FileWatch::new(Path::new("mesh.yaml"));
/// loop {
///     // first watched, then read: what changes in between is seen
///     watch.renew();
///     println!("{:?}", std::fs::read_to_string("mesh.yaml"));
///     watch.changed(Duration::from_secs(30)).await;
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct FileWatch {
    path: PathBuf,
    entries: Arc<Mutex<BTreeSet<PathBuf>>>,
    watcher: Arc<Mutex<Option<RecommendedWatcher>>>,
    changed: Arc<Notify>,
}

impl FileWatch {
    /// A watch of `path`, relative to the working directory, that watches nothing until it is
    /// [renewed](Self::renew). Where the system has no watches left, that is logged, and only time passes.
    pub fn new(path: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let entries = Arc::<Mutex<BTreeSet<PathBuf>>>::default();
        let (told, relevant) = (changed.clone(), entries.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| concerns(&event, &locked(&relevant))) {
                told.notify_one();
            }
        });
        let watcher = watcher.map_err(|error| {
            tracing::warn!(file = %path.display(), %error, "the file cannot be watched; it is looked at from time to time");
        });
        let path = match env::current_dir() {
            Ok(here) => here.join(path),
            Err(_) => path.to_owned(),
        };
        Self { path, entries, watcher: Arc::new(Mutex::new(watcher.ok())), changed }
    }

    /// Waits until the file may have changed and has been left alone for 50 ms, or until `poll` has passed, for file
    /// systems that tell nothing (those of a network). One waits at a time; a change before the call counts.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    pub async fn changed(&self, poll: Duration) {
        if timeout(poll, self.changed.notified()).await.is_err() {
            return;
        }
        for _ in 0..PATIENCE {
            sleep(SETTLED).await;
            if timeout(Duration::ZERO, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Watches what is on the way now: to be called before the file is read, each time. Waits for the file system.
    pub fn renew(&self) {
        let mut watcher = locked(&self.watcher);
        let Some(watcher) = &mut *watcher else { return };
        let mut before = locked(&self.entries).clone();
        // the way may change while it is walked: then once more
        for _ in 0..3 {
            let now = way(&self.path);
            locked(&self.entries).clone_from(&now);
            let (old, new) = (directories(&before), directories(&now));
            for gone in old.difference(&new) {
                // a directory that is removed takes its watch along
                let _ = watcher.unwatch(gone);
            }
            // those that were watched, too: one may be another directory of the same name
            for directory in &new {
                if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                    tracing::debug!(directory = %directory.display(), %error, "cannot be watched");
                }
            }
            if way(&self.path) == now {
                return;
            }
            before = now;
        }
    }
}

impl fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWatch").field("path", &self.path).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn directories(entries: &BTreeSet<PathBuf>) -> BTreeSet<&Path> {
    entries.iter().filter_map(|entry| entry.parent()).collect()
}

/// Whether an event may have changed what is found at the end of the way.
fn concerns(event: &Event, entries: &BTreeSet<PathBuf>) -> bool {
    let written = match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    let here = |path: &PathBuf| entries.contains(path) || entries.iter().any(|entry| entry.parent() == Some(path));
    written && (event.paths.is_empty() || event.need_rescan() || event.paths.iter().any(here))
}

/// The entries of directories that decide what an absolute path leads to: each symbolic link, and what is at the end,
/// or the first that is missing.
fn way(path: &Path) -> BTreeSet<PathBuf> {
    let mut entries = BTreeSet::new();
    let mut ahead: Vec<PathBuf> = steps(path);
    let mut here = PathBuf::new();
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == Path::new("..") {
            here.pop();
            continue;
        }
        let entry = here.join(&step);
        let found = fs::symlink_metadata(&entry);
        match found.and_then(|found| if found.is_symlink() { fs::read_link(&entry).map(Some) } else { Ok(None) }) {
            Ok(Some(target)) if links < LINKS => {
                links += 1;
                // an absolute one starts over: joining it replaces what is there
                ahead.extend(steps(&target));
                entries.insert(entry);
            }
            Ok(None) if !ahead.is_empty() => here = entry,
            _ => {
                entries.insert(entry);
                return entries;
            }
        }
    }
    entries
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<PathBuf> {
    let steps = path.components().filter(|step| *step != Component::CurDir);
    steps.rev().map(|step| PathBuf::from(step.as_os_str())).collect()
}
