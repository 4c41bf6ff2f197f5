//! Pipelines of any layers in any order, calls that end in any way: each ticket ends once.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use mesh_core::{
    At, End, Gate, GateLayer, Head, Hears, Kind, Outcome, Pipeline, Rejection, Stage, Ticket, Watch, drop_as,
    pipeline::{Made, PipelineBuilder, foreign},
};
use mesh_test::{Http, Line, Messages, contract::Spoken, mock::mock};
use proptest::prelude::*;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use support::poll;
use tower::{Layer, Service};

/// What all gates of a pipeline have given out and got back.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    /// How often each ticket has ended.
    ended: Mutex<Vec<u32>>,
}

/// A gate that does something odd to some requests: it is asked in turn and goes through its moves.
struct Odd {
    ledger: Arc<Ledger>,
    hears: Hears,
    holds: bool,
    moves: Vec<Move>,
    turn: AtomicU64,
    mark: u64,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Admit,
    NoTicket,
    Refuse,
    PanicAtEnd,
    PanicAtHead,
    PanicAtOnce,
}

impl Odd {
    fn at_turn(&self, turn: u64) -> Move {
        self.moves[turn as usize % self.moves.len()]
    }
}

impl Watch for Odd {
    fn hears(&self) -> Hears {
        self.hears
    }

    fn longest_hold(&self) -> Option<Duration> {
        self.holds.then_some(Duration::from_millis(3))
    }

    fn on_response(&self, ticket: &mut Ticket, head: &mut dyn Head) {
        head.set("x-odd", b"1");
        assert!(!matches!(self.at_turn(ticket.1 % 100), Move::PanicAtHead), "at the head");
    }

    fn on_end(&self, ticket: Ticket, _: &End<'_>) {
        assert_eq!(ticket.1 / 100, self.mark, "a ticket of another gate");
        self.ledger.ended.lock().unwrap()[ticket.0 as usize] += 1;
        assert!(!matches!(self.at_turn(ticket.1 % 100), Move::PanicAtEnd), "at the end");
    }
}

impl<R> Gate<R> for Odd {
    fn admit(&self, _: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        at.now();
        let turn = self.turn.fetch_add(1, Relaxed) % 100;
        match self.at_turn(turn) {
            Move::NoTicket => return Ok(None),
            Move::Refuse => return Err(Rejection::new(Kind::Saturated)),
            Move::PanicAtOnce => panic!("at once"),
            Move::Admit | Move::PanicAtEnd | Move::PanicAtHead => {}
        }
        let number = self.ledger.next.fetch_add(1, Relaxed);
        self.ledger.ended.lock().unwrap().push(0);
        Ok(Some(Ticket(number, self.mark * 100 + turn)))
    }
}

#[derive(Clone, Debug)]
enum Layers {
    Gate {
        hears: u8,
        holds: bool,
        moves: Vec<Move>,
    },
    /// As a tower layer of its own, a box of its own.
    GateLayer {
        moves: Vec<Move>,
    },
    Identity,
    Limit,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Read,
    Drop,
    DropAs,
    Failed,
    Broken,
    Error,
    Refused,
    Panic,
    PanicInCall,
    GiveUp,
    GiveUpWhileUnwinding,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => Just(Move::Admit),
        2 => Just(Move::NoTicket),
        1 => Just(Move::Refuse),
        1 => Just(Move::PanicAtEnd),
        1 => Just(Move::PanicAtHead),
        1 => Just(Move::PanicAtOnce),
    ];
    prop::collection::vec(one, 1..5)
}

fn layers() -> impl Strategy<Value = Vec<Layers>> {
    let one = prop_oneof![
        5 => (0..3_u8, any::<bool>(), moves()).prop_map(|(hears, holds, moves)| Layers::Gate { hears, holds, moves }),
        2 => moves().prop_map(|moves| Layers::GateLayer { moves }),
        1 => Just(Layers::Identity),
        1 => Just(Layers::Limit),
    ];
    prop::collection::vec(one, 0..8)
}

fn ending() -> impl Strategy<Value = (Ending, u8)> {
    let one = prop_oneof![
        3 => Just(Ending::Read),
        1 => Just(Ending::Drop),
        1 => Just(Ending::DropAs),
        1 => Just(Ending::Failed),
        1 => Just(Ending::Broken),
        1 => Just(Ending::Error),
        1 => Just(Ending::Refused),
        1 => Just(Ending::Panic),
        1 => Just(Ending::PanicInCall),
        1 => Just(Ending::GiveUp),
        1 => Just(Ending::GiveUpWhileUnwinding),
    ];
    (one, 0..4_u8)
}

/// A gate as a service layer.
#[derive(Clone)]
struct AsLayer(Arc<Odd>);

impl<S> Layer<S> for AsLayer {
    type Service = mesh_core::Gated<S, Odd>;

    fn layer(&self, inner: S) -> Self::Service {
        GateLayer::shared(self.0.clone()).layer(inner)
    }
}

