//! The proxies, and how each is run with its settings of `benches/proxy`.

use std::path::PathBuf;
use std::process::Command;

use super::process::{folder, target_program};
use super::scenario::Scenario;
use crate::command::{output, peers, root};

/// The one that ratios are to.
pub(super) const REFERENCE: &str = "haproxy";

pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    program: Program,
    settings: &'static str,
    /// The settings for a relay of TCP. There is one row for each program: layers are not met there.
    tcp: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Program {
    Mesh,
    Haproxy,
    Nginx,
    Envoy,
}

pub(super) const PEERS: [Peer; 6] = [
    Peer { name: "mesh", title: "mesh", program: Program::Mesh, settings: "mesh.yaml", tcp: Some("mesh-tcp.yaml") },
    Peer { name: "mesh-bare", title: "mesh, no layers", program: Program::Mesh, settings: "mesh-bare.yaml", tcp: None },
    Peer {
        name: REFERENCE,
        title: "HAProxy, same work",
        program: Program::Haproxy,
        settings: "haproxy.cfg",
        tcp: Some("haproxy.cfg"),
    },
    Peer {
        name: "haproxy-plain",
        title: "HAProxy, plain",
        program: Program::Haproxy,
        settings: "haproxy-plain.cfg",
        tcp: None,
    },
    Peer { name: "nginx", title: "nginx", program: Program::Nginx, settings: "nginx.conf", tcp: Some("nginx.conf") },
    Peer { name: "envoy", title: "Envoy", program: Program::Envoy, settings: "envoy.yaml", tcp: Some("envoy.yaml") },
];

impl Peer {
    /// The settings with which it runs a scenario, if it takes part.
    pub(super) fn settings(&self, scenario: &Scenario) -> Option<&'static str> {
        if scenario.is_tcp() { self.tcp } else { Some(self.settings) }
    }

    /// The program and its arguments, on one thread.
    pub(super) fn words(&self, settings: &str) -> Vec<String> {
        let path = path(settings).display().to_string();
        let words = |program: &str, arguments: &[&str]| {
            let arguments = arguments.iter().map(|word| (*word).to_owned());
            std::iter::once(program.to_owned()).chain(arguments).chain([path.clone()]).collect()
        };
        match self.program {
            Program::Mesh => words(&target_program("mesh"), &["run", "--config"]),
            Program::Haproxy => words(HAPROXY, &["-db", "-f"]),
            Program::Nginx => words(NGINX, &["-p", &folder("nginx").display().to_string(), "-c"]),
            Program::Envoy => words(
                &envoy(),
                &["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--config-path"],
            ),
        }
    }

    /// Why this program cannot run these settings, if it cannot: only ours is asked.
    pub(super) fn refuses(&self, settings: &str) -> Option<String> {
        let Program::Mesh = self.program else { return None };
        let report = output(Command::new(target_program("mesh")).arg("check").arg(path(settings))).err()?;
        Some(fault(&report, settings).unwrap_or(&report).to_owned())
    }
}

/// The first fault of a report, without its place: lines begin with `PATH:LINE:COLUMN: `.
fn fault<'a>(report: &'a str, settings: &str) -> Option<&'a str> {
    let begin = format!("{settings}:");
    let (_, place_and_fault) = report.lines().find_map(|line| line.split_once(&begin))?;
    place_and_fault.split_once(": ").map(|(_, fault)| fault)
}

const HAPROXY: &str = "/usr/sbin/haproxy";
const NGINX: &str = "/usr/sbin/nginx";

fn envoy() -> String {
    peers().join("compare/bin/envoy").display().to_string()
}

/// A file of the folder of settings.
fn path(settings: &str) -> PathBuf {
    root().join("benches/proxy").join(settings)
}

/// The endpoints.
pub(super) fn origin() -> Vec<String> {
    let (prefix, settings) = (folder("origin"), path("origin.nginx.conf"));
    vec![
        NGINX.to_owned(),
        "-p".to_owned(),
        prefix.display().to_string(),
        "-c".to_owned(),
        settings.display().to_string(),
    ]
}

/// Which versions were compared.
pub(super) fn versions() -> Result<String, String> {
    let first = |text: String| text.lines().next().unwrap_or_default().trim().to_owned();
    let mesh = first(output(Command::new(target_program("mesh")).arg("--version"))?);
    let haproxy = first(output(Command::new(HAPROXY).arg("-v"))?);
    let haproxy = haproxy.split_once(" - ").map_or(haproxy.as_str(), |(version, _)| version);
    let envoy = output(Command::new(envoy()).arg("--version"))?;
    let envoy = envoy.rsplit('/').find(|part| part.contains('.')).unwrap_or("unknown").to_owned();
    // nginx says it on its standard error
    let nginx = Command::new(NGINX).arg("-v").output().map_err(|error| format!("nginx: {error}"))?;
    let nginx = String::from_utf8_lossy(&nginx.stderr).trim().replace("nginx version: nginx/", "");
    Ok(format!("{mesh}, {haproxy}, nginx {nginx}, Envoy {envoy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scenario::{ORIGINS, SCENARIOS};
    use std::fs;

    #[test]
    fn the_fault_of_a_refusal_is_the_first_of_its_report() {
        let report =
            "`mesh check a/x.yaml` ended with exit status: 1\na/x.yaml:7:5: relay: unknown key `cluster`\n  |\n";
        assert_eq!(fault(report, "x.yaml"), Some("relay: unknown key `cluster`"));
        assert_eq!(fault("cannot be run", "x.yaml"), None);
    }

    #[test]
    fn every_peer_listens_where_the_scenarios_ask_and_knows_the_endpoints() {
        for (peer, scenario) in PEERS.iter().flat_map(|peer| SCENARIOS.iter().map(move |scenario| (peer, scenario))) {
            let Some(settings) = peer.settings(scenario) else { continue };
            let text = fs::read_to_string(path(settings)).unwrap();
            assert!(text.contains(&scenario.port.to_string()), "{settings}, {}", scenario.port);
            assert!(ORIGINS[..3].iter().all(|port| text.contains(&port.to_string())), "{settings}");
        }
        let origin = fs::read_to_string(path("origin.nginx.conf")).unwrap();
        assert!(ORIGINS.iter().all(|port| origin.contains(&port.to_string())));
    }
}
