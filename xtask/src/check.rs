//! The targets that decide whether main is good.

use std::process::Command;

use crate::command::{cargo, output, root, run};
use crate::setup;
use crate::step::{Outcome, Steps};
use crate::team;

/// Every test of the workspace, and before it what the tests need.
pub(crate) fn test(steps: &mut Steps) {
    steps.run("set-up", setup::tests);
    // One build serves unit, integration, example and interop tests and loom models alike: all features are on, among
    // them mesh-bin's `interop`. Built first, so that the time of either is seen.
    let tests = ["test", "--workspace", "--all-features"];
    steps.run("build of the tests", || run(cargo(tests).arg("--no-run")));
    steps.run("tests", || run(cargo(tests).arg("--no-fail-fast")));
}

/// The interop tests alone.
pub(crate) fn interop(steps: &mut Steps) {
    steps.run("set-up", setup::tests);
    let packages = ["mesh-bin", "mesh-discovery-dns", "mesh-discovery-etcd"].into_iter();
    let packages = packages.flat_map(|package| ["--package", package]);
    steps.run("interop tests", || {
        // through two sidecars in a row as well
        run(cargo(["test", "--all-features", "--tests"]).args(packages).env("MESH_TWO_SIDECARS", "1"))
    });
}

/// What a team sees that takes two crates, and one that adds a layer to the sidecar.
pub(crate) fn team(steps: &mut Steps) {
    steps.run("a team's view", team::team);
    steps.run("a layer of one's own", team::custom_layer);
}

/// Formatting and lints.
pub(crate) fn lint(steps: &mut Steps) {
    steps.run("fmt", || run(&mut cargo(["fmt", "--all", "--check"])));
    steps.run("clippy", || {
        run(&mut cargo(["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"]))
    });
}

/// The documentation; a broken link is an error.
pub(crate) fn doc(steps: &mut Steps) {
    steps.run("doc", || {
        run(cargo(["doc", "--workspace", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "--deny warnings"))
    });
}

/// What may be depended on, by `deny.toml`: licences, bans, sources.
pub(crate) fn deny(steps: &mut Steps) {
    steps.run("dependencies", || denied(&["bans", "licenses", "sources"]));
}

/// What is known against the versions in the lock file. Its verdict changes though nothing here does, and its database is
/// at GitHub, so it is no part of `ci`.
pub(crate) fn advisories(steps: &mut Steps) {
    steps.run("advisories", || denied(&["advisories"]));
}

fn denied(checks: &[&str]) -> Outcome {
    let program = setup::deny()?;
    run(Command::new(program).current_dir(root()).args(["check", "--hide-inclusion-graph"]).args(checks))
}

/// Every crate as it would be published, built from its package, in the order that they depend on each other; nothing is
/// sent.
pub(crate) fn publish(steps: &mut Steps) {
    steps.run("publish, dry", || run(&mut cargo(["publish", "--workspace", "--dry-run", "--allow-dirty"])));
}

/// Each crate alone, with none of its features and with all of them.
///
/// A workspace build unites the features of all members, and so hides a crate that only compiles
/// because of its neighbours.
pub(crate) fn features(steps: &mut Steps) {
    steps.run("each crate alone", || {
        let mut failed = Vec::new();
        for package in members()? {
            for features in ["--no-default-features", "--all-features"] {
                let mut command = cargo(["check", "--quiet", "--package", &package, features]);
                if let Err(why) = run(&mut command) {
                    failed.push(why);
                }
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    });
}

/// Names of the workspace's members.
fn members() -> Result<Vec<String>, String> {
    let tree = output(&mut cargo(["tree", "--workspace", "--depth", "0", "--prefix", "none"]))?;
    Ok(tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

/// All of the above: what `.ci/run` calls.
pub(crate) fn ci(steps: &mut Steps) {
    test(steps);
    team(steps);
    deny(steps);
    lint(steps);
    doc(steps);
    features(steps);
}
