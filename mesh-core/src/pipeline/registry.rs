use super::{
    Made, Place, Site, foreign,
    pipeline::{Item, Pipeline},
    states::{Fate, Kept, LayerReport, State, StateKey, States},
};
use crate::{
    Attribute, BoxError, Gate, Name, Protocol, Scope, Stage,
    spec::{Invalid, LayerSpec, Node, nearest},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
use tower_layer::Layer;
use tower_service::Service;

/// Settings of a layer, checked as a whole: what the types of the fields cannot say.
pub trait Validate {
    /// The first fault, if there is one.
    ///
    /// # Errors
    /// What is wrong, and what was expected.
    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// What a layer will be, as far as its settings tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A gate: part of a run, and may be a shadow.
    Gate,
    /// A gate that has some requests wait: part of a run, but no shadow.
    PausingGate,
    /// A service layer.
    Layer,
}

type MakeLayer<P> = dyn Fn(Option<Arc<State>>, &Site<P>) -> (Arc<State>, Made<P>) + Send + Sync;

/// Settings that have been found good. Making the layer of them cannot fail.
pub struct Checked<P: Protocol> {
    shape: Shape,
    effective: serde_json::Value,
    make: Arc<MakeLayer<P>>,
}

impl<P: Protocol> Checked<P> {
    /// Good settings: what they come to with all defaults filled in, and how the layer is made of them. `make` is
    /// given the state that stood here before a reload, and may keep it, retuned; it is called once per reload, and
    /// for an endpoint's pipeline once per endpoint.
    pub fn new(
        shape: Shape,
        effective: &impl Serialize,
        make: impl Fn(Option<Arc<State>>, &Site<P>) -> (Arc<State>, Made<P>) + Send + Sync + 'static,
    ) -> Self {
        let effective = serde_json::to_value(effective).unwrap_or_default();
        Self { shape, effective, make: Arc::new(make) }
    }
}

impl<P: Protocol> Clone for Checked<P> {
    fn clone(&self) -> Self {
        Self { shape: self.shape, effective: self.effective.clone(), make: self.make.clone() }
    }
}

/// Makes a layer of its settings, in two steps: [`Factory::check`] may fail and touches nothing, and what it gives
/// makes the layer once the whole spec has been found good. So a refused reload changes nothing.
pub trait Factory<P: Protocol>: Send + Sync {
    /// Looks at settings.
    ///
    /// # Errors
    /// What is wrong with them, each with its position.
    fn check(&self, settings: &Node, site: &Site<P>) -> Result<Checked<P>, Vec<Invalid>>;

    /// The JSON Schema of the settings.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema;

    /// One line on what the layer does.
    fn about(&self) -> &str;
}

/// The layers there are, by name.
pub struct Registry<P: Protocol> {
    factories: BTreeMap<&'static str, Box<dyn Factory<P>>>,
}

impl<P: Protocol> Default for Registry<P> {
    fn default() -> Self {
        Self { factories: BTreeMap::new() }
    }
}

impl<P: Protocol> fmt::Debug for Registry<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.factories.keys()).finish()
    }
}

/// A factory of one settings type and one function.
struct Typed<P: Protocol, S, F> {
    about: &'static str,
    shape: fn(&S) -> Shape,
    make: Arc<F>,
    types: std::marker::PhantomData<fn(P, S)>,
}

impl<P, S, F> Factory<P> for Typed<P, S, F>
where
    P: Protocol,
    S: DeserializeOwned + Serialize + JsonSchema + Validate + Clone + Send + Sync + 'static,
    F: Fn(S, Option<Arc<State>>, &Site<P>) -> (Arc<State>, Made<P>) + Send + Sync + 'static,
{
    fn check(&self, settings: &Node, _: &Site<P>) -> Result<Checked<P>, Vec<Invalid>> {
        let typed: S = settings.deserialize().map_err(|invalid| vec![invalid])?;
        typed.validate().map_err(|invalid| vec![invalid.at(settings)])?;
        let (make, effective) = (self.make.clone(), typed.clone());
        Ok(Checked::new((self.shape)(&effective), &effective, move |previous, site| {
            make(typed.clone(), previous, site)
        }))
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<S>()
    }

    fn about(&self) -> &str {
        self.about
    }
}

