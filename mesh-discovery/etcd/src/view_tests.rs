#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use proptest::{collection::vec, prelude::*};

const GRACE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Nanos {
    Nanos::from_nanos(1).plus(Duration::from_secs(seconds))
}

fn mark(revision: i64) -> Mark {
    Mark { cluster: 7, term: 2, revision }
}

fn address(host: u8) -> Address {
    Address::Tcp(([10, 0, 0, host], 80).into())
}

/// Key `k<key>` with the address of a host.
fn entry(key: u8, host: u8, revision: i64) -> Entry {
    Entry { key: vec![b'k', key], value: format!("10.0.0.{host}:80").into(), revision }
}

fn snapshot(mark: Mark, entries: &[(u8, i64)]) -> Snapshot {
    Snapshot { mark, entries: entries.iter().map(|&(key, revision)| entry(key, key, revision)).collect() }
}

fn delete(key: u8) -> Change {
    Change::Delete(vec![b'k', key])
}

fn set(hosts: &[u8]) -> Update {
    Update::Set(hosts.iter().map(|host| Target::new(address(*host))).collect())
}

fn change(upsert: &[u8], remove: &[u8]) -> Option<Update> {
    let upsert = upsert.iter().map(|host| Target::new(address(*host))).collect();
    Some(Update::Change { upsert, remove: remove.iter().map(|host| address(*host)).collect() })
}

/// One that has heard of 1, 2 and 3 at revision 10.
fn view() -> View {
    let mut view = View::new(GRACE);
    assert_eq!(view.snapshot(snapshot(mark(10), &[(1, 5), (2, 6), (3, 7)]), at(0)), set(&[1, 2, 3]));
    view
}

#[test]
fn nothing_at_first_is_an_answer() {
    let mut view = View::new(GRACE);
    assert_eq!(view.snapshot(snapshot(mark(1), &[]), at(0)), set(&[]));
    assert_eq!(view.release_at(), None);
    assert_eq!(view.changes(mark(2), vec![Change::Put(entry(1, 1, 2))], at(1)), change(&[1], &[]));
}

#[test]
fn what_a_watch_tells_is_believed_to_the_last() {
    let mut view = view();
    assert_eq!(view.changes(mark(11), vec![delete(2)], at(1)), change(&[], &[2]));
    assert_eq!(view.changes(mark(11), vec![], at(1)), None);
    let moved = vec![Change::Put(entry(1, 9, 12))];
    assert_eq!(view.changes(mark(12), moved, at(1)), change(&[9], &[1]));
    assert_eq!(view.changes(mark(14), vec![delete(1), delete(3)], at(2)), change(&[], &[3, 9]));
    assert_eq!(view.changes(mark(14), vec![delete(1)], at(2)), None);
    assert_eq!(view.release_at(), None);
}

#[test]
fn a_gap_in_one_history_hides_nothing() {
    let mut view = view();
    assert_eq!(view.snapshot(snapshot(mark(20), &[(2, 6), (4, 15)]), at(1)), set(&[2, 4]));
    let elected = Mark { term: 3, ..mark(20) };
    assert_eq!(view.snapshot(snapshot(elected, &[(4, 15)]), at(1)), set(&[4]));
    assert_eq!(view.release_at(), None);
}

#[test]
fn nothing_left_is_believed_after_the_grace() {
    let mut view = view();
    assert_eq!(view.snapshot(snapshot(mark(30), &[]), at(100)), set(&[1, 2, 3]));
    assert_eq!(view.release_at(), Some(at(160)));
    assert_eq!(view.snapshot(snapshot(mark(30), &[]), at(120)), set(&[1, 2, 3]), "as empty as before");
    assert_eq!(view.release_at(), Some(at(160)));
    assert_eq!(view.release(at(159)), None);
    assert_eq!(view.release(at(160)), change(&[], &[1, 2, 3]));
    assert_eq!((view.release_at(), view.release(at(200))), (None, None));
}

#[test]
fn a_history_that_began_anew_takes_nothing_away_until_something_is_there() {
    let mut view = view();
    assert_eq!(view.snapshot(snapshot(mark(1), &[]), at(100)), set(&[1, 2, 3]));
    assert_eq!(view.release_at(), None, "without limit");
    assert_eq!(view.snapshot(snapshot(mark(1), &[]), at(9000)), set(&[1, 2, 3]));

    assert_eq!(view.changes(mark(2), vec![Change::Put(entry(2, 2, 2))], at(10_000)), change(&[2], &[]));
    assert_eq!(view.release_at(), Some(at(10_060)));
    assert_eq!(view.changes(mark(3), vec![Change::Put(entry(5, 5, 3))], at(10_050)), change(&[5], &[]));
    assert_eq!(view.release(at(10_060)), change(&[], &[1, 3]));
    assert_eq!(view.snapshot(snapshot(mark(3), &[(2, 2), (5, 3)]), at(10_070)), set(&[2, 5]));
}

