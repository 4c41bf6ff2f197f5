//! Running a plan: the whole life of the process, top to bottom.

use mesh_proxy::{
    Engine, Layers, Plan, Reloader,
    admin::{Admin, Metrics},
};
use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

type Error = Box<dyn std::error::Error>;

/// Runs a plan; with the file it is from and the layers it was checked with, unless it is the embedded one.
pub(crate) fn run(plan: Plan, from: Option<(PathBuf, Layers)>) -> ExitCode {
    log_to_stderr();
    for warning in plan.warnings() {
        tracing::warn!("{warning}");
    }
    // the control thread: signals, admin, upkeep; requests are the workers'
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(control(plan, from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

async fn control(plan: Plan, from: Option<(PathBuf, Layers)>) -> Result<(), Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let metrics = Metrics::install()?;
    tokio::spawn(metrics.clone().upkeep());
    let admin = match &plan.spec().admin {
        None => None,
        Some(admin) => Some(Admin::bind(&admin.bind).map_err(|error| format!("the admin listener: {error}"))?),
    };
    let engine = Engine::start(plan)?;
    for (name, address) in engine.listeners() {
        tracing::info!(listener = name, %address, "listening");
    }
    let is_default = from.is_none();
    let reloader = from.map(|(file, layers)| Reloader::new(engine.clone(), file, layers, crate::environment));
    if let Some(reloader) = reloader.clone() {
        tokio::spawn(reloader.follow_file());
    }
    let admin_address = admin.as_ref().map(|admin| admin.address().to_string());
    if let Some(admin) = admin {
        tracing::info!(address = %admin.address(), "admin listening");
        tokio::spawn(admin.serve(engine.clone(), metrics, reloader.clone()));
    }
    if is_default {
        print!("{}", banner(&engine, admin_address));
    }
    let signal = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => match &reloader {
                // a task of its own: a signal to end is not to wait for it
                Some(reloader) => {
                    let reloader = reloader.clone();
                    // what comes of it is logged
                    tokio::spawn(async move { drop(reloader.reload("SIGHUP").await) });
                }
                None => tracing::warn!("SIGHUP: the spec that runs is from no file"),
            },
        }
    };
    tracing::info!(signal, "ending after the requests in flight");
    engine.shutdown_as_configured().await;
    tracing::info!("ended");
    Ok(())
}

fn banner(engine: &Engine, admin: Option<String>) -> String {
    let web = engine.listeners().find(|(name, _)| name == "web").map(|(_, address)| address);
    let (Some(web), Some(admin)) = (web, admin) else { return String::new() };
    format!(
        "\nmesh {} runs its embedded spec: one sidecar in front of three endpoints.\n\
         Try:\n\
         \x20 curl -i http://{web}/                            one of three endpoints answers\n\
         \x20 curl -i --http2-prior-knowledge http://{web}/    the same over HTTP/2\n\
         \x20 curl http://{admin}/metrics                        what it counts\n\
         \x20 curl http://{admin}/config                         the spec it runs\n\
         \x20 curl http://{admin}/clusters                       its endpoints: load, health, why one is out\n\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// What is logged is set by `MESH_LOG`: a level, or targets with levels, as `info,mesh_proxy=debug`. By default `info`.
fn log_to_stderr() {
    let text = std::env::var("MESH_LOG").unwrap_or_else(|_| "info".into());
    let (targets, fault) = match text.parse::<Targets>() {
        Ok(targets) => (targets, None),
        Err(error) => (Targets::new().with_default(tracing::Level::INFO), Some(error)),
    };
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
    if let Some(error) = fault {
        tracing::warn!(%error, text, "MESH_LOG is not understood; logging `info`");
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("mesh: {error}");
    ExitCode::FAILURE
}