impl<P: Protocol> Registry<P> {
    /// No layers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a factory under a name; a later one of the same name takes its place.
    pub fn add(&mut self, name: &'static str, factory: impl Factory<P> + 'static) -> &mut Self {
        self.factories.insert(name, Box::new(factory));
        self
    }

    /// A gate made of its settings. It is its own state: over a reload `make` is shown the gate that stood here and may
    /// give it back, retuned.
    pub fn gate<S, G>(
        &mut self,
        name: &'static str,
        about: &'static str,
        make: impl Fn(S, Option<Arc<G>>, &Site<P>) -> Arc<G> + Send + Sync + 'static,
    ) -> &mut Self
    where
        S: DeserializeOwned + Serialize + JsonSchema + Validate + Clone + Send + Sync + 'static,
        G: Gate<P::Request>,
    {
        self.made(
            name,
            about,
            |_| Shape::Gate,
            move |settings: S, previous: Option<Arc<State>>, site: &Site<P>| {
                let gate = make(settings, previous.and_then(|state| state.downcast::<G>().ok()), site);
                let state: Arc<State> = gate.clone();
                (state, Made::Gate(gate))
            },
        )
    }

    /// Any tower layer whose service takes and gives the protocol's types, made of its settings. It keeps no state
    /// over a reload that changes them.
    pub fn layer<S, L>(
        &mut self,
        name: &'static str,
        about: &'static str,
        make: impl Fn(S, &Site<P>) -> L + Send + Sync + 'static,
    ) -> &mut Self
    where
        S: DeserializeOwned + Serialize + JsonSchema + Validate + Clone + Send + Sync + 'static,
        L: Layer<Stage<P>> + Send + Sync + 'static,
        L::Service: Service<P::Request, Response = P::Response> + Clone + Send + 'static,
        <L::Service as Service<P::Request>>::Error: Into<BoxError>,
        <L::Service as Service<P::Request>>::Future: Send + 'static,
    {
        self.made(
            name,
            about,
            |_| Shape::Layer,
            move |settings: S, _: Option<Arc<State>>, site: &Site<P>| {
                let state: Arc<State> = Arc::new(());
                (state, Made::Layer(foreign(make(settings, site))))
            },
        )
    }

    /// A layer of one settings type in its general form: `shape` says what these settings ask for; `make` is given the
    /// state that stood here before a reload, and gives the state to keep and the layer.
    pub fn made<S>(
        &mut self,
        name: &'static str,
        about: &'static str,
        shape: fn(&S) -> Shape,
        make: impl Fn(S, Option<Arc<State>>, &Site<P>) -> (Arc<State>, Made<P>) + Send + Sync + 'static,
    ) -> &mut Self
    where
        S: DeserializeOwned + Serialize + JsonSchema + Validate + Clone + Send + Sync + 'static,
    {
        self.add(name, Typed { about, shape, make: Arc::new(make), types: std::marker::PhantomData })
    }

    /// The layers, by name.
    pub fn layers(&self) -> impl Iterator<Item = (&'static str, &dyn Factory<P>)> {
        self.factories.iter().map(|(name, factory)| (*name, &**factory))
    }

    /// Looks at a whole pipeline. Nothing is made, nothing running is touched.
    ///
    /// # Errors
    /// All that is wrong, layer by layer.
    pub fn check(&self, layers: &[LayerSpec], site: &Site<P>) -> Result<CheckedPipeline<P>, Vec<Invalid>> {
        let (mut items, mut faults) = (Vec::new(), Vec::new());
        let mut ordinals = BTreeMap::<&str, usize>::new();
        let mut ids = BTreeSet::new();
        for layer in layers {
            if let Some(id) = layer.id.as_deref().filter(|id| !ids.insert(*id)) {
                let fault = Invalid::new(format!("id `{id}` is given twice: each state has one layer"));
                faults.push(fault.at_position(layer.position).in_path(&layer.path));
            }
            let ordinal = ordinals.entry(&layer.name).or_default();
            match self.check_layer(layer, *ordinal, site) {
                Ok(item) => items.push(item),
                Err(found) => faults.extend(found.into_iter().map(|invalid| invalid.in_path(&layer.path))),
            }
            *ordinal += 1;
        }
        if faults.is_empty() { Ok(CheckedPipeline { items: items.into() }) } else { Err(faults) }
    }

