//! Running a plan: the whole life of the process, top to bottom.

use mesh_proxy::{
    Engine, Plan,
    admin::{Admin, Metrics},
};
use std::{net::SocketAddr, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

type Error = Box<dyn std::error::Error>;

pub(crate) fn run(plan: Plan, is_default: bool) -> ExitCode {
    log_to_stderr();
    for warning in plan.warnings() {
        tracing::warn!("{warning}");
    }
    // the control thread: signals, admin, upkeep; requests are the workers'
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(control(plan, is_default)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

async fn control(plan: Plan, is_default: bool) -> Result<(), Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let metrics = Metrics::install()?;
    tokio::spawn(metrics.clone().upkeep());
    let admin = match plan.spec().admin {
        None => None,
        Some(admin) => {
            let address = admin.bind.value;
            let bound = Admin::bind(address).await;
            Some(bound.map_err(|error| format!("the admin listener cannot listen on {address}: {error}"))?)
        }
    };
    let engine = Engine::start(plan)?;
    for (name, address) in engine.listeners() {
        tracing::info!(listener = name, %address, "listening");
    }
    let admin_address = admin.as_ref().map(Admin::address);
    if let Some(admin) = admin {
        tracing::info!(address = %admin.address(), "admin listening");
        tokio::spawn(admin.serve(engine.clone(), metrics));
    }
    if is_default {
        print!("{}", banner(&engine, admin_address));
    }
    let signal = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal, "ending after the requests in flight");
    engine.shutdown_as_configured().await;
    tracing::info!("ended");
    Ok(())
}

fn banner(engine: &Engine, admin: Option<SocketAddr>) -> String {
    let web = engine.listeners().find(|(name, _)| *name == "web").map(|(_, address)| address);
    let (Some(web), Some(admin)) = (web, admin) else { return String::new() };
    format!(
        "\nmesh {} runs its embedded spec: one sidecar in front of three endpoints.\n\
         Try:\n\
         \x20 curl -i http://{web}/                            one of three endpoints answers\n\
         \x20 curl -i --http2-prior-knowledge http://{web}/    the same over HTTP/2\n\
         \x20 curl http://{admin}/metrics                      what it counts\n\
         \x20 curl http://{admin}/config                       the spec it runs\n\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// What is logged is set by `MESH_LOG`, in the syntax of tracing's `EnvFilter`; by default information and above.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("MESH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("mesh: {error}");
    ExitCode::FAILURE
}
