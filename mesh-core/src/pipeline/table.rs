use crate::{Kind, Protocol, Rejection, Stage, pipeline::StageFuture};
use std::{
    any::Any,
    cell::RefCell,
    fmt,
    marker::PhantomData,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
    task::{Context as Cx, Poll},
};
use tower_service::Service;

/// How a worker makes a stage for itself.
type Blueprint<P> = Arc<dyn Fn() -> Stage<P> + Send + Sync>;

/// The stages of the process: what each worker applies for itself at first use. Locked at configuration time and at
/// the first use of a stage on a worker, never per request.
struct Catalog {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

struct Entry {
    generation: u32,
    blueprint: Option<Arc<dyn Any + Send + Sync>>,
}

static CATALOG: Mutex<Catalog> = Mutex::new(Catalog { entries: Vec::new(), free: Vec::new() });
/// Grows when a stage leaves: a worker that sees it grow looks what it may drop.
static RETIRED: AtomicU64 = AtomicU64::new(0);

fn catalog() -> MutexGuard<'static, Catalog> {
    CATALOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Owns a stage that every worker applies for itself. When the handle is dropped the stage is gone: references to it
/// panic no one, they are answered by [`StageRef::try_call`] with the request.
pub struct StageHandle<P: Protocol> {
    stage: StageRef<P>,
}

impl<P: Protocol> StageHandle<P> {
    /// A stage that `apply` makes on each worker that calls it.
    pub fn new(apply: impl Fn() -> Stage<P> + Send + Sync + 'static) -> Self {
        let blueprint: Blueprint<P> = Arc::new(apply);
        let blueprint: Arc<dyn Any + Send + Sync> = Arc::new(blueprint);
        let mut catalog = catalog();
        let index = match catalog.free.pop() {
            Some(index) => index,
            None => {
                catalog.entries.push(Entry { generation: 0, blueprint: None });
                (catalog.entries.len() - 1) as u32
            }
        };
        let entry = &mut catalog.entries[index as usize];
        entry.blueprint = Some(blueprint);
        Self { stage: StageRef { index, generation: entry.generation, protocol: PhantomData } }
    }

    /// A reference to it.
    pub fn stage(&self) -> StageRef<P> {
        self.stage
    }
}

impl<P: Protocol> Drop for StageHandle<P> {
    fn drop(&mut self) {
        let mut catalog = catalog();
        let entry = &mut catalog.entries[self.stage.index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        let blueprint = entry.blueprint.take();
        catalog.free.push(self.stage.index);
        drop(catalog);
        // may hold handles of stages below
        drop(blueprint);
        RETIRED.fetch_add(1, Release);
    }
}

impl<P: Protocol> fmt::Debug for StageHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.stage, f)
    }
}

/// A reference to a stage, as two integers: what a router or a balancer holds. It is resolved per request on the
/// worker that calls, which applies the stage at first use. As a service it is always ready.
pub struct StageRef<P: Protocol> {
    index: u32,
    generation: u32,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> Clone for StageRef<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Protocol> Copy for StageRef<P> {}

impl<P: Protocol> PartialEq for StageRef<P> {
    fn eq(&self, other: &Self) -> bool {
        (self.index, self.generation) == (other.index, other.generation)
    }
}

impl<P: Protocol> Eq for StageRef<P> {}

impl<P: Protocol> fmt::Debug for StageRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StageRef({}, {})", self.index, self.generation)
    }
}

/// A worker's place for a stage. Empty while it is being called, so that no borrow is held across a call.
struct Slot {
    generation: u32,
    stage: Option<Box<dyn Any>>,
}

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    /// How many stages had left when this worker swept last.
    swept: Option<u64>,
}

thread_local!(static TABLE: RefCell<Table> = RefCell::default());