    fn check_layer(&self, layer: &LayerSpec, ordinal: usize, site: &Site<P>) -> Result<CheckedItem<P>, Vec<Invalid>> {
        let here = |invalid: Invalid| invalid.at_position(layer.position);
        let Some(factory) = self.factories.get(layer.name.as_str()) else {
            return Err(vec![here(self.unknown(&layer.name))]);
        };
        let checked = factory.check(&layer.settings, site)?;
        let mut faults = Vec::new();
        if layer.shadow && checked.shape != Shape::Gate {
            faults.push(here(Invalid::new(format!(
                "`{}` cannot be a shadow: with these settings it has taken the request when it refuses",
                layer.name
            ))));
        }
        if layer.id.is_some() && site.place() == Place::Endpoint {
            faults.push(here(Invalid::new("`id` is not possible here: the state belongs to each endpoint")));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(CheckedItem {
            name: Name::intern(&layer.name),
            key: match &layer.id {
                Some(id) => StateKey::Id(id.clone()),
                None => StateKey::Ordinal(layer.name.clone(), ordinal),
            },
            settings: Arc::new(layer.settings.clone()),
            shadow: layer.shadow,
            checked,
        })
    }

    fn unknown(&self, name: &str) -> Invalid {
        let invalid = Invalid::new(format!("unknown layer `{name}` for protocol {}", P::NAME));
        match nearest(name, self.factories.keys().copied()) {
            Some(known) => invalid.with_suggestion(format!("did you mean `{known}`?")),
            None => {
                let known: Vec<&str> = self.factories.keys().copied().collect();
                invalid.with_suggestion(format!("the layers are {}", known.join(", ")))
            }
        }
    }
}

struct CheckedItem<P: Protocol> {
    name: Name,
    key: StateKey,
    settings: Arc<Node>,
    shadow: bool,
    checked: Checked<P>,
}

impl<P: Protocol> CheckedItem<P> {
    fn is_same(&self, other: &Self) -> bool {
        (self.name, &self.key, self.shadow) == (other.name, &other.key, other.shadow) && self.settings == other.settings
    }
}

/// A pipeline that has been found good. Making it cannot fail. Clones share it. Two are equal when they have the same
/// layers with the same settings: a reload from one to the other keeps every layer.
pub struct CheckedPipeline<P: Protocol> {
    items: Arc<[CheckedItem<P>]>,
}

impl<P: Protocol> Clone for CheckedPipeline<P> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone() }
    }
}

impl<P: Protocol> PartialEq for CheckedPipeline<P> {
    fn eq(&self, other: &Self) -> bool {
        self.items.len() == other.items.len()
            && self.items.iter().zip(&*other.items).all(|(one, other)| one.is_same(other))
    }
}

impl<P: Protocol> Default for CheckedPipeline<P> {
    fn default() -> Self {
        Self { items: Arc::new([]) }
    }
}

impl<P: Protocol> fmt::Debug for CheckedPipeline<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items.iter().map(|item| item.name)).finish()
    }
}

/// A checked layer, to be shown.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Its registered name.
    pub name: Name,
    /// Whether it is a gate.
    pub shape: Shape,
    /// Whether it only shadows.
    pub shadow: bool,
    /// The name its state is kept under, if it says one.
    pub id: Option<String>,
    /// Its settings with every default filled in; what came from the environment by its name.
    pub settings: serde_json::Value,
}

