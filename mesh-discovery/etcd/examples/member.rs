//! Registers an instance under a prefix in etcd, and prints who is there whenever that changes, until ctrl-c or for a
//! number of changes.
//!
//! ```sh
//! cargo run -p mesh-discovery-etcd --example member -- http://127.0.0.1:2379 /services/demo/ 127.0.0.1:8080 [CHANGES]
//! ```

use mesh_core::{Address, BoxError, Target};
use mesh_discovery::{Discovery, Registrar};
use mesh_discovery_etcd::{Etcd, EtcdRegistrar, EtcdRegistrarSettings, EtcdSettings};
use std::{env, future::poll_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, prefix, address, rest @ ..] = arguments.as_slice() else {
        return Err("wanted: SERVER PREFIX ADDRESS [CHANGES]".into());
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let changes = rest.first().map_or(Ok(usize::MAX), |text| text.parse())?;
    run(server, prefix, address.parse()?, changes).await
}

pub(crate) async fn run(server: &str, prefix: &str, address: Address, changes: usize) -> Result<(), BoxError> {
    let registrar = EtcdRegistrar::new(EtcdRegistrarSettings::new([server], prefix))?;
    let registration = registrar.register(Target::new(address));

    let mut updates = Etcd::new(EtcdSettings::new([server], prefix))?.updates();
    for _ in 0..changes {
        let update = tokio::select! {
            update = poll_fn(|cx| updates.as_mut().poll_next(cx)) => update,
            _ = tokio::signal::ctrl_c() => break,
        };
        match update {
            Some(update) => println!("{update:?}"),
            None => break,
        }
    }
    registration.deregister().await;
    Ok(())
}
