use crate::{At, Code, Context, End, Head, Hears, Name, Outcome, Rejection, Side, Ticket, Verdict, Watch, time};
use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as Cx, Poll},
    time::Duration,
};

/// A ticket in a list: the number of its gate in its owner, and what the gate keeps. [`ENDED`]: it has ended.
pub(crate) type Slot = (u32, Ticket);
pub(crate) const ENDED: u32 = u32::MAX;

/// Whoever gave out tickets: one watcher, or a whole run of gates. One virtual call per owner, not per gate.
pub(crate) trait Owner: Send + Sync {
    /// Tells the head to those that hear it, and ends what ends here: the slot is marked [`ENDED`]. Whether any did.
    fn respond(&self, slots: &mut [Slot], head: &mut dyn Head, end: &End<'_>) -> bool;
    /// Ends these tickets. A watcher that panics is reported, the others hear their end all the same.
    fn finish(&self, slots: &[Slot], end: &End<'_>);
    /// What it wants at a head.
    fn wants(&self) -> Wants;
    /// The longest hold of this gate's tickets.
    fn longest_hold(&self, gate: u32) -> Option<Duration>;
}

/// What an owner of tickets wants when there is a head: kept beside it, so that those who want nothing are not called.
#[derive(Clone, Copy)]
pub(crate) struct Wants {
    /// To be told it.
    pub(crate) head: bool,
    /// To have some tickets ended after their longest hold.
    pub(crate) hold: bool,
}

impl<W: Watch> Owner for W {
    fn respond(&self, slots: &mut [Slot], head: &mut dyn Head, end: &End<'_>) -> bool {
        let hears = self.hears();
        for (gate, ticket) in slots {
            if hears != Hears::End {
                guarded(|| Name::NONE, || self.on_response(ticket, head));
            }
            if hears == Hears::Response {
                *gate = ENDED;
                guarded(|| Name::NONE, || self.on_end(*ticket, end));
            }
        }
        hears == Hears::Response
    }

    fn finish(&self, slots: &[Slot], end: &End<'_>) {
        for (gate, ticket) in slots {
            if *gate != ENDED {
                guarded(|| Name::NONE, || self.on_end(*ticket, end));
            }
        }
    }

    fn wants(&self) -> Wants {
        Wants { head: self.hears() != Hears::End, hold: Watch::longest_hold(self).is_some() }
    }

    fn longest_hold(&self, _: u32) -> Option<Duration> {
        Watch::longest_hold(self)
    }
}

/// Tells a watcher something. Ends are told in destructors, often while a panic is under way already: a second one
/// would end the process and take the other tickets with it, so it is caught and reported. Nor does a request fail
/// because one who only watches does.
#[inline]
pub(crate) fn guarded(layer: impl FnOnce() -> Name, tell: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell)).is_err() {
        report_panic(layer());
    }
}

#[cold]
#[inline(never)]
fn report_panic(layer: Name) {
    tracing::error!(layer = layer.as_str(), "a layer panicked when it was told how a request went on");
}

/// Runs `poll`; if it panics, what is open ends there: whoever catches the panic may drop the rest much later, when
/// nothing tells a panic from a cancelled call.
#[inline(always)]
pub(crate) fn ends_if_it_panics<T: Default, A>(open: &mut T, poll: impl FnOnce() -> A) -> A {
    struct Unwinding<'a, T: Default>(&'a mut T);
    impl<T: Default> Drop for Unwinding<'_, T> {
        fn drop(&mut self) {
            drop(std::mem::take(self.0));
        }
    }
    let unwinding = Unwinding(open);
    let result = poll();
    std::mem::forget(unwinding);
    result
}

/// What a response's head said.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    outcome: Option<Outcome>,
    side: Side,
    code: Code,
}

impl Seen {
    pub(crate) fn of(head: &dyn Head) -> Self {
        let (outcome, code) = head.outcome_and_code();
        Self { outcome, side: head.side(), code }
    }

    /// The verdict if the call ends here; a head that could not tell counts as `or`.
    pub(crate) fn verdict(self, or: Outcome) -> Verdict {
        Verdict { outcome: self.outcome.unwrap_or(or), side: self.side, code: self.code }
    }
}

/// Says in a head that these layers would have refused, outermost first, beside those further in that have said so.
#[cold]
pub(crate) fn mark_shadows(head: &mut dyn Head, layers: &[Name]) {
    const SHADOW: &str = "x-mesh-shadow";
    let mut marks: Vec<&str> =
        layers.iter().map(|layer| if layer.is_none() { "unnamed" } else { layer.as_str() }).collect();
    let further_in = head.get(SHADOW).map(|value| String::from_utf8_lossy(value).into_owned());
    marks.extend(further_in.as_deref());
    let marks = marks.join(",");
    head.set(SHADOW, marks.as_bytes());
}

