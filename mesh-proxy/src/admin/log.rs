use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

type Set = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// What is logged, and how to change it while the program runs: for `/log` of the admin listener.
///
/// The program brings it along, since it is the program that subscribes to `tracing`.
pub struct LogFilter {
    current: Mutex<String>,
    set: Box<Set>,
}

impl LogFilter {
    /// A filter that is `current` now, in the syntax that `set` takes; `set` puts another in its place, or says what is
    /// wrong with it and leaves the present one.
    pub fn new(current: impl Into<String>, set: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { current: Mutex::new(current.into()), set: Box::new(set) }
    }

    /// What is logged at present.
    pub fn current(&self) -> String {
        self.lock().clone()
    }

    pub(super) fn change(&self, filter: &str) -> Result<(), String> {
        let mut current = self.lock();
        (self.set)(filter)?;
        filter.clone_into(&mut current);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFilter").field(&self.current()).finish()
    }
}