#[test]
fn what_appeared_and_went_again_is_no_new_set() {
    let mut view = view();
    view.snapshot(snapshot(mark(1), &[]), at(0));
    view.changes(mark(2), vec![Change::Put(entry(9, 9, 2))], at(10));
    assert_eq!(view.changes(mark(3), vec![delete(9)], at(20)), change(&[], &[9]));
    assert_eq!(view.release(at(70)), None);
    assert_eq!(view.release_at(), None);
    view.changes(mark(4), vec![Change::Put(entry(9, 9, 4))], at(100));
    assert_eq!(view.release(at(160)), change(&[], &[1, 2, 3]));
}

#[test]
fn every_number_that_goes_back_tells_of_a_lost_history() {
    for (mark, first) in [
        (Mark { revision: 9, ..mark(0) }, 5),
        (Mark { term: 1, ..mark(20) }, 5),
        (Mark { cluster: 8, ..mark(20) }, 5),
        (mark(20), 4),
    ] {
        let mut view = view();
        assert_eq!(view.snapshot(snapshot(mark, &[(1, first), (4, 8)]), at(0)), set(&[1, 2, 3, 4]), "{mark:?}");
        assert_eq!(view.release(at(60)), change(&[], &[2, 3]));
    }
}

#[test]
fn all_back_is_all_well() {
    let mut view = view();
    view.snapshot(snapshot(mark(1), &[(1, 1)]), at(0));
    assert_eq!(view.snapshot(snapshot(mark(4), &[(1, 1), (2, 2), (3, 3)]), at(5)), set(&[1, 2, 3]));
    assert_eq!(view.release_at(), None);
}

