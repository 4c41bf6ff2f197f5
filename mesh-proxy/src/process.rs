//! What a program that runs an engine waits for: signals, the admin listener, and the end of an application beside it.

use crate::{Engine, Reloader};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind},
};

/// The signals that mean the program: SIGTERM and SIGINT, and SIGHUP. From when it is made on they do not end it by
/// themselves.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

impl Signals {
    /// Listens to them.
    ///
    /// # Errors
    /// The system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    /// The next one that asks for the end. At the other a reload begins.
    async fn next(&mut self, reloader: Option<&Reloader>) -> Signal {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Signal::TERM,
                _ = self.interrupt.recv() => return Signal::INT,
                _ = self.hangup.recv() => match reloader.cloned() {
                    // a task of its own: a signal to end is not to wait for it; what comes of it is logged
                    Some(reloader) => _ = tokio::spawn(async move { drop(reloader.reload("SIGHUP").await) }),
                    None => tracing::warn!("SIGHUP: the spec that runs is from no file"),
                },
            }
        }
    }
}

/// Waits until the engine is to be shut down, and gives the exit code for the program. At SIGHUP the spec is taken again.
///
/// Without an application that is SIGTERM, SIGINT or [`Engine::ask_end`], and the code is 0. With one, a program and its
/// arguments, it is started, those signals are handed on to it (one that asks the engine to end as SIGTERM), and what is waited
/// for is its end. The code is the application's; that of a signal which ended it is 128 and its number; 127 is that of
/// a program that is not there, 126 of one that cannot be started, as shells have it.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn until_end(
    engine: &Engine,
    reloader: Option<&Reloader>,
    signals: &mut Signals,
    application: &[OsString],
) -> u8 {
    if application.is_empty() {
        tokio::select! {
            signal = signals.next(reloader) => tracing::info!(?signal, "ending after the requests in flight"),
            () = engine.end_asked() => tracing::info!("asked to end; ending after the requests in flight"),
        }
        return 0;
    }
    let mut child = match start(application) {
        Ok(child) => child,
        Err(error) => {
            tracing::error!(%error, "the application cannot be started");
            return if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        }
    };
    let mut asked = false;
    loop {
        tokio::select! {
            end = child.wait() => {
                tracing::info!(?end, "the application has ended; ending after the requests in flight");
                return end.map_or(1, exit_code);
            }
            signal = signals.next(reloader) => hand_on(&child, signal),
            () = engine.end_asked(), if !asked => {
                asked = true;
                hand_on(&child, Signal::TERM);
            }
        }
    }
}

fn start(command: &[OsString]) -> io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let child = Command::new(program).args(arguments).spawn()?;
    tracing::info!(program = %program.display(), pid = child.id(), "the application has been started");
    Ok(child)
}

/// What a terminal sends, it has sent to the application too.
fn hand_on(child: &Child, signal: Signal) {
    if signal == Signal::INT && io::stdin().is_terminal() {
        return;
    }
    // there is no id once it has been waited for, so that no other process can have got it
    let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, signal)) {
        tracing::warn!(%error, ?signal, "a signal could not be handed on to the application");
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