impl<P: Protocol> CheckedPipeline<P> {
    /// What the pipeline comes to, layer by layer.
    pub fn effective(&self) -> impl Iterator<Item = Effective> {
        let settings = |item: &CheckedItem<P>| {
            let mut settings = item.checked.effective.clone();
            item.settings.conceal(&mut settings);
            settings
        };
        self.items.iter().map(move |item| Effective {
            name: item.name,
            shape: item.checked.shape,
            shadow: item.shadow,
            id: item.key.id().map(str::to_owned),
            settings: settings(item),
        })
    }

    /// Whether there is no layer.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Makes the pipeline. State is taken over from `previous`, and noted in `next` for the reload after this one:
    /// a layer whose settings are the same goes on as it is, one whose settings changed is handed its state.
    pub fn make(&self, site: &Site<P>, previous: &States<P>, next: &mut States<P>) -> Pipeline<P> {
        let items = self.items.iter().map(|item| item.make(site, previous, next)).collect();
        Pipeline::from_items(items)
    }

    /// What a report says of its layers where all of them have one fate.
    pub fn report(&self, site: &Site<P>, fate: Fate) -> impl Iterator<Item = LayerReport> {
        let stage = site.shared_path();
        self.items.iter().map(move |item| LayerReport {
            stage: stage.clone(),
            layer: item.name,
            id: item.key.id().map(str::to_owned),
            fate,
        })
    }
}

impl<P: Protocol> CheckedItem<P> {
    fn make(&self, site: &Site<P>, previous: &States<P>, next: &mut States<P>) -> Item<P> {
        let key = (self.key.stage(site.path()), self.key.clone());
        let (state, made, fate) = match previous.get(&key) {
            // the id stood at another layer: that one's state is of no use here
            Some(kept) if kept.name != self.name => {
                let (state, made) = (self.checked.make)(None, site);
                (state, made, Fate::Reset)
            }
            Some(kept) if kept.settings == self.settings => (kept.state.clone(), kept.made.clone(), Fate::Kept),
            Some(kept) => {
                let (state, made) = (self.checked.make)(Some(kept.state.clone()), site);
                // a layer without a state has none to lose
                let goes_on = Arc::ptr_eq(&state, &kept.state) || (state.is::<()>() && kept.state.is::<()>());
                let fate = if goes_on { Fate::Retuned } else { Fate::Reset };
                (state, made, fate)
            }
            None => {
                let (state, made) = (self.checked.make)(None, site);
                (state, made, Fate::New)
            }
        };
        let (path, settings) = (site.shared_path(), self.settings.clone());
        next.keep(key, Kept { name: self.name, path, settings, state, made: made.clone() }, fate);
        Item::new(self.name, self.shadow, made)
    }
}

impl<P: Protocol> Site<P> {
    /// The attribute with this path, if it has a value where this site stands.
    ///
    /// # Errors
    /// There is none with this path, or it needs a route and this is a listener's pipeline.
    pub fn attribute(&self, path: &str) -> Result<Attribute<P::Request>, Invalid> {
        let attribute = P::attribute(path).map_err(|unknown| {
            let invalid = Invalid::new(unknown.to_string());
            match nearest(path, unknown.known.iter().copied()) {
                Some(known) => invalid.with_suggestion(format!("did you mean `{known}`?")),
                None => invalid,
            }
        })?;
        if attribute.scope() == Scope::Route && self.place() == Place::Listener {
            return Err(Invalid::new(format!(
                "`{path}` has no value here: a listener's pipeline runs before the router"
            )));
        }
        Ok(attribute)
    }
}

/// The settings of a layer that has none: nothing, or an empty mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NoSettings {}

impl Validate for NoSettings {}

impl<'de> serde::Deserialize<'de> for NoSettings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Empty {}
        Option::<Empty>::deserialize(deserializer).map(|_| NoSettings {})
    }
}

/// Nothing to keep over a reload.
pub fn stateless() -> Arc<State> {
    let nothing: Arc<dyn Any + Send + Sync> = Arc::new(());
    nothing
}