#[test]
fn an_endpoint_under_two_keys_leaves_with_the_last() {
    let mut view = View::new(GRACE);
    let weighted = |weight| format!(r#"{{"address":"10.0.0.1:80","weight":{weight}}}"#).into_bytes();
    let put = |key, weight, revision| Change::Put(Entry { key: vec![b'k', key], value: weighted(weight), revision });
    let weight = |update: Option<Update>| match update {
        Some(Update::Change { upsert, .. }) => upsert[0].weight,
        other => panic!("{other:?}"),
    };
    view.snapshot(snapshot(mark(1), &[]), at(0));
    assert_eq!(weight(view.changes(mark(2), vec![put(2, 20, 2)], at(0))), 20);
    assert_eq!(weight(view.changes(mark(3), vec![put(1, 10, 3)], at(0))), 10, "the first key counts");
    assert_eq!(weight(view.changes(mark(4), vec![delete(1)], at(0))), 20);
    // after a loss, what is there counts before what is held
    view.snapshot(Snapshot { mark: mark(1), entries: vec![] }, at(0));
    assert_eq!(weight(view.changes(mark(2), vec![put(3, 30, 2)], at(0))), 30);
    assert_eq!(weight(view.release(at(60))), 30);
}

#[test]
fn a_bad_value_is_skipped_and_a_good_one_before_it_stays() {
    let mut view = view();
    let bad = |key, revision| Entry { key: vec![b'k', key], value: b"oh".to_vec(), revision };
    let changes = vec![Change::Put(bad(1, 11)), Change::Put(bad(5, 12)), Change::Put(entry(6, 6, 13))];
    assert_eq!(view.changes(mark(13), changes, at(0)), change(&[1, 6], &[]));
    let entries = vec![bad(1, 11), bad(5, 12), entry(6, 6, 13)];
    assert_eq!(view.snapshot(Snapshot { mark: mark(13), entries }, at(0)), set(&[1, 6]));
    assert_eq!(view.changes(mark(15), vec![delete(1), delete(5)], at(0)), change(&[], &[1]));
}

/// What happens to a store, seen from one who watches it.
#[derive(Clone, Debug)]
enum Event {
    /// Key, host.
    Put(u8, u8),
    Bad(u8),
    Delete(u8),
    /// The same while nobody hears it.
    Unheard(Vec<(u8, Option<u8>)>),
    /// All data is gone.
    Lost,
    /// Seconds.
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (key, host) = (0_u8..6, 0_u8..6);
    vec(
        prop_oneof![
            4 => (key.clone(), host.clone()).prop_map(|(key, host)| Event::Put(key, host)),
            1 => key.clone().prop_map(Event::Bad),
            3 => key.clone().prop_map(Event::Delete),
            2 => vec((key, proptest::option::of(host)), 0..6).prop_map(Event::Unheard),
            1 => Just(Event::Lost),
            2 => (0_u64..90).prop_map(Event::Pass),
        ],
        1..60,
    )
}

proptest! {
    /// Whatever happens: what the updates add up to is what the store has, and what is held; an address that was good
    /// never goes without a deletion that was heard or a grace that has passed.
    #[test]
    fn the_updates_add_up(events in events()) {
        let mut view = View::new(GRACE);
        let mut store = BTreeMap::<u8, (Option<u8>, i64)>::new();
        let mut known = BTreeMap::<u8, u8>::new(); // the last good host of each key, as far as heard
        let (mut revision, mut now) = (1, 0);
        let mut told = BTreeSet::<Address>::new();
        let mut apply = |update: Option<Update>| -> BTreeSet<Address> {
            match update {
                None => {}
                Some(Update::Set(targets)) => {
                    let addresses: BTreeSet<_> = targets.iter().map(|target| target.address.clone()).collect();
                    assert_eq!(addresses.len(), targets.len(), "an address twice");
                    told = addresses;
                }
                Some(Update::Change { upsert, remove }) => {
                    assert!(!upsert.is_empty() || !remove.is_empty());
                    told.extend(upsert.into_iter().map(|target| target.address));
                    remove.iter().for_each(|address| assert!(told.remove(address), "{address} was not there"));
                }
            }
            told.clone()
        };
        let all = |store: &BTreeMap<u8, (Option<u8>, i64)>, revision| Snapshot {
            mark: mark(revision),
            entries: store.iter().map(|(key, (host, revision))| match host {
                Some(host) => entry(*key, *host, *revision),
                None => Entry { key: vec![b'k', *key], value: vec![], revision: *revision },
            }).collect(),
        };
        apply(Some(view.snapshot(all(&store, revision), at(now))));
        for event in events {
            let before = apply(None);
            let after = match event {
                Event::Put(key, host) => {
                    revision += 1;
                    store.insert(key, (Some(host), revision));
                    known.insert(key, host);
                    apply(view.changes(mark(revision), vec![Change::Put(entry(key, host, revision))], at(now)))
                }
                Event::Bad(key) => {
                    revision += 1;
                    store.insert(key, (None, revision));
                    // what it said before stays, also when that was held
                    if let Some(Address::Tcp(was)) = view.members.get(&[b'k', key][..]).and_then(Member::address) {
                        let std::net::IpAddr::V4(ip) = was.ip() else { unreachable!("all are of version 4") };
                        known.insert(key, ip.octets()[3]);
                    }
                    let bad = Entry { key: vec![b'k', key], value: vec![], revision };
                    let after = apply(view.changes(mark(revision), vec![Change::Put(bad)], at(now)));
                    prop_assert_eq!(&before, &after);
                    after
                }
                Event::Delete(key) => {
                    if store.remove(&key).is_none() {
                        continue; // etcd tells of nothing then
                    }
                    revision += 1;
                    known.remove(&key);
                    apply(view.changes(mark(revision), vec![delete(key)], at(now)))
                }
                Event::Unheard(changes) => {
                    for (key, host) in changes {
                        revision += 1;
                        match host {
                            Some(host) => drop(store.insert(key, (Some(host), revision))),
                            None => drop(store.remove(&key)),
                        }
                    }
                    let after = apply(Some(view.snapshot(all(&store, revision), at(now))));
                    if store.is_empty() {
                        prop_assert_eq!(&before, &after, "nothing left is not believed at once");
                    }
                    known.retain(|key, _| store.contains_key(key));
                    known.extend(store.iter().filter_map(|(key, (host, _))| Some((*key, (*host)?))));
                    after
                }
                Event::Lost => {
                    store.clear();
                    known.clear();
                    revision = 1;
                    let after = apply(Some(view.snapshot(all(&store, revision), at(now))));
                    prop_assert_eq!(&before, &after, "a loss takes nothing away");
                    after
                }
                Event::Pass(seconds) => {
                    now += seconds;
                    let due = view.release_at().is_some_and(|release| release <= at(now));
                    let after = apply(view.release(at(now)));
                    prop_assert!(due || before == after);
                    after
                }
            };
            let there: BTreeSet<_> = known.values().map(|host| address(*host)).collect();
            prop_assert!(there.is_subset(&after), "{:?} of {:?}", after, there);
            if view.members.values().all(|member| !member.held) {
                prop_assert_eq!(&there, &after);
            }
        }
    }
}
