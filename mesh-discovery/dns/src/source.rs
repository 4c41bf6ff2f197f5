use crate::{
    DnsSettings,
    client::Client,
    resolve::{Ask, Memory, Outcome},
    schedule::{Event, Next, Schedule},
};
use mesh_core::time;
use mesh_discovery::{Discovery, Say, Updates, updates};

/// Endpoints by DNS. See the [front page](crate) for what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    settings: DnsSettings,
}

impl Dns {
    /// A source of these settings. Nothing is asked yet.
    pub fn new(settings: DnsSettings) -> Self {
        Self { settings }
    }

    /// What it was made of.
    pub fn settings(&self) -> &DnsSettings {
        &self.settings
    }
}

/// Inside a tokio runtime with I/O and time enabled.
impl Discovery for Dns {
    fn updates(&self) -> Updates {
        let settings = self.settings.clone();
        updates(async move |say| follow(&settings, Client::new, &say).await)
    }
}

/// Asks again and again. Whoever asks is made anew after each failure, with what the system's configuration is then.
pub(crate) async fn follow<A: Ask>(
    settings: &DnsSettings,
    connect: impl Fn(&DnsSettings) -> Result<A, String>,
    say: &Say,
) {
    let mut schedule = Schedule::new(settings);
    let mut memory = Memory::default();
    let mut connected: Option<A> = None;
    loop {
        let ask = match connected.take() {
            Some(ask) => Ok(ask),
            None => connect(settings),
        };
        let outcome = match ask {
            Ok(ask) => {
                let outcome = memory.resolve(settings, &ask).await;
                let failed = matches!(outcome, Outcome::Failed(_) | Outcome::Found { failure: Some(_), .. });
                connected = (!failed).then_some(ask);
                outcome
            }
            Err(failure) => Outcome::Failed(failure),
        };
        let Next { say: targets, wait, event } = schedule.take(outcome, time::now());
        if let Some(event) = event {
            log(settings, event);
        }
        if let Some(targets) = targets {
            say.set(targets);
        }
        time::sleep(wait).await;
    }
}

fn log(settings: &DnsSettings, event: Event) {
    let name = settings.name();
    match event {
        Event::Failing(error) => tracing::warn!(name, error, "DNS fails; the last good endpoints stay"),
        Event::Recovered => tracing::info!(name, "DNS answers again"),
        Event::Fading => {
            tracing::warn!(name, grace = ?settings.grace, "DNS has no endpoints any more; those that were stay for a while");
        }
        Event::Missing => tracing::warn!(name, "DNS has no endpoints"),
    }
}
