//! What tells an exporter the ids of a span while it is being opened.

use std::cell::Cell;

/// The ids of a span that is being opened: those that go on with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The trace.
    pub trace_id: u128,
    /// The span itself.
    pub span_id: u64,
    /// The span that called; `None` where the trace begins here.
    pub parent_id: Option<u64>,
    /// The W3C trace flags.
    pub flags: u8,
}

thread_local!(static OPENING: Cell<Option<Opening>> = const { Cell::new(None) });

/// The span that this thread is opening; `None` at any other time.
///
/// A `tracing` span has no trace id. Whoever exports spans asks here, from `on_new_span` to the first `on_enter` of a
/// span with the target `mesh_trace`, which follows at once: then the exported span has the ids that were propagated.
/// For OpenTelemetry that is an id generator and a layer of about 30 lines, `examples/src/bin/otlp_sidecar.rs` in the
/// repository.
pub fn opening() -> Option<Opening> {
    OPENING.try_with(Cell::get).ok().flatten()
}

/// Runs `open` while [`opening`] says this.
pub(crate) fn with<T>(opening: Opening, open: impl FnOnce() -> T) -> T {
    /// Also if a subscriber panics.
    struct Restore(Option<Opening>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = OPENING.try_with(|cell| cell.set(self.0));
        }
    }
    let _restore = Restore(OPENING.try_with(|cell| cell.replace(Some(opening))).ok().flatten());
    open()
}