/// Something that goes on while a body does, and may end it: total and idle timeouts, throttles, injected resets.
pub trait Tap: Send + Sync {
    /// Before each frame, perhaps more than once. `Ready(Ok)`: go on. `Pending`: wait (a throttle). `Ready(Err)`: the
    /// body is cut off.
    fn poll_frame(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Rejection>>;
    /// While the body has nothing to give: ready when its time has run out.
    fn poll_idle(&mut self, cx: &mut Cx<'_>) -> Poll<Rejection>;
}

/// All that is open on a response: tickets, what the head said, taps. One pointer to a list that is recycled per
/// worker; empty where nobody listens.
///
/// Who writes or reads the body calls [`Guards::end`] or [`Guards::end_well`]. Dropped without it, a head that had
/// failed is a failure (a retry throws such a response away); anything else is what [`drop_as`](crate::drop_as)
/// says, else *cancelled*.
#[derive(Default)]
pub struct Guards(Option<Box<List>>);

#[derive(Default)]
struct List {
    context: Context,
    /// Innermost first.
    owners: Vec<Owned>,
    tickets: Vec<Slot>,
    seen: Option<Seen>,
    bytes: u64,
    rare: Option<Box<Rare>>,
}

/// The tickets of one owner: so many, behind those of the owners before it.
struct Owned {
    owner: Arc<dyn Owner>,
    count: u32,
    wants: Wants,
}

/// What few responses have.
#[derive(Default)]
struct Rare {
    taps: Vec<Box<dyn Tap>>,
    held: Vec<Held>,
    shadows: Vec<Name>,
}

/// A ticket with a longest hold.
struct Held {
    owner: Arc<dyn Owner>,
    slot: Slot,
    until: time::Sleep,
}

/// How many lists a thread keeps for the next requests.
const KEPT: usize = 1024;
/// The boxes are what is recycled.
#[allow(clippy::vec_box)]
type Lists = Vec<Box<List>>;
thread_local!(static FREE: RefCell<Lists> = const { RefCell::new(Vec::new()) });

impl Guards {
    /// Nothing is open.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds a tap.
    pub fn tap(&mut self, tap: Box<dyn Tap>) {
        self.list().rare().taps.push(tap);
    }

    /// Counts bytes of the body that were handed on.
    pub fn add_bytes(&mut self, bytes: usize) {
        if let Some(list) = &mut self.0 {
            list.bytes += bytes as u64;
        }
    }

    /// Asks the taps, and the longest holds, before a frame is taken from the body. `Ready(Some)`: the body is cut off.
    pub fn poll_frame(&mut self, cx: &mut Cx<'_>) -> Poll<Option<Rejection>> {
        let Some(list) = self.0.as_mut().filter(|list| list.rare.is_some()) else { return Poll::Ready(None) };
        // a body that always has something to give is never idle
        list.release_held(cx);
        let Some(rare) = &mut list.rare else { return Poll::Ready(None) };
        for tap in &mut rare.taps {
            match tap.poll_frame(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(rejection)) => return Poll::Ready(Some(rejection)),
                // time runs on while a throttle holds the body back
                Poll::Pending => return self.poll_idle(cx).map_or(Poll::Pending, |cut| Poll::Ready(Some(cut))),
            }
        }
        Poll::Ready(None)
    }

    /// Asks the taps and the longest holds while the body has nothing to give. `Some`: the body is cut off.
    pub fn poll_idle(&mut self, cx: &mut Cx<'_>) -> Option<Rejection> {
        let list = self.0.as_mut()?;
        list.release_held(cx);
        list.rare.as_mut()?.taps.iter_mut().find_map(|tap| match tap.poll_idle(cx) {
            Poll::Ready(rejection) => Some(rejection),
            Poll::Pending => None,
        })
    }

    /// What the head said of the outcome; `None` where it could not tell or there was none.
    pub fn head_outcome(&self) -> Option<Outcome> {
        self.0.as_ref()?.seen?.outcome
    }

    /// The code in the head.
    pub fn head_code(&self) -> Code {
        self.0.as_ref().and_then(|list| list.seen).map_or(Code::None, |seen| seen.code)
    }

    /// The message was read or written to its end: what the head said counts. A head that could not tell is a
    /// failure here: its trailers are missing.
    pub fn end_well(&mut self) {
        if let Some(list) = &self.0 {
            let whole = Seen { outcome: Some(Outcome::Success), side: Side::Upstream, code: Code::None };
            let verdict = list.seen.unwrap_or(whole).verdict(Outcome::Failure);
            self.end(verdict);
        }
    }

    /// Ends everything that is open.
    pub fn end(&mut self, verdict: Verdict) {
        if self.0.is_some() {
            let at = At::unread();
            self.finish(&End::new(verdict, &at, &Context::none()));
        }
    }

    /// The body was cut off by a tap.
    pub fn end_cut(&mut self, rejection: &Rejection) {
        if self.0.is_some() {
            let at = At::unread();
            self.finish(&End::refused(rejection, &at, &Context::none()));
        }
    }

    /// Takes over what is open further out.
    pub fn append(&mut self, mut outer: Guards) {
        match (&mut self.0, outer.0.take()) {
            (_, None) => {}
            (slot @ None, list) => *slot = list,
            (Some(inner), Some(mut list)) => {
                inner.owners.append(&mut list.owners);
                inner.tickets.append(&mut list.tickets);
                if let Some(mut rare) = list.rare.take() {
                    inner.rare().taps.append(&mut rare.taps);
                    inner.rare().held.append(&mut rare.held);
                    inner.rare().shadows.append(&mut rare.shadows);
                }
                // what is open here may have been opened before there was a head
                inner.seen = inner.seen.or(list.seen);
                if !inner.context.is_some() {
                    std::mem::swap(&mut inner.context, &mut list.context);
                }
                recycle(list);
            }
        }
    }

    /// Tells a head to everything here, inside out.
    pub(crate) fn respond(&mut self, head: &mut dyn Head) {
        let Some(list) = &mut self.0 else { return };
        list.respond(head);
        if list.is_idle() {
            self.give_back();
        }
    }

    /// The call was refused further in: a head, the answer to come, and then the end.
    pub(crate) fn refuse(&mut self, rejection: &mut Rejection) {
        if self.0.is_some() {
            self.respond(rejection);
            self.end_cut(rejection);
        }
    }

    /// Remembers what the head of the response said.
    pub(crate) fn see(&mut self, seen: Seen) {
        self.list().seen = Some(seen);
    }

    pub(crate) fn has_seen(&self) -> bool {
        self.0.as_ref().is_some_and(|list| list.seen.is_some())
    }

    /// Opens a ticket of an owner that stands further out than all there are.
    pub(crate) fn open(&mut self, owner: Arc<dyn Owner>, ticket: Ticket, context: &Context) {
        let list = self.list();
        let wants = owner.wants();
        list.owners.push(Owned { owner, count: 1, wants });
        list.tickets.push((0, ticket));
        list.adopt(context);
        if wants.hold {
            list.hold_from(list.owners.len() - 1, list.tickets.len() - 1);
        }
    }

    /// Opens a ticket of the one run that this list belongs to.
    pub(crate) fn open_in_run<O: Owner + 'static>(&mut self, run: &Arc<O>, slot: Slot, context: &Context) {
        let list = self.list();
        match list.owners.first_mut() {
            Some(owned) => owned.count += 1,
            None => {
                list.owners.push(Owned { owner: run.clone(), count: 1, wants: run.wants() });
                list.adopt(context);
            }
        }
        list.tickets.push(slot);
    }

