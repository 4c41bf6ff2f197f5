//! What is known of a prefix, and what of it is believed: the decisions, without I/O.

use crate::value;
use mesh_core::{Address, Nanos, Target, Update};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    time::Duration,
};

/// A place in the history of a store. In one history none of the numbers ever goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which cluster it is.
    pub(crate) cluster: u64,
    /// Grows with every election.
    pub(crate) term: u64,
    /// Grows with every change.
    pub(crate) revision: i64,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// The revision it was changed in last.
    pub(crate) revision: i64,
}

/// All keys under the prefix at a mark.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) mark: Mark,
    pub(crate) entries: Vec<Entry>,
}

/// A change of one key.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Entry),
    Delete(Vec<u8>),
}

/// The endpoints under a prefix.
///
/// What a snapshot lacks is gone, with two exceptions: it is *held*, where the store has lost its history (another
/// cluster, or a number that went back), and where nothing at all is left under the prefix.
pub(crate) struct View {
    grace: Duration,
    members: BTreeMap<Vec<u8>, Member>,
    /// The keys of each address: those that are there before those that are held, then by key. The first one counts.
    holders: HashMap<Address, BTreeSet<(bool, Vec<u8>)>>,
    mark: Option<Mark>,
    hold: Option<Hold>,
}

struct Member {
    /// What the key says, or said when it was readable last.
    target: Option<Target>,
    revision: i64,
    /// Whether the store does not have it any more.
    held: bool,
}

/// Until when members are held.
#[derive(Clone, Copy)]
struct Hold {
    /// Whether the store has lost its history: then they are held at least until something new is there.
    lost: bool,
    until: Option<Nanos>,
}

