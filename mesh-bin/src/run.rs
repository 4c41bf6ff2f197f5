//! Running a plan: the whole life of the process, top to bottom.

use mesh_proxy::{
    Engine, Layers, Plan, Reloader,
    admin::{Admin, LogFilter, Metrics},
    process::{Signals, until_end},
};
use std::{ffi::OsString, io::IsTerminal as _, path::PathBuf, process::ExitCode};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

type Error = Box<dyn std::error::Error>;

/// Runs a plan; with the file it is from and the layers it was checked with, unless it is the embedded one; beside an
/// application, if there is one.
pub(crate) fn run(plan: Plan, from: Option<(PathBuf, Layers)>, application: &[OsString]) -> ExitCode {
    let log = log_to_stderr();
    for warning in plan.warnings() {
        tracing::warn!("{warning}");
    }
    // the control thread: signals, admin, upkeep; requests are the workers'
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(control(plan, from, application, log)) {
        Ok(code) => code,
        Err(error) => failed(&*error),
    }
}

async fn control(
    plan: Plan,
    from: Option<(PathBuf, Layers)>,
    application: &[OsString],
    log: LogFilter,
) -> Result<ExitCode, Error> {
    let mut signals = Signals::listen()?;
    let metrics = Metrics::install()?;
    tokio::spawn(metrics.clone().upkeep());
    let admin = match &plan.spec().admin {
        None => None,
        Some(admin) => {
            let bound = Admin::bind(&admin.bind).map_err(|error| format!("the admin listener: {error}"))?;
            Some(bound.with_log(log))
        }
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
    tokio::spawn(crate::pages::release_after_start());
    let code = until_end(&engine, reloader.as_ref(), &mut signals, application).await;
    engine.shutdown_as_configured().await;
    tracing::info!("ended");
    Ok(ExitCode::from(code))
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
fn log_to_stderr() -> LogFilter {
    let mut text = std::env::var("MESH_LOG").unwrap_or_else(|_| "info".into());
    let (targets, fault) = match text.parse::<Targets>() {
        Ok(targets) => (targets, None),
        Err(error) => (Targets::new().with_default(tracing::Level::INFO), Some(error)),
    };
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    let (targets, handle) = reload::Layer::new(targets);
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
    if let Some(error) = fault {
        tracing::warn!(%error, text, "MESH_LOG is not understood; logging `info`");
        text = "info".into();
    }
    LogFilter::new(text, move |filter| {
        let targets = filter.parse::<Targets>().map_err(|error| error.to_string())?;
        handle.reload(targets).map_err(|error| error.to_string())
    })
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("mesh: {error}");
    ExitCode::FAILURE
}