fn build<M: Spoken>(ledger: &Arc<Ledger>, layers: &[Layers]) -> Pipeline<M> {
    let odd = |hears: u8, holds, moves: &Vec<Move>, mark: usize| {
        let hears = [Hears::End, Hears::HeadAndEnd, Hears::Response][usize::from(hears)];
        let (ledger, moves) = (ledger.clone(), moves.clone());
        Odd { ledger, hears, holds, moves, turn: AtomicU64::new(0), mark: mark as u64 }
    };
    let mut pipeline: PipelineBuilder<M> = Pipeline::builder();
    for (mark, layer) in layers.iter().enumerate() {
        pipeline = match layer {
            Layers::Gate { hears, holds, moves } => pipeline.gate("gate", odd(*hears, *holds, moves, mark)),
            Layers::GateLayer { moves } => pipeline.layer("layer", AsLayer(Arc::new(odd(1, false, moves, mark)))),
            Layers::Identity => pipeline.layer("identity", tower::layer::util::Identity::new()),
            Layers::Limit => pipeline.made("limit", Made::Layer(foreign(tower::limit::ConcurrencyLimitLayer::new(2)))),
        };
    }
    pipeline.build()
}

fn end<M: Spoken>(stage: &mut Stage<M>, handle: &HandleOf<M>, ending: Ending, polls: u8, held: &mut Vec<Held<M>>) {
    if matches!(ending, Ending::PanicInCall) {
        handle.panic_on_call();
    }
    let Ok(future) = catch_unwind(AssertUnwindSafe(|| stage.call(<M as Messages>::request()))) else { return };
    let mut future = Box::pin(future);
    for _ in 0..polls {
        match catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()))) {
            Ok(Poll::Pending) => {}
            _ => return,
        }
    }
    match ending {
        Ending::GiveUp => return held.push(Held::Call(future)),
        Ending::GiveUpWhileUnwinding => {
            let _ = catch_unwind(AssertUnwindSafe(move || {
                let _future = future;
                panic!("while a call is under way");
            }));
            return;
        }
        _ => {}
    }
    let answer = |call: CallOf<M>| match ending {
        Ending::Failed => match M::failed() {
            Some(response) => call.answer(response),
            None => call.fail(M::error()),
        },
        Ending::Broken => match M::broken() {
            Some(response) => call.answer(response),
            None => call.fail(M::error()),
        },
        Ending::Error => call.fail(M::error()),
        Ending::Refused => call.fail(Rejection::new(Kind::Timeout).into()),
        Ending::Panic => call.panic(),
        _ => call.answer(M::answer()),
    };
    for _ in 0..3 {
        match catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()))) {
            Ok(Poll::Ready(Ok(mut response))) => {
                match ending {
                    Ending::Drop => drop(response),
                    Ending::DropAs => drop_as(Outcome::TimedOut, || drop(response)),
                    _ => {
                        let mut cx = Context::from_waker(Waker::noop());
                        while M::poll_end(&mut response, &mut cx).is_pending() {}
                        held.push(Held::Answer(response));
                    }
                }
                return;
            }
            Ok(Poll::Ready(Err(_))) | Err(_) => return,
            Ok(Poll::Pending) => {}
        }
        while let Some(call) = handle.try_next() {
            answer(call);
        }
    }
    // it waits for a foreign permit: given up later
    held.push(Held::Call(future));
}

type HandleOf<M> = mesh_test::mock::Handle<<M as Messages>::Request, <M as Messages>::Response, <M as Messages>::Error>;
type CallOf<M> = mesh_test::mock::Call<<M as Messages>::Request, <M as Messages>::Response, <M as Messages>::Error>;

enum Held<M: Spoken> {
    Call(std::pin::Pin<Box<mesh_core::pipeline::StageFuture<M>>>),
    Answer(<M as Messages>::Response),
}

fn each_ticket_ends_once<M: Spoken>(layers: &[Layers], endings: &[(Ending, u8)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let ledger = Arc::<Ledger>::default();
    let (service, handle) = mock();
    let mut stage = build::<M>(&ledger, layers).apply(Stage::new(service));
    let mut held = Vec::new();
    for (number, (ending, polls)) in endings.iter().enumerate() {
        end(&mut stage, &handle, *ending, *polls, &mut held);
        if number % 3 == 2 {
            // in any order, on another thread
            let held = std::mem::take(&mut held);
            std::thread::scope(|scope| {
                scope.spawn(move || held.into_iter().rev().for_each(drop_held));
            });
        }
    }
    held.into_iter().for_each(drop_held);
    drop(stage);
    let ended = ledger.ended.lock().unwrap();
    assert_eq!(ended.len() as u64, ledger.next.load(Relaxed));
    assert!(ended.iter().all(|times| *times == 1), "{ended:?}");
}

fn drop_held<M: Spoken>(held: Held<M>) {
    match held {
        Held::Call(future) => drop(future),
        Held::Answer(response) => drop(response),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn over_lines(layers in layers(), endings in prop::collection::vec(ending(), 1..20)) {
        each_ticket_ends_once::<Line>(&layers, &endings);
    }

    #[test]
    fn over_http(layers in layers(), endings in prop::collection::vec(ending(), 1..20)) {
        each_ticket_ends_once::<Http>(&layers, &endings);
    }
}