impl View {
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace, members: BTreeMap::new(), holders: HashMap::new(), mark: None, hold: None }
    }

    /// When [`View::release`] should be called.
    pub(crate) fn release_at(&self) -> Option<Nanos> {
        self.hold.and_then(|hold| hold.until)
    }

    /// Takes all that the store has, and says what there is.
    pub(crate) fn snapshot(&mut self, snapshot: Snapshot, now: Nanos) -> Update {
        let Snapshot { mark, entries } = snapshot;
        let lost = self.lost_history(&mark, &entries);
        let emptied = entries.is_empty() && self.any_live();
        let mut before = mem::take(&mut self.members);
        self.holders.clear();
        for entry in entries {
            let known = before.remove(&entry.key);
            self.insert(entry, known);
        }
        let suspect = lost || emptied;
        for (key, mut member) in before {
            if (suspect || member.held) && member.target.is_some() {
                member.held = true;
                self.place(key, member);
            }
        }
        self.mark = Some(mark);
        self.hold(suspect.then_some(lost), now);
        if suspect && let Some(hold) = self.hold {
            tracing::warn!(
                held = self.members.values().filter(|member| member.held).count(),
                history_lost = hold.lost,
                "etcd lacks endpoints that it had; they are held for a while"
            );
        }
        let winners = self.members.iter().filter(|(key, member)| self.counts(key, member));
        Update::Set(winners.filter_map(|(_, member)| member.target.clone()).collect())
    }

    /// Takes changes that the store tells, up to `mark`, and says what comes of them.
    pub(crate) fn changes(&mut self, mark: Mark, changes: Vec<Change>, now: Nanos) -> Option<Update> {
        let mut touched = BTreeSet::new();
        for change in changes {
            let key = match &change {
                Change::Put(entry) => entry.key.clone(),
                Change::Delete(key) => key.clone(),
            };
            let known = self.remove(&key);
            touched.extend(known.as_ref().and_then(Member::address).cloned());
            if let Change::Put(entry) = change {
                self.insert(entry, known);
                touched.extend(self.members.get(&key).and_then(Member::address).cloned());
            }
        }
        self.mark = Some(mark);
        self.hold(None, now);
        self.change(touched)
    }

    /// Lets go of what was held for long enough, and says what comes of it.
    pub(crate) fn release(&mut self, now: Nanos) -> Option<Update> {
        let hold = self.hold.filter(|hold| hold.until.is_some_and(|until| until <= now))?;
        if hold.lost && !self.any_live() {
            // what had appeared has gone again: it is no more than the beginning of a new set
            self.hold = Some(Hold { until: None, ..hold });
            return None;
        }
        let held: Vec<_> = self.members.iter().filter(|(_, member)| member.held).map(|(key, _)| key.clone()).collect();
        tracing::info!(released = held.len(), "endpoints that etcd lacks have not come back and are let go");
        let mut touched = BTreeSet::new();
        for key in held {
            touched.extend(self.remove(&key).as_ref().and_then(Member::address).cloned());
        }
        self.hold = None;
        self.change(touched)
    }

    /// Whether this is another history than the one known until now.
    fn lost_history(&self, mark: &Mark, entries: &[Entry]) -> bool {
        let Some(known) = self.mark else { return false };
        mark.cluster != known.cluster
            || mark.term < known.term
            || mark.revision < known.revision
            || entries.iter().any(|entry| {
                let member = self.members.get(&entry.key);
                member.is_some_and(|member| !member.held && entry.revision < member.revision)
            })
    }

    /// Settles until when members are held; `fresh` when a snapshot has just been found suspect, with whether its
    /// history was lost.
    fn hold(&mut self, fresh: Option<bool>, now: Nanos) {
        if fresh.is_none() && self.hold.is_none() {
            return;
        }
        if !self.members.values().any(|member| member.held) {
            self.hold = None;
            return;
        }
        let lost = fresh.unwrap_or(false) || self.hold.is_some_and(|hold| hold.lost);
        let begun = if fresh.is_some() { None } else { self.hold.and_then(|hold| hold.until) };
        let until = match begun {
            None if lost && !self.any_live() => None,
            None => Some(now.plus(self.grace)),
            begun => begun,
        };
        self.hold = Some(Hold { lost, until });
    }

    fn any_live(&self) -> bool {
        self.members.values().any(|member| !member.held && member.target.is_some())
    }

    /// What there is now at these addresses.
    fn change(&self, touched: BTreeSet<Address>) -> Option<Update> {
        let (mut upsert, mut remove) = (Vec::new(), Vec::new());
        for address in touched {
            let first = self.holders.get(&address).and_then(BTreeSet::first);
            match first.and_then(|(_, key)| self.members.get(key)?.target.clone()) {
                Some(target) => upsert.push(target),
                None => remove.push(address),
            }
        }
        (!upsert.is_empty() || !remove.is_empty()).then_some(Update::Change { upsert, remove })
    }

    /// Whether this member is the one that counts for its address.
    fn counts(&self, key: &[u8], member: &Member) -> bool {
        let holders = member.address().and_then(|address| self.holders.get(address));
        holders.and_then(BTreeSet::first).is_some_and(|(_, first)| first == key)
    }

    /// Takes an entry that the store has, in place of what was known of its key.
    fn insert(&mut self, entry: Entry, known: Option<Member>) {
        let Entry { key, value, revision } = entry;
        let target = match value::read(&value) {
            Ok(target) => Some(target),
            Err(error) => {
                if known.as_ref().is_none_or(|known| known.revision != revision) {
                    let key = String::from_utf8_lossy(&key);
                    tracing::warn!(%key, %error, "a value in etcd is no endpoint and is skipped");
                }
                known.and_then(|known| known.target)
            }
        };
        self.place(key, Member { target, revision, held: false });
    }

    fn place(&mut self, key: Vec<u8>, member: Member) {
        if let Some(address) = member.address() {
            self.holders.entry(address.clone()).or_default().insert((member.held, key.clone()));
        }
        self.members.insert(key, member);
    }

    fn remove(&mut self, key: &[u8]) -> Option<Member> {
        let member = self.members.remove(key)?;
        if let Some(address) = member.address()
            && let Some(holders) = self.holders.get_mut(address)
        {
            holders.remove(&(member.held, key.to_vec()));
            if holders.is_empty() {
                self.holders.remove(address);
            }
        }
        Some(member)
    }
}

impl Member {
    fn address(&self) -> Option<&Address> {
        self.target.as_ref().map(|target| &target.address)
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
