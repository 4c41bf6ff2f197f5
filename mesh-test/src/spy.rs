use mesh_core::{At, Code, End, Gate, Head, Hears, Kind, Outcome, Rejection, Side, Ticket, Watch};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// A gate that admits everything and remembers how each request ended. Around and below a layer it shows what the layer
/// makes of a call.
///
/// ```
/// use mesh_core::{BoxError, GateLayer, Outcome};
/// use mesh_test::Spy;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let spy = GateLayer::new(Spy::default()).results_only();
/// let mut service = ServiceBuilder::new()
///     .layer(spy.clone())
///     .service(service_fn(async |n: u32| if n > 0 { Ok(n) } else { Err(BoxError::from("zero")) }));
/// let _ = service.ready().await.unwrap().call(0).await;
/// assert_eq!(spy.gate().outcomes(), [Outcome::Failure]);
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Spy {
    log: Mutex<Log>,
    hears_heads: bool,
    idle: AtomicBool,
    panics: AtomicBool,
}

#[derive(Debug, Default)]
struct Log {
    /// How often each ticket has ended.
    tickets: Vec<u32>,
    heads: usize,
    ends: Vec<Ended>,
}

/// The end of one ticket, as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How the call ended.
    pub outcome: Outcome,
    /// Who decided it.
    pub side: Side,
    /// The status code.
    pub code: Code,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// Why it was refused, if it was.
    pub refused: Option<Kind>,
}

impl Spy {
    /// A spy that hears heads too.
    pub fn hearing_heads() -> Self {
        Self { hears_heads: true, ..Self::default() }
    }

    /// While it is idle it opens no tickets.
    pub fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Relaxed);
    }

    /// From now on it panics when it is told an end, after it has noted it.
    pub fn panic_on_end(&self) {
        self.panics.store(true, Relaxed);
    }

    /// How many tickets it has given out.
    pub fn opened(&self) -> usize {
        self.log().tickets.len()
    }

    /// How many of them have not ended.
    pub fn open(&self) -> usize {
        self.log().tickets.iter().filter(|ended| **ended == 0).count()
    }

    /// How many heads it has heard.
    pub fn heads(&self) -> usize {
        self.log().heads
    }

    /// All ends, in order.
    pub fn ends(&self) -> Vec<Ended> {
        self.log().ends.clone()
    }

    /// The outcomes of all ends, in order.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.log().ends.iter().map(|end| end.outcome).collect()
    }

    /// Checks that each ticket has ended once.
    ///
    /// # Panics
    /// If one is still open or has ended more than once.
    pub fn assert_each_ended_once(&self, what: &str) {
        let log = self.log();
        let open = log.tickets.iter().filter(|ended| **ended == 0).count();
        let repeated = log.tickets.iter().filter(|ended| **ended > 1).count();
        assert!(
            (open, repeated) == (0, 0),
            "{what}: of {} tickets {open} have not ended and {repeated} ended more than once",
            log.tickets.len()
        );
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Spy {
    fn hears(&self) -> Hears {
        if self.hears_heads { Hears::HeadAndEnd } else { Hears::End }
    }

    fn on_response(&self, _: &mut Ticket, _: &mut dyn Head) {
        self.log().heads += 1;
    }

    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        let mut log = self.log();
        // a ticket that is not its own shows as one that ended more than once
        let index = (ticket.0 as usize).min(log.tickets.len().saturating_sub(1));
        log.tickets[index] += if ticket.1 == !ticket.0 { 1 } else { 2 };
        log.ends.push(Ended {
            outcome: end.outcome,
            side: end.side,
            code: end.code,
            response_bytes: end.response_bytes,
            refused: end.rejection().map(Rejection::kind),
        });
        drop(log);
        assert!(!self.panics.load(Relaxed), "the spy panics at an end, as it was told");
    }
}

impl<R> Gate<R> for Spy {
    fn admit(&self, _: &mut R, _: &At) -> Result<Option<Ticket>, Rejection> {
        if self.idle.load(Relaxed) {
            return Ok(None);
        }
        let mut log = self.log();
        let number = log.tickets.len() as u64;
        log.tickets.push(0);
        Ok(Some(Ticket(number, !number)))
    }
}
