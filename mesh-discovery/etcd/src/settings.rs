use std::{error::Error, fmt, time::Duration};

/// What [`Etcd`](crate::Etcd) needs to know.
///
/// | key | default | |
/// | --- | --- | --- |
/// | `endpoints` | required | the servers, each `http://HOST:PORT`; at least one |
/// | `prefix` | required | endpoints are the keys that begin with it, such as `/services/orders/` |
/// | `user`, `password` | none | whom to log in as; both or neither |
/// | `grace` | `60s` | how long endpoints are held that etcd lacks but may only have lost |
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields))]
pub struct EtcdSettings {
    /// The servers of one cluster, each `http://HOST:PORT`; at least one. One of them is used at a time, and the next
    /// one when it fails.
    pub endpoints: Vec<String>,
    /// Endpoints are the keys that begin with it. It ends with a separator such as `/`, so that `/services/orders/`
    /// does not take in `/services/orders-old/`.
    pub prefix: String,
    /// Whom to log in as, where etcd asks for it; with `password`.
    #[cfg_attr(feature = "config", serde(default, skip_serializing_if = "Option::is_none"))]
    pub user: Option<String>,
    /// The password of `user`. It is not shown where settings are.
    #[cfg_attr(
        feature = "config",
        serde(default, skip_serializing_if = "Option::is_none", serialize_with = "crate::config::hidden")
    )]
    pub password: Option<String>,
    /// How long endpoints are held that etcd lacks but may only have lost: see [the rule](crate#when-etcd-forgets).
    /// Default: 60 s. That is time enough for services to register again. 0 holds none, unless the history was lost and
    /// nothing at all is there yet.
    #[cfg_attr(feature = "config", serde(default = "default_grace", with = "mesh_core::units::duration"))]
    #[cfg_attr(feature = "config", schemars(schema_with = "mesh_core::units::duration::schema"))]
    pub grace: Duration,
}

/// What [`EtcdRegistrar`](crate::EtcdRegistrar) needs to know.
///
/// | key | default | |
/// | --- | --- | --- |
/// | `endpoints` | required | the servers, each `http://HOST:PORT`; at least one |
/// | `prefix` | required | the key is this and the id, such as `/services/orders/10.0.0.7:8080` |
/// | `id` | the instance's address | what tells this instance from the others |
/// | `ttl` | `10s` | how long the key stays when nobody keeps it; 2 s to 1 h |
/// | `user`, `password` | none | whom to log in as; both or neither |
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Deserialize, serde::Serialize, schemars::JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields))]
pub struct EtcdRegistrarSettings {
    /// The servers of one cluster, each `http://HOST:PORT`; at least one. One of them is used at a time, and the next
    /// one when it fails.
    pub endpoints: Vec<String>,
    /// The key is this and the id. It ends with a separator such as `/`.
    pub prefix: String,
    /// What tells this instance from the others under the prefix. Default: its address.
    #[cfg_attr(feature = "config", serde(default, skip_serializing_if = "Option::is_none"))]
    pub id: Option<String>,
    /// How long the key stays when nobody keeps it, in whole seconds, rounded up; 2 s to 1 h. The lease is renewed
    /// after a third of it. Default: 10 s.
    #[cfg_attr(feature = "config", serde(default = "default_ttl", with = "mesh_core::units::duration"))]
    #[cfg_attr(feature = "config", schemars(schema_with = "mesh_core::units::duration::schema"))]
    pub ttl: Duration,
    /// Whom to log in as, where etcd asks for it; with `password`.
    #[cfg_attr(feature = "config", serde(default, skip_serializing_if = "Option::is_none"))]
    pub user: Option<String>,
    /// The password of `user`. It is not shown where settings are.
    #[cfg_attr(
        feature = "config",
        serde(default, skip_serializing_if = "Option::is_none", serialize_with = "crate::config::hidden")
    )]
    pub password: Option<String>,
}

const fn default_grace() -> Duration {
    Duration::from_secs(60)
}

const fn default_ttl() -> Duration {
    Duration::from_secs(10)
}

impl EtcdSettings {
    /// The keys with this prefix, asked of these servers; the rest as by default.
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>, prefix: impl Into<String>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: prefix.into(),
            user: None,
            password: None,
            grace: default_grace(),
        }
    }

    /// The first fault, if there is one.
    ///
    /// # Errors
    /// Which key is at fault, and what is expected.
    pub fn validate(&self) -> Result<(), SettingsError> {
        common(&self.endpoints, &self.prefix, self.user.as_deref(), self.password.as_deref())
    }

    pub(crate) fn access(&self) -> Access {
        Access::new(&self.endpoints, self.user.as_deref(), self.password.as_deref())
    }
}