    /// A refusal that was only counted; the head will say so.
    pub(crate) fn mark_shadow(&mut self, layer: Name, context: &Context) {
        let list = self.list();
        list.adopt(context);
        list.rare().shadows.push(layer);
    }

    fn list(&mut self) -> &mut List {
        self.0.get_or_insert_with(|| FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten().unwrap_or_default())
    }

    fn finish(&mut self, end: &End<'_>) {
        let Some(mut list) = self.0.take() else { return };
        list.finish(end);
        recycle(list);
    }

    fn give_back(&mut self) {
        if let Some(list) = self.0.take() {
            recycle(list);
        }
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        if let Some(list) = &self.0 {
            let verdict = match list.seen {
                Some(seen) if seen.outcome == Some(Outcome::Failure) => seen.verdict(Outcome::Failure),
                Some(seen) => Verdict { code: seen.code, ..Verdict::of_drop() },
                None => Verdict::of_drop(),
            };
            self.end(verdict);
        }
    }
}

impl std::fmt::Debug for Guards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open =
            self.0.as_ref().map_or(0, |list| list.tickets.len() + list.rare.as_ref().map_or(0, |rare| rare.held.len()));
        f.debug_struct("Guards").field("open", &open).finish_non_exhaustive()
    }
}

impl List {
    fn adopt(&mut self, context: &Context) {
        if !self.context.is_some() && context.is_some() {
            self.context = context.clone();
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn is_idle(&self) -> bool {
        self.tickets.is_empty() && self.rare.as_ref().is_none_or(|rare| rare.taps.is_empty() && rare.held.is_empty())
    }

    fn respond(&mut self, head: &mut dyn Head) {
        if let Some(rare) = &mut self.rare
            && !rare.shadows.is_empty()
        {
            mark_shadows(head, &std::mem::take(&mut rare.shadows));
        }
        let seen = Seen::of(head);
        self.seen = Some(seen);
        let at = At::unread();
        let end = End::new(seen.verdict(Outcome::Success), &at, &self.context);
        let (mut first, mut ended, mut hold) = (0, false, false);
        for Owned { owner, count, wants } in &self.owners {
            let next = first + *count as usize;
            if wants.head {
                ended |= owner.respond(&mut self.tickets[first..next], head, &end);
            }
            hold |= wants.hold;
            first = next;
        }
        if ended {
            self.forget_ended();
        }
        if hold {
            self.hold();
        }
    }

    #[cold]
    fn hold(&mut self) {
        for owner in (0..self.owners.len()).rev() {
            if self.owners[owner].wants.hold {
                let first = self.owners[..owner].iter().map(|owned| owned.count as usize).sum();
                self.hold_from(owner, first);
            }
        }
    }

    fn forget_ended(&mut self) {
        let (mut first, mut kept) = (0, 0);
        for Owned { count, .. } in &mut self.owners {
            let next = first + *count as usize;
            *count = 0;
            for slot in first..next {
                if self.tickets[slot].0 != ENDED {
                    self.tickets[kept] = self.tickets[slot];
                    kept += 1;
                    *count += 1;
                }
            }
            first = next;
        }
        self.tickets.truncate(kept);
    }

    /// Moves the tickets of one owner that have a longest hold to where their time is watched.
    fn hold_from(&mut self, owner: usize, first: usize) {
        let Owned { owner, count, .. } = &mut self.owners[owner];
        let mut slot = first;
        for _ in 0..*count {
            match owner.longest_hold(self.tickets[slot].0) {
                None => slot += 1,
                Some(hold) => {
                    let slot = self.tickets.remove(slot);
                    let held = Held { owner: owner.clone(), slot, until: time::sleep(hold) };
                    self.rare.get_or_insert_default().held.push(held);
                    *count -= 1;
                }
            }
        }
    }

    fn release_held(&mut self, cx: &mut Cx<'_>) {
        let verdict = self.seen.map_or_else(Verdict::of_drop, |seen| seen.verdict(Outcome::Success));
        let Some(rare) = &mut self.rare else { return };
        let mut index = 0;
        while index < rare.held.len() {
            if Pin::new(&mut rare.held[index].until).poll(cx).is_pending() {
                index += 1;
                continue;
            }
            let held = rare.held.swap_remove(index);
            let at = At::unread();
            held.owner.finish(&[held.slot], &End::new(verdict, &at, &self.context).with_bytes(self.bytes));
        }
    }

    fn finish(&mut self, end: &End<'_>) {
        let end = end.with_bytes(self.bytes).with_context(&self.context);
        let mut first = 0;
        for Owned { owner, count, .. } in &self.owners {
            let next = first + *count as usize;
            owner.finish(&self.tickets[first..next], &end);
            first = next;
        }
        for held in self.rare.take().map(|rare| rare.held).unwrap_or_default() {
            held.owner.finish(&[held.slot], &end);
        }
    }
}

fn recycle(mut list: Box<List>) {
    list.context = Context::none();
    list.owners.clear();
    list.tickets.clear();
    list.seen = None;
    list.bytes = 0;
    list.rare = None;
    let _ = FREE.try_with(|free| {
        let mut free = free.borrow_mut();
        if free.len() < KEPT {
            free.push(list);
        }
    });
}

/// A response whose end can be watched.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be watched to its end",
    note = "HTTP: wrap the layers in `mesh_core::http::governed(..)`; any other response: say `.results_only()` or `.judge(|response: &_| ..)` on the layer"
)]
pub trait Governed {
    /// Its head.
    fn head(&mut self) -> &mut dyn Head;
    /// The slot for what is open on it.
    fn guards(&mut self) -> &mut Guards;
}
