//! What stands below the pipeline of a listener that speaks Dubbo: its routes, and what they lead to.

use super::{cluster::Cluster, split::Split, way::Entrance};
use crate::{
    plan::{PlannedCalls, PlannedRoute},
    spec::{ActionSpec, DubboMatchSpec, RouteSpec, ServicePattern, StringMatcher},
};
use mesh_codec_dubbo::{Dubbo, DubboError, Request, Response};
use mesh_core::{
    Attribute, Kind, Name, Protocol, Rejection, RequestView as _,
    pipeline::{Stage, StageFuture, StageHandle, StageRef, States},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// A listener's part of the way.
#[derive(Debug)]
pub(super) struct CallsListener {
    stage: StageHandle<Dubbo>,
    /// The one in the stage.
    router: Arc<CallRouter>,
}

impl CallsListener {
    pub(super) fn make(
        routes: &[RouteSpec],
        planned: &PlannedCalls,
        clusters: &BTreeMap<String, Arc<Cluster>>,
        previous: &States<Dubbo>,
        next: &mut States<Dubbo>,
    ) -> Self {
        let routes = routes.iter().zip(&planned.routes).filter_map(|(route, planned)| {
            Some((route.dubbo.clone()?, CallRoute::make(route, planned, clusters, previous, next)?))
        });
        let router = Arc::new(CallRouter::new(routes));
        let pipeline = planned.pipeline.make(&planned.site, previous, next);
        let service = RouterService(router.clone());
        Self { stage: StageHandle::new(move || pipeline.apply(Stage::new(service.clone()))), router }
    }

    /// Where calls enter.
    pub(super) fn stage(&self) -> StageRef<Dubbo> {
        self.stage.stage()
    }

    /// What workers hold besides.
    pub(super) fn router(&self) -> Arc<CallRouter> {
        self.router.clone()
    }
}

/// A route that runs.
#[derive(Debug)]
struct CallRoute {
    name: Name,
    conditions: Conditions,
    target: Target,
}

/// Where a route leads.
#[derive(Debug)]
enum Target {
    /// Through a pipeline of its own.
    Stage(StageHandle<Dubbo>),
    /// Straight on: the route has no layers.
    Leaf(Leaf),
}

#[derive(Clone, Debug)]
enum Leaf {
    Cluster(Entrance<Dubbo>),
    Split(Arc<Split<Entrance<Dubbo>>>),
}

impl Leaf {
    fn of(action: &ActionSpec, clusters: &BTreeMap<String, Arc<Cluster>>) -> Option<Self> {
        // a plan names no cluster that is not there, nor one that does not speak Dubbo
        let entrance = |name: &str| clusters.get(name)?.dubbo();
        Some(match action {
            ActionSpec::Cluster(name) => Self::Cluster(entrance(name)?),
            ActionSpec::Split(split) => {
                let parts = split.0.iter().filter_map(|(name, weight)| Some((entrance(name)?, *weight)));
                Self::Split(Arc::new(Split::new(parts)?))
            }
            ActionSpec::Redirect(_) | ActionSpec::Respond(_) => return None,
        })
    }

    /// Where a call goes on.
    fn prepare(&self, request: &Request) -> StageRef<Dubbo> {
        match self {
            Self::Cluster(cluster) => cluster.prepare(request),
            // each attempt of a call comes to the same one
            Self::Split(split) => split.pick(request.context().draw()).prepare(request),
        }
    }
}

impl Service<Request> for Leaf {
    type Response = Response;
    type Error = DubboError;
    type Future = StageFuture<Dubbo>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DubboError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> StageFuture<Dubbo> {
        self.prepare(&request).call(request)
    }
}

impl CallRoute {
    fn make(
        route: &RouteSpec,
        planned: &PlannedRoute<Dubbo>,
        clusters: &BTreeMap<String, Arc<Cluster>>,
        previous: &States<Dubbo>,
        next: &mut States<Dubbo>,
    ) -> Option<Self> {
        let leaf = Leaf::of(&route.action, clusters)?;
        let target = if planned.pipeline.is_empty() {
            Target::Leaf(leaf)
        } else {
            let pipeline = planned.pipeline.make(&planned.site, previous, next);
            Target::Stage(StageHandle::new(move || pipeline.apply(Stage::new(leaf.clone()))))
        };
        let conditions = Conditions::of(route.dubbo.as_ref()?)?;
        Some(Self { name: Name::intern(&route.name), conditions, target })
    }

    /// Where a call goes on.
    fn prepare(&self, request: &Request) -> StageRef<Dubbo> {
        request.context().set_route(self.name);
        match &self.target {
            Target::Stage(handle) => handle.stage(),
            Target::Leaf(leaf) => leaf.prepare(request),
        }
    }
}

/// What is asked of a call beside its service, the cheap questions first.
#[derive(Debug)]
struct Conditions(Vec<(Attribute<Request>, StringMatcher)>);

impl Conditions {
    /// `None`: an argument that a plan would not have named.
    fn of(matches: &DubboMatchSpec) -> Option<Self> {
        let plain = [("method", &matches.method), ("version", &matches.version), ("group", &matches.group)];
        let plain = plain.into_iter().filter_map(|(name, matcher)| Some((name.to_owned(), matcher.as_ref()?)));
        let attachments = matches.attachments.iter().map(|(name, matcher)| (format!("metadata.{name}"), matcher));
        let arguments = matches.arguments.iter().map(|(name, matcher)| (format!("argument.{name}"), matcher));
        let all = plain.chain(attachments).chain(arguments);
        all.map(|(path, matcher)| Some((Dubbo::attribute(&path).ok()?, matcher.clone())))
            .collect::<Option<_>>()
            .map(Self)
    }

    fn hold(&self, request: &Request) -> bool {
        self.0.iter().all(|(attribute, matcher)| {
            let (mut present, mut taken) = (false, false);
            attribute.visit(request, &mut |value| {
                present = true;
                taken |= matcher.takes(value);
            });
            match matcher {
                StringMatcher::Present(wanted) => present == *wanted,
                _ => taken,
            }
        })
    }
}

/// The routes by the services they take: those for one service are looked up, those for several are tried in turn.
#[derive(Debug)]
pub(super) struct CallRouter {
    routes: Vec<CallRoute>,
    /// The places of those for this service.
    exact: HashMap<String, Vec<usize>>,
    /// The places of the others.
    others: Vec<(usize, Option<ServicePattern>)>,
}

impl CallRouter {
    fn new(all: impl IntoIterator<Item = (DubboMatchSpec, CallRoute)>) -> Self {
        let mut router = Self { routes: Vec::new(), exact: HashMap::new(), others: Vec::new() };
        for (place, (matches, route)) in all.into_iter().enumerate() {
            match matches.service {
                Some(ServicePattern::Exact(service)) => router.exact.entry(service).or_default().push(place),
                pattern => router.others.push((place, pattern)),
            }
            router.routes.push(route);
        }
        router
    }

    /// The first that takes a call.
    fn route(&self, request: &Request) -> Option<&CallRoute> {
        let service = request.service();
        let takes = |place: &usize| self.routes[*place].conditions.hold(request);
        let exact = self.exact.get(service).and_then(|places| places.iter().copied().find(takes));
        let before = |place: &usize| exact.is_none_or(|exact| *place < exact);
        let others = self.others.iter().take_while(|(place, _)| before(place));
        let mut others = others.filter(|(_, pattern)| pattern.as_ref().is_none_or(|pattern| pattern.takes(service)));
        let first = others.find(|(place, _)| takes(place)).map(|(place, _)| *place).or(exact)?;
        self.routes.get(first)
    }
}

/// The service below a listener's pipeline.
#[derive(Clone, Debug)]
struct RouterService(Arc<CallRouter>);

impl Service<Request> for RouterService {
    type Response = Response;
    type Error = DubboError;
    type Future = StageFuture<Dubbo>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DubboError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> StageFuture<Dubbo> {
        match self.0.route(&request) {
            Some(route) => route.prepare(&request).call(request),
            None => StageFuture::refused(Rejection::new(Kind::NoRoute)),
        }
    }
}
