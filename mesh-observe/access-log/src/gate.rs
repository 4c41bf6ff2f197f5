//! The gate: keeps what the line needs of a request, and writes it at the end.

use crate::{AccessLogSettings, Format, Sink, When, draft::Draft, line::Ended};
use mesh_core::{At, End, Gate, Head, Hears, Rejection, RequestView, Slots, Ticket, Watch, time};
use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Writes a line for each request that has ended. One value is shared by all that it stands before.
///
/// It is also its own control handle: [`set_enabled`](Self::set_enabled) switches it off and on while it runs.
pub struct AccessLog {
    enabled: AtomicBool,
    format: Format,
    when: When,
    /// Of requests that are not HTTP.
    protocol: &'static str,
    drafts: Slots<Draft>,
    sink: Sink,
}

impl AccessLog {
    /// A log with these settings: it opens their file, or standard output.
    pub fn new(settings: AccessLogSettings) -> Self {
        Self::over(settings, "rpc")
    }

    pub(crate) fn over(settings: AccessLogSettings, protocol: &'static str) -> Self {
        let sink = match settings.path {
            Some(path) => Sink::file(path),
            None => Sink::stdout(),
        };
        Self::to(settings.format, settings.when, sink, protocol)
    }

    pub(crate) fn to(format: Format, when: When, sink: Sink, protocol: &'static str) -> Self {
        Self { enabled: AtomicBool::new(true), format, when, protocol, drafts: Slots::new(), sink }
    }

    /// Where the lines go.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Whether requests that come now get a line.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// Logs, or lets pass at the cost of one branch. Requests under way get their line.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Relaxed);
    }

    /// How many requests are under way that may get a line.
    pub fn open(&self) -> usize {
        self.drafts.len()
    }
}

impl<R: RequestView> Gate<R> for AccessLog {
    #[inline]
    fn admit(&self, request: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        if !self.is_enabled() {
            return Ok(None);
        }
        let sampled = self.when.draws();
        if !sampled && self.when.sample.is_some() && self.when.only_samples() {
            return Ok(None);
        }
        let mut draft = Draft::of(request, &self.format.compiled, self.protocol);
        draft.sampled = sampled;
        if request.context().arrived().is_none() {
            draft.began = at.now();
        }
        Ok(Some(Ticket(self.drafts.put(draft), 0)))
    }

    fn observes(&self) -> bool {
        true
    }
}

impl Watch for AccessLog {
    fn hears(&self) -> Hears {
        if self.format.compiled.needs_head { Hears::HeadAndEnd } else { Hears::End }
    }

    fn on_response(&self, ticket: &mut Ticket, head: &mut dyn Head) {
        let format = &self.format.compiled;
        let now = format.needs_head_time.then(time::now);
        self.drafts.with(ticket.0, |draft| {
            draft.see(head, format);
            draft.head_at = now;
        });
    }

    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        let Some(draft) = self.drafts.take(ticket.0) else { return };
        let ended = Ended::new(&draft, end);
        if self.when.takes(&ended) {
            self.sink.append(|lines| ended.write(&self.format.compiled, lines));
        }
        draft.recycle();
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("enabled", &self.is_enabled())
            .field("format", &self.format)
            .field("when", &self.when)
            .field("sink", &self.sink)
            .field("open", &self.open())
            .finish_non_exhaustive()
    }
}