impl<P: Protocol> StageRef<P> {
    /// Calls the stage. Whether its handle has been dropped a worker learns when it [sweeps](sweep).
    ///
    /// # Errors
    /// The request, if the stage's handle has been dropped: whoever holds references must hold its handle too.
    pub fn try_call(self, request: P::Request) -> Result<StageFuture<P>, P::Request> {
        let retired = RETIRED.load(Acquire);
        match self.take() {
            Some(stage) => Ok(self.call_taken(stage, retired, request)),
            None => Err(request),
        }
    }

    #[inline(always)]
    fn call_taken(self, mut stage: Box<Stage<P>>, retired: u64, mut request: P::Request) -> StageFuture<P> {
        let future = match stage.admit(&mut request) {
            Ok(guards) => stage.go_on(guards, request),
            Err(stopped) => stage.refused_or_paused(stopped, request),
        };
        self.put_back(stage, retired);
        future
    }

    /// This worker's instance out of the table, or a new one.
    fn take(self) -> Option<Box<Stage<P>>> {
        let kept = TABLE.with_borrow_mut(|table| {
            let slot = table.slots.get_mut(self.index as usize)?;
            if slot.generation == self.generation { slot.stage.take() } else { None }
        });
        match kept.map(|stage| stage.downcast::<Stage<P>>()) {
            Some(Ok(stage)) => Some(stage),
            _ => self.apply(),
        }
    }

    fn is_gone(self) -> bool {
        catalog().entries.get(self.index as usize).is_none_or(|entry| entry.generation != self.generation)
    }

    /// At first use on this worker, or while the worker's instance is being called further out.
    fn apply(self) -> Option<Box<Stage<P>>> {
        let blueprint = {
            let catalog = catalog();
            let entry = catalog.entries.get(self.index as usize)?;
            let current = entry.generation == self.generation;
            entry.blueprint.clone().filter(|_| current)?
        };
        let blueprint = blueprint.downcast_ref::<Blueprint<P>>()?;
        Some(Box::new(blueprint()))
    }

    /// `retired` is as it was when the stage was taken.
    fn put_back(self, stage: Box<Stage<P>>, retired: u64) {
        let replaced = TABLE.with_borrow_mut(|table| {
            let index = self.index as usize;
            if table.slots.len() <= index {
                table.slots.resize_with(index + 1, || Slot { generation: 0, stage: None });
            }
            if RETIRED.load(Acquire) != retired {
                // this one may have left meanwhile, and a sweep during the call has not seen it
                table.swept = None;
            }
            let slot = &mut table.slots[index];
            // its successor in the same place, applied during the call, stays
            if slot.stage.is_some() && slot.generation != self.generation && self.is_gone() {
                return Some(stage as Box<dyn Any>);
            }
            slot.generation = self.generation;
            slot.stage.replace(stage)
        });
        // a stage's drop may be anything: not under the borrow
        drop(replaced);
    }
}

impl<P: Protocol> Service<P::Request> for StageRef<P> {
    type Response = P::Response;
    type Error = P::Error;
    type Future = StageFuture<P>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), P::Error>> {
        Poll::Ready(Ok(()))
    }

    /// A stage that is gone answers as if there were no endpoint.
    fn call(&mut self, request: P::Request) -> StageFuture<P> {
        let retired = RETIRED.load(Acquire);
        match self.take() {
            Some(stage) => self.call_taken(stage, retired, request),
            None => StageFuture::refused(Rejection::new(Kind::NoEndpoint)),
        }
    }
}

/// Drops this worker's instances of stages that are gone. A worker calls it now and then; it costs one load while
/// nothing has left.
pub fn sweep() {
    let retired = RETIRED.load(Acquire);
    let gone: Vec<Box<dyn Any>> = TABLE.with_borrow_mut(|table| {
        if table.swept == Some(retired) {
            return Vec::new();
        }
        table.swept = Some(retired);
        let catalog = catalog();
        let stale = table
            .slots
            .iter_mut()
            .zip(&catalog.entries)
            .filter(|(slot, entry)| slot.generation != entry.generation || entry.blueprint.is_none());
        stale.filter_map(|(slot, _)| slot.stage.take()).collect()
    });
    drop(gone);
}