impl EtcdRegistrarSettings {
    /// A key with this prefix, put into these servers; the rest as by default.
    pub fn new<S: Into<String>>(endpoints: impl IntoIterator<Item = S>, prefix: impl Into<String>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: prefix.into(),
            id: None,
            ttl: default_ttl(),
            user: None,
            password: None,
        }
    }

    /// The first fault, if there is one.
    ///
    /// # Errors
    /// Which key is at fault, and what is expected.
    pub fn validate(&self) -> Result<(), SettingsError> {
        common(&self.endpoints, &self.prefix, self.user.as_deref(), self.password.as_deref())?;
        if self.id.as_deref() == Some("") {
            return Err(SettingsError::new("id", "an empty id", "leave it out for the instance's address"));
        }
        if self.ttl < Duration::from_secs(2) || self.ttl > Duration::from_secs(3600) {
            return Err(SettingsError::new("ttl", format!("{:?} is out of range", self.ttl), "it is 2 s to 1 h"));
        }
        Ok(())
    }

    pub(crate) fn access(&self) -> Access {
        Access::new(&self.endpoints, self.user.as_deref(), self.password.as_deref())
    }
}

fn common(endpoints: &[String], prefix: &str, user: Option<&str>, password: Option<&str>) -> Result<(), SettingsError> {
    if endpoints.is_empty() {
        return Err(SettingsError::new("endpoints", "no server", "name at least one, such as `http://127.0.0.1:2379`"));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        server(endpoint).map_err(|(message, help)| SettingsError::new(format!("endpoints[{index}]"), message, help))?;
    }
    if prefix.chars().next_back().is_none_or(char::is_alphanumeric) {
        let message = format!("`{prefix}` does not end with a separator, so it would take in its longer neighbours");
        return Err(SettingsError::new("prefix", message, format!("did you mean `{prefix}/`?")));
    }
    match (user, password) {
        (Some(_), None) => Err(SettingsError::new("user", "a user without a `password`", "give both or neither")),
        (None, Some(_)) => Err(SettingsError::new("password", "a password without a `user`", "give both or neither")),
        _ => Ok(()),
    }
}

/// Whether this names a server; if not, why, and what would.
fn server(endpoint: &str) -> Result<(), (String, &'static str)> {
    const FORM: &str = "a server is `http://HOST:PORT`, such as `http://127.0.0.1:2379`";
    if endpoint.starts_with("https://") {
        let message = format!("`{endpoint}` asks for TLS, which the connection to etcd does not have");
        return Err((message, "use `http://`, over a network that may be trusted"));
    }
    let uri: http::Uri = endpoint.parse().map_err(|error| (format!("`{endpoint}`: {error}"), FORM))?;
    let whole = uri.scheme_str() == Some("http")
        && uri.port().is_some()
        && uri.host().is_some_and(|host| !host.is_empty())
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && uri.path_and_query().is_none_or(|path| path == "/");
    if whole { Ok(()) } else { Err((format!("`{endpoint}` does not name a server"), FORM)) }
}

/// Settings that are not usable: which one, why, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    key: String,
    message: String,
    help: String,
}

impl SettingsError {
    fn new(key: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), help: help.into() }
    }

    /// The setting, as `endpoints[0]`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong with it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right.
    pub fn help(&self) -> &str {
        &self.help
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.message, self.help)
    }
}

impl Error for SettingsError {}

/// All but the password.
impl fmt::Debug for EtcdSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoints, prefix, user, password: _, grace } = self;
        f.debug_struct("EtcdSettings")
            .field("endpoints", endpoints)
            .field("prefix", prefix)
            .field("user", user)
            .field("grace", grace)
            .finish_non_exhaustive()
    }
}

/// All but the password.
impl fmt::Debug for EtcdRegistrarSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoints, prefix, id, ttl, user, password: _ } = self;
        f.debug_struct("EtcdRegistrarSettings")
            .field("endpoints", endpoints)
            .field("prefix", prefix)
            .field("id", id)
            .field("ttl", ttl)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// How to get to a cluster.
pub(crate) struct Access {
    servers: Vec<String>,
    pub(crate) login: Option<Login>,
}

pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Access {
    fn new(endpoints: &[String], user: Option<&str>, password: Option<&str>) -> Self {
        let login = user.zip(password).map(|(user, password)| Login { user: user.into(), password: password.into() });
        Self { servers: endpoints.to_vec(), login }
    }

    /// The servers in turn, for ever, from any one on.
    pub(crate) fn rounds(&self) -> impl Iterator<Item = &str> + Send {
        let start = fastrand::usize(..self.servers.len().max(1));
        self.servers.iter().map(String::as_str).cycle().skip(start)
    }
}
