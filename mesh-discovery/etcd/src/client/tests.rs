//! The client against a real etcd, where discovery itself cannot bring it to order.

use super::*;
use crate::{EtcdSettings, source, view::View};
use mesh_core::Update;
use mesh_core::time::now;
use std::future::poll_fn;

#[path = "../../tests/support/mod.rs"]
mod support;

async fn connect(peer: &support::Peer) -> Client {
    Client::connect(&peer.url(), &EtcdSettings::new([peer.url()], "/a/").access()).await.unwrap()
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_asks_anew_and_drops_nothing() {
    let peer = support::Peer::start();
    peer.put("/a/1", "10.0.0.1:1");
    let client = connect(&peer).await;
    let old = client.range(b"/a/").await.unwrap();
    let from = old.mark.revision + 1;
    peer.put("/a/2", "10.0.0.1:2");
    peer.put("/a/3", "10.0.0.1:3");
    let revision = peer.revision().to_string();
    peer.ctl(["compact", &revision]);

    // as if the watch had been slow to begin
    let mut updates = mesh_discovery::updates(async move |say| {
        let mut view = View::new(Duration::from_secs(60));
        say.update(view.snapshot(old, now()));
        source::watch(&client, "/a/", from, &mut view, &say).await.unwrap();
        say.update(view.snapshot(client.range(b"/a/").await.unwrap(), now()));
    });
    let mut seen = Vec::new();
    while let Some(update) = poll_fn(|cx| updates.as_mut().poll_next(cx)).await {
        match update {
            Update::Set(targets) => seen.push(targets.len()),
            Update::Change { .. } => panic!("{update:?}"),
        }
    }
    assert_eq!(seen, [1, 3]);
}

#[tokio::test]
async fn a_watch_tells_everything_from_its_revision_on() {
    let peer = support::Peer::start();
    peer.put("/a/1", "x");
    let client = connect(&peer).await;
    let snapshot = client.range(b"/a/").await.unwrap();
    assert_eq!(snapshot.entries.len(), 1);
    peer.put("/b/1", "not asked for");
    peer.put("/a/2", "y");
    peer.delete("/a/1");
    let mut watch = client.watch(b"/a/", snapshot.mark.revision + 1).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 2 {
        match watch.next().await.unwrap() {
            Watched::Changes(mark, changes) => {
                assert_eq!((mark.cluster, mark.revision), (snapshot.mark.cluster, snapshot.mark.revision + 3));
                heard.extend(changes);
            }
            Watched::Compacted => panic!("nothing was compacted"),
        }
    }
    let entry = Entry { key: b"/a/2".into(), value: b"y".into(), revision: snapshot.mark.revision + 2 };
    assert!(matches!(&heard[0], Change::Put(put) if *put == entry), "{heard:?}");
    assert!(matches!(&heard[1], Change::Delete(key) if key == b"/a/1"), "{heard:?}");
}

#[tokio::test]
async fn a_lease_is_granted_kept_and_revoked_by_its_number() {
    let peer = support::Peer::start();
    let client = connect(&peer).await;
    let limit = Duration::from_secs(5);
    assert_eq!(client.keep_alive(77, limit).await.unwrap(), None);
    assert_eq!(client.grant(77, Duration::from_secs(30)).await.unwrap(), Duration::from_secs(30));
    assert_eq!(client.keep_alive(77, limit).await.unwrap(), Some(Duration::from_secs(30)));
    client.put(b"/a/1", b"x", 77).await.unwrap();
    assert_eq!(peer.value("/a/1").as_deref(), Some("x"));
    client.revoke(77).await.unwrap();
    client.revoke(77).await.unwrap();
    assert_eq!(peer.value("/a/1"), None);
    let failure = client.put(b"/a/1", b"x", 77).await.unwrap_err();
    assert!(failure.to_string().contains("lease not found"), "{failure}");
}

#[test]
fn the_end_of_a_prefix() {
    assert_eq!(after_prefix(b"/a/"), b"/a0");
    assert_eq!(after_prefix(b"a\xff\xff"), b"b");
    assert_eq!(after_prefix(b"\xff"), b"\0");
}
