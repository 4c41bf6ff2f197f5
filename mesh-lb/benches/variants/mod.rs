//! What is measured: calls of a service that answers at once, through balancers over so many of them.

use mesh_core::{
    BoxError, Code, Context, Endpoints, Governed, Guards, Head, Nanos, Outcome, RequestView, Target, time,
};
use mesh_lb::{Balance, Load, Policy};
use mesh_test::calls::{Leaf, Run, once, plain};
use std::{
    future::{Ready, ready},
    hint::black_box,
    net::SocketAddr,
    task::{Context as Cx, Poll},
    time::Duration,
};
use tower::{
    Service,
    balance::p2c,
    discover::ServiceList,
    load::{CompleteOnResponse, PeakEwma, PendingRequests},
};

/// Its name, and a function that makes its service and gives one that makes so many calls of it.
pub(crate) type Variant = (&'static str, fn() -> Run);

const LEAST: Policy = Policy::p2c(Load::LeastRequest);

pub(crate) const VARIANTS: [Variant; 24] = [
    ("service alone", || plain(Leaf)),
    ("random, 3", || plain(balance(Policy::Random, 3, equal))),
    ("random, 10,000", || plain(balance(Policy::Random, 10_000, equal))),
    ("random by weight, 10,000", || plain(balance(Policy::Random, 10_000, unequal))),
    ("round robin, 3", || plain(balance(Policy::RoundRobin, 3, equal))),
    ("round robin, 10,000", || plain(balance(Policy::RoundRobin, 10_000, equal))),
    ("round robin by weight, 10,000", || plain(balance(Policy::RoundRobin, 10_000, unequal))),
    ("p2c least request, 3", || plain(balance(LEAST, 3, equal))),
    ("p2c least request, 10,000", || plain(balance(LEAST, 10_000, equal))),
    ("p2c least request by weight, 10,000", || plain(balance(LEAST, 10_000, unequal))),
    ("p2c peak-EWMA, 3", || plain(balance(Policy::default(), 3, equal))),
    ("p2c peak-EWMA, 10,000", || plain(balance(Policy::default(), 10_000, equal))),
    ("p2c peak-EWMA by weight, 10,000", || plain(balance(Policy::default(), 10_000, unequal))),
    ("p2c peak-EWMA, 3, cloned for each call", || cloned(balance(Policy::default(), 3, equal))),
    ("p2c peak-EWMA, 3, in turns", || in_turns(plain(balance(Policy::default(), 3, equal)))),
    ("p2c peak-EWMA, 10,000, in turns", || in_turns(plain(balance(Policy::default(), 10_000, equal)))),
    ("p2c peak-EWMA by weight, 10,000, in turns", || in_turns(plain(balance(Policy::default(), 10_000, unequal)))),
    ("reading tokio's clock twice", || {
        Box::new(|calls| (0..calls).for_each(|_| _ = black_box((time::now(), time::now()))))
    }),
    ("whole: service alone", || whole(Leaf)),
    ("whole: p2c least request, 3", || whole(balance_whole(LEAST, 3))),
    ("whole: p2c peak-EWMA, 3", || whole(balance_whole(Policy::default(), 3))),
    ("tower p2c, least request, 10,000", || plain(tower_least_request(10_000))),
    ("tower p2c, peak-EWMA, 3", || plain(tower_peak_ewma(3))),
    ("tower p2c, peak-EWMA, 10,000", || plain(tower_peak_ewma(10_000))),
];

fn equal(_: usize) -> u32 {
    1
}

fn unequal(index: usize) -> u32 {
    index as u32 % 5 + 1
}

fn endpoints(count: usize, weight: fn(usize) -> u32) -> Endpoints {
    let target = |index: usize| {
        let address = SocketAddr::from(([10, 0, (index >> 8) as u8, index as u8], 80));
        Target::new(address).with_weight(weight(index))
    };
    Endpoints::fixed((0..count).map(target))
}

fn balance(policy: Policy, count: usize, weight: fn(usize) -> u32) -> Balance<Leaf, mesh_core::ResultsOnly> {
    Balance::new(endpoints(count, weight), policy, |_| Leaf).results_only()
}

fn balance_whole(policy: Policy, count: usize) -> Balance<Leaf> {
    Balance::new(endpoints(count, equal), policy, |_| Leaf)
}

fn tower_least_request(count: usize) -> impl Service<u32, Response = u32, Error = BoxError> + 'static {
    let services = (0..count).map(|_| PendingRequests::new(Leaf, CompleteOnResponse::default()));
    p2c::Balance::new(ServiceList::new::<u32>(services))
}

fn tower_peak_ewma(count: usize) -> impl Service<u32, Response = u32, Error = BoxError> + 'static {
    let (rtt, decay) = (Duration::from_millis(30), Duration::from_secs(10));
    let services =
        (0..count).map(move |_| PeakEwma::new(Leaf, rtt, decay.as_nanos() as f64, CompleteOnResponse::default()));
    p2c::Balance::new(ServiceList::new::<u32>(services))
}

/// By the clock that a worker of the sidecar has: one reading answers the questions of a turn.
fn in_turns(mut call: Run) -> Run {
    Box::new(move |calls| {
        time::set_answers(64);
        call(calls);
        time::set_answers(1);
    })
}

fn cloned<S: Service<u32, Response = u32> + Clone + 'static>(service: S) -> Run {
    Box::new(move |calls| (0..calls).for_each(|_| _ = black_box(once(&mut service.clone(), black_box(1)))))
}

fn whole<S: Service<Asked, Response = Answer> + 'static>(mut service: S) -> Run {
    Box::new(move |calls| {
        for _ in 0..calls {
            let asked = Asked(Context::begin(Nanos::from_nanos(1), None));
            let Ok(mut answer) = once(&mut service, asked) else { panic!("it answers") };
            answer.0.end_well();
        }
    })
}

/// A request with a record.
pub(crate) struct Asked(Context);

impl RequestView for Asked {
    fn service(&self) -> &str {
        ""
    }

    fn method(&self) -> &str {
        ""
    }

    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn get_all(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}

    fn get_several<'a>(&'a self, _: &[&str], _: &mut dyn FnMut(usize, &'a [u8])) {}

    fn set(&mut self, _: &'static str, _: &[u8]) {}

    fn remove(&mut self, _: &str) {}

    fn context(&self) -> &Context {
        &self.0
    }
}

/// An answer whose end is watched.
#[derive(Default)]
pub(crate) struct Answer(Guards);

impl Head for Answer {
    fn outcome(&self) -> Option<Outcome> {
        Some(Outcome::Success)
    }

    fn code(&self) -> Code {
        Code::None
    }

    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn set(&mut self, _: &'static str, _: &[u8]) {}
}

impl Governed for Answer {
    fn head(&mut self) -> &mut dyn Head {
        self
    }

    fn guards(&mut self) -> &mut Guards {
        &mut self.0
    }
}

impl Service<Asked> for Leaf {
    type Response = Answer;
    type Error = BoxError;
    type Future = Ready<Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Asked) -> Self::Future {
        black_box(&asked.0);
        ready(Ok(Answer::default()))
    }
}
