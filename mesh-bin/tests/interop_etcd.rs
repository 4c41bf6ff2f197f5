//! The sidecar with a real etcd: endpoints that come and go under load, and its own registration.

#[path = "../../mesh-discovery/etcd/tests/support/mod.rs"]
mod etcd;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    thread,
};

use etcd::Peer;
use support::origin::{Origin, ok};
use support::{Mesh, eventually, free_port, http1};

/// Asks without a pause until it is stopped; counts what is no 200.
struct Load {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU32>,
    thread: thread::JoinHandle<u32>,
}

impl Load {
    fn start(port: u16) -> Load {
        let (stop, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (stopped, failures) = (stop.clone(), failed.clone());
        let thread = thread::spawn(move || {
            let mut asked = 0;
            while !stopped.load(Relaxed) {
                let good = http1::try_get(port, "/").is_ok_and(|response| response.status == 200);
                failures.fetch_add(u32::from(!good), Relaxed);
                asked += 1;
            }
            asked
        });
        Load { stop, failed, thread }
    }

    /// How many failed, of how many.
    fn end(self) -> (u32, u32) {
        self.stop.store(true, Relaxed);
        let asked = self.thread.join().expect("no panic");
        (self.failed.load(Relaxed), asked)
    }
}

#[test]
fn endpoints_come_and_go_under_load_and_the_registration_with_the_sidecar() {
    let mut etcd = Peer::start_on(free_port);
    let origins = ["one", "two", "three"].map(|name| Origin::start(move |_| ok(name)));
    let address = |index: usize| format!("127.0.0.1:{}", origins[index].port);
    let port = free_port();
    etcd.put("/services/app/a", &address(0));
    let mesh = Mesh::start(&format!(
        r#"
workers: 2
listeners:
  web:
    bind: "127.0.0.1:{port}"
    routes: [ {{ cluster: app }} ]
clusters:
  app:
    discovery: {{ etcd: {{ endpoints: ["{0}"], prefix: /services/app/ }} }}
    load_balancer: random
registrations:
  me: {{ with: {{ etcd: {{ endpoints: ["{0}"], prefix: /services/mesh/ }} }}, instance: "127.0.0.1:{port}" }}
"#,
        etcd.url()
    ));
    let registered = format!("/services/mesh/127.0.0.1:{port}");
    let shows = |name: &str| eventually(name, || http1::get(port, "/").text() == name);
    shows("one");
    eventually("the registration appears", || etcd.keys("/services/mesh/").contains(&registered));

    let load = Load::start(port);
    // added, changed, removed
    etcd.put("/services/app/b", &format!(r#"{{"address":"{}","weight":3}}"#, address(1)));
    shows("two");
    etcd.put("/services/app/a", &address(2));
    shows("three");
    eventually("one has gone", || {
        let page = mesh.page("/clusters");
        page.contains(&address(2)) && !page.contains(&address(0))
    });
    etcd.delete("/services/app/b");
    eventually("two has gone", || !mesh.page("/clusters").contains(&address(1)));
    // killed, and back with its data: what was good stays, and goes on
    etcd.restart();
    etcd.put("/services/app/b", &address(1));
    shows("two");
    // back without its data: traffic goes on to the last good set, and the registration is made anew
    etcd.restart_empty();
    eventually("it registers again", || etcd.keys("/services/mesh/").contains(&registered));
    shows("three");
    let (failed, asked) = load.end();
    assert_eq!(failed, 0, "of {asked}");
    assert!(asked > 100, "{asked}");

    mesh.stop();
    assert!(!etcd.keys("/services/mesh/").contains(&registered), "taken back at the drain");
}
