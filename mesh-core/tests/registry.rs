//! The registry: checking touches nothing, making keeps state over a reload.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

mod support;

use mesh_core::{
    At, Attribute, AttributeError, End, Gate, Kind, Pause, PausingGate, Pipeline, Protocol, Refusal, Registry,
    Rejection, Scope, Stage, Ticket, Watch,
    pipeline::{Checked, Factory, Fate, Made, NoSettings, Place, Shape, Site, State, States, Validate, stateless},
    spec::{Invalid, LayerSpec, Node},
};
use mesh_test::{Line, line};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Poll,
};
use support::{AtOnce, Tale, poll};
use tower::{Service, service_fn};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limit {
    max: u32,
    #[serde(default)]
    note: String,
}

impl Validate for Limit {
    fn validate(&self) -> Result<(), Invalid> {
        if self.max == 0 { Err(Invalid::new("`max` must be at least 1")) } else { Ok(()) }
    }
}

/// Never in fact.
struct Patient(AtOnce);

impl Watch for Patient {
    fn on_end(&self, ticket: Ticket, end: &End<'_>) {
        self.0.on_end(ticket, end);
    }
}

impl<R> Gate<R> for Patient {
    fn admit(&self, request: &mut R, at: &At) -> Result<Option<Ticket>, Rejection> {
        self.0.admit(request, at)
    }
}

impl<R> PausingGate<R> for Patient {
    fn pause(&self, _: Ticket) -> Option<Pause> {
        None
    }
}

/// A registry whose layers tell what is done with them.
fn registry(tale: &Tale) -> Registry<Line> {
    let mut registry = Registry::new();
    let told = tale.clone();
    registry.gate("limit", "at once", move |settings: Limit, previous: Option<Arc<AtOnce>>, site| {
        told.tell(format!("made at {}", site.path()));
        match previous {
            Some(gate) => {
                gate.set_max(settings.max);
                gate
            }
            None => Arc::new(AtOnce::new(settings.max)),
        }
    });
    registry.layer("foreign", "a layer of tower's", |_: NoSettings, _| tower::layer::util::Identity::new());
    registry.made(
        "pausing",
        "a gate that may have requests wait",
        |_| Shape::PausingGate,
        |_: NoSettings, _, _| (stateless(), Made::PausingGate(Arc::new(Patient(AtOnce::new(1))))),
    );
    registry.made("nothing", "is off", |_| Shape::Gate, |_: NoSettings, _, _| (stateless(), Made::Nothing));
    registry
}

fn layers(list: Value) -> Vec<LayerSpec> {
    let (layers, faults) = LayerSpec::read_list(&Node::from(list));
    assert!(faults.is_empty(), "{faults:?}");
    layers
}

/// Checks and makes; the pipeline, the states and what became of each layer.
fn reload(
    registry: &Registry<Line>,
    list: Value,
    previous: &States<Line>,
) -> (Pipeline<Line>, States<Line>, Vec<Fate>) {
    let site = Site::library();
    let mut next = States::new();
    let pipeline = registry.check(&layers(list), &site).unwrap().make(&site, previous, &mut next);
    let fates = next.report().0.iter().map(|entry| entry.fate).collect();
    (pipeline, next, fates)
}

fn stage(pipeline: &Pipeline<Line>) -> Stage<Line> {
    pipeline.apply(Stage::new(service_fn(|_: line::Request| std::future::ready(Ok(line::Reply::new(line::OK))))))
}

/// A call whose answer is held, or the name of the layer that refused.
fn call(stage: &mut Stage<Line>) -> Result<line::Reply, String> {
    match poll(pin!(stage.call(line::Request::new("orders", "place")))) {
        Poll::Ready(Ok(reply)) => Ok(reply),
        Poll::Ready(Err(error)) => Err(error.rejection().unwrap().layer().as_str().to_owned()),
        Poll::Pending => panic!("answered at once"),
    }
}

#[test]
fn checking_touches_nothing() {
    let tale = Tale::default();
    let registry = registry(&tale);
    let (pipeline, _states, _) = reload(&registry, json!([{ "limit": { "max": 1 } }]), &States::new());
    let mut running = stage(&pipeline);
    let held = call(&mut running).unwrap();
    assert_eq!(tale.look(), ["made at pipeline"]);
    // a good one and a bad one: refused whole, and what runs goes on as it was
    let bad = json!([{ "limit": { "max": 9 } }, { "limit": { "max": 0 } }]);
    assert!(registry.check(&layers(bad), &Site::library()).is_err());
    assert!(registry.check(&layers(json!([{ "limit": { "max": 9 } }])), &Site::library()).is_ok());
    assert_eq!(tale.look(), [""; 0], "nothing is made when it is only checked");
    assert_eq!(call(&mut running).unwrap_err(), "limit", "the running gate is not retuned");
    drop(held);
}

#[test]
fn every_fault_is_named() {
    let registry = registry(&Tale::default());
    let bad = json!([
        { "limt": { "max": 1 } },
        { "limit": { "max": 0 } },
        { "limit": { "maximum": 1 } },
        { "limit": { "max": "x" } },
        { "foreign": { "shadow": true } },
        { "limit": { "max": 1, "id": "a" } },
        { "limit": { "max": 1, "id": "a" } },
    ]);
    let faults = registry.check(&layers(bad), &Site::library()).unwrap_err();
    let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let all = text.join("\n");
    assert_eq!(faults.len(), 6, "{all}");
    for part in ["did you mean `limit`?", "at least 1", "maximum", "cannot be a shadow", "id `a` is given twice"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let endpoint = Site::new(Place::Endpoint, "clusters.a.endpoints");
    let faults = registry.check(&layers(json!([{ "limit": { "max": 1, "id": "a" } }])), &endpoint).unwrap_err();
    assert!(faults[0].to_string().contains("`id` is not possible here"), "{}", faults[0]);
}

#[test]
fn equal_settings_go_on_as_they_are() {
    let tale = Tale::default();
    let registry = registry(&tale);
    let list = || json!([{ "limit": { "max": 1 } }, "foreign", "pausing"]);
    let (first, states, fates) = reload(&registry, list(), &States::new());
    assert_eq!(fates, [Fate::New; 3]);
    let held = call(&mut stage(&first)).unwrap();
    tale.look();
    let (second, states, fates) = reload(&registry, list(), &states);
    assert_eq!((fates, tale.look()), (vec![Fate::Kept; 3], vec![]));
    assert_eq!(call(&mut stage(&second)).unwrap_err(), "limit", "the slot is still taken");
    drop(held);
    call(&mut stage(&second)).unwrap();
    assert_eq!(states.report().count(Fate::Kept), 3);
}

#[test]
fn changed_settings_get_their_state_back() {
    let registry = registry(&Tale::default());
    let (first, states, _) = reload(&registry, json!([{ "limit": { "max": 1 } }, "foreign"]), &States::new());
    let held = call(&mut stage(&first)).unwrap();
    let list = json!(["nothing", { "limit": { "max": 2 } }, "foreign"]);
    let (second, states, fates) = reload(&registry, list, &states);
    assert_eq!(fates, [Fate::New, Fate::Retuned, Fate::Kept]);
    let mut two = stage(&second);
    let other = call(&mut two).unwrap();
    assert_eq!(call(&mut two).unwrap_err(), "limit", "one held through the old pipeline, one through the new");
    drop((held, other));
    // gone and back again: a fresh start
    let (_, states, _) = reload(&registry, json!([]), &states);
    let (_, _, fates) = reload(&registry, json!([{ "limit": { "max": 2 } }]), &states);
    assert_eq!(fates, [Fate::New]);
}

#[test]
fn state_is_found_by_ordinal_and_by_id() {
    let registry = registry(&Tale::default());
    let by_ordinal = json!([{ "limit": { "max": 1 } }, { "limit": { "max": 7 } }]);
    let (first, states, _) = reload(&registry, by_ordinal, &States::new());
    let held = call(&mut stage(&first)).unwrap();
    // the second of its name is still the second
    let list = json!([{ "limit": { "max": 9 } }, "foreign", { "limit": { "max": 1 } }]);
    let (second, _, fates) = reload(&registry, list, &states);
    assert_eq!(fates, [Fate::Retuned, Fate::New, Fate::Retuned]);
    assert!(call(&mut stage(&second)).is_err(), "the second holds one already");
    drop(held);

    // an id is the same wherever the layer moves to, also into another pipeline
    let list = json!([{ "limit": { "max": 5 } }, { "limit": { "max": 1, "id": "shared" } }]);
    let (first, states, _) = reload(&registry, list, &States::new());
    let held = call(&mut stage(&first)).unwrap();
    let elsewhere = Site::new(Place::Route, "routes.a");
    let mut next = States::new();
    let list = layers(json!([{ "limit": { "max": 1, "note": "moved", "id": "shared" } }]));
    let moved = registry.check(&list, &elsewhere).unwrap().make(&elsewhere, &states, &mut next);
    assert_eq!(next.report().count(Fate::Retuned), 1);
    assert!(call(&mut stage(&moved)).is_err());
    drop(held);
    // without an id the place counts
    let mut next = States::new();
    let list = layers(json!([{ "limit": { "max": 5 } }]));
    registry.check(&list, &elsewhere).unwrap().make(&elsewhere, &states, &mut next);
    assert_eq!(next.report().count(Fate::New), 1);
}

#[test]
fn what_is_gone_is_reported() {
    let registry = registry(&Tale::default());
    let list = json!([{ "limit": { "max": 1 } }, { "limit": { "max": 2, "id": "a" } }, "foreign"]);
    let (_, first, _) = reload(&registry, list, &States::new());
    let (_, mut second, fates) = reload(&registry, json!(["foreign"]), &first);
    assert_eq!(fates, [Fate::Kept]);
    second.report_removed(&first);
    let gone: Vec<String> = second.report().with(Fate::Removed).map(ToString::to_string).collect();
    assert_eq!(gone, ["pipeline: limit (a)", "pipeline: limit"]);
}

#[test]
fn pipelines_are_equal_where_a_reload_would_keep_all() {
    let registry = registry(&Tale::default());
    let checked = |list| registry.check(&layers(list), &Site::library()).unwrap();
    let one = checked(json!([{ "limit": { "max": 1 } }, "foreign"]));
    assert!(one == checked(json!([{ "limit": { "max": 1 } }, "foreign"])));
    for other in [
        json!([{ "limit": { "max": 2 } }, "foreign"]),
        json!([{ "limit": { "max": 1, "shadow": true } }, "foreign"]),
        json!([{ "limit": { "max": 1, "id": "a" } }, "foreign"]),
        json!(["foreign", { "limit": { "max": 1 } }]),
        json!([{ "limit": { "max": 1 } }]),
    ] {
        assert!(one != checked(other.clone()), "{other}");
    }
}

#[test]
fn a_state_of_another_type_is_reported_as_reset() {
    let one = registry(&Tale::default());
    let (_, states, _) = reload(&one, json!([{ "limit": { "max": 1 } }, { "foreign": { "id": "x" } }]), &States::new());
    // the same name, made by another kind of gate
    let mut other = registry(&Tale::default());
    let tale = Tale::default();
    let told = tale.clone();
    other.gate("limit", "another", move |_: Limit, previous: Option<Arc<support::Breaker>>, _| {
        told.tell(format!("previous: {}", previous.is_some()));
        previous.unwrap_or_else(|| Arc::new(support::Breaker::new(3)))
    });
    // and the id at another layer
    let list = json!([{ "limit": { "max": 2 } }, { "pausing": { "id": "x" } }]);
    let (_, _, fates) = reload(&other, list, &states);
    assert_eq!((fates, tale.look()), (vec![Fate::Reset, Fate::Reset], vec!["previous: false".to_owned()]));
}

#[test]
fn a_gate_over_a_layer_stands_in_two_runs() {
    let registry = registry(&Tale::default());
    let list = json!([{ "limit": { "max": 3 } }, "pausing", { "limit": { "max": 2 } }, "nothing", "foreign"]);
    let (pipeline, _, _) = reload(&registry, list, &States::new());
    let runs: Vec<Vec<&str>> =
        pipeline.runs().iter().map(|run| run.iter().map(|name| name.as_str()).collect()).collect();
    assert_eq!(runs, [vec!["limit", "pausing", "limit"], vec!["foreign"]]);
    let mut stage = stage(&pipeline);
    let held = call(&mut stage).unwrap();
    assert_eq!(call(&mut stage).unwrap_err(), "pausing");
    drop(held);
}

#[test]
fn defaults_are_filled_in() {
    let registry = registry(&Tale::default());
    let site = Site::library();
    let list = layers(json!([{ "limit": { "max": 2, "shadow": true, "id": "a" } }]));
    let checked = registry.check(&list, &site).unwrap();
    let layer = checked.effective().next().unwrap();
    assert_eq!(layer.settings, json!({ "max": 2, "note": "" }));
    assert_eq!((layer.shadow, layer.id.as_deref(), layer.shape), (true, Some("a"), Shape::Gate));
}

/// A protocol with an attribute that needs a route.
struct Routed;

impl Protocol for Routed {
    const NAME: &'static str = "routed";
    type Request = line::Request;
    type Response = line::Reply;
    type Error = line::Error;

    fn attribute(path: &str) -> Result<Attribute<line::Request>, AttributeError> {
        match path {
            "template" => Ok(Attribute::new(path, Scope::Route, |_, visit| visit(b"/orders/{id}"))),
            _ => Attribute::common(path)
                .ok_or(AttributeError { path: path.into(), known: &["template", "method", "service"] }),
        }
    }
}

#[test]
fn attributes() {
    let (listener, route) = (Site::<Routed>::new(Place::Listener, "l"), Site::<Routed>::new(Place::Route, "r"));
    let request = line::Request::new("orders", "place").with("user", "7");
    let value = |path: &str| {
        route.attribute(path).unwrap().first(&request, |value| String::from_utf8_lossy(value).into_owned())
    };
    assert_eq!(value("service").as_deref(), Some("orders"));
    assert_eq!(value("method").as_deref(), Some("place"));
    assert_eq!(value("metadata.User").as_deref(), Some("7"));
    assert_eq!(value("metadata.none"), None);
    assert_eq!(value("peer.address"), None);
    assert_eq!(value("template").as_deref(), Some("/orders/{id}"));
    assert!(listener.attribute("method").is_ok());
    assert!(listener.attribute("template").unwrap_err().to_string().contains("before the router"));
    assert!(route.attribute("methd").unwrap_err().to_string().contains("did you mean `method`?"));
}

/// A factory in the general form, which refuses by its site.
struct OnlyAtRoutes(Arc<AtomicU32>);

impl Factory<Line> for OnlyAtRoutes {
    fn check(&self, settings: &Node, site: &Site<Line>) -> Result<Checked<Line>, Vec<Invalid>> {
        if site.place() != Place::Route {
            return Err(vec![Invalid::new("only at a route").at(settings), Invalid::new("and that is that")]);
        }
        let made = self.0.clone();
        Ok(Checked::new(Shape::Gate, &json!({}), move |previous: Option<Arc<State>>, _: &Site<Line>| {
            made.fetch_add(1, Relaxed);
            let gate: Arc<dyn Gate<line::Request>> =
                Arc::new(mesh_core::gate_fn(|_: &mut line::Request| Err(mesh_core::Rejection::new(Kind::Forbidden))));
            (previous.unwrap_or_else(stateless), Made::Gate(gate))
        }))
    }

    fn schema(&self, _: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }

    fn about(&self) -> &str {
        "a factory of one's own"
    }
}

#[test]
fn a_factory_of_ones_own() {
    let made = Arc::<AtomicU32>::default();
    let mut registry = Registry::<Line>::new();
    registry.add("mine", OnlyAtRoutes(made.clone()));
    let list = layers(json!(["mine"]));
    assert_eq!(registry.check(&list, &Site::library()).unwrap_err().len(), 2);
    let site = Site::new(Place::Route, "routes.a");
    let pipeline = registry.check(&list, &site).unwrap().make(&site, &States::new(), &mut States::new());
    assert_eq!((call(&mut stage(&pipeline)).unwrap_err().as_str(), made.load(Relaxed)), ("mine", 1));
    assert_eq!(
        registry.layers().map(|(name, factory)| (name, factory.about().to_owned())).collect::<Vec<_>>(),
        [("mine", "a factory of one's own".to_owned())]
    );
}
