//! Which roots are pinned, asked once for many.
//!
//! A question of its own before every pin would cost a burst of pins a fifth of its speed. So a burst shares one list
//! of all pins: a root that is not in a fresh list, and that this adapter has not pinned since the list was asked for,
//! is not pinned. Every other root is in doubt and asked for by itself.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use cid::Cid;
use futures::future::{LocalBoxFuture, Shared};
use futures::FutureExt;
use serde::de::IgnoredAny;
use serde::Deserialize;
use tokio::time::Instant;

use super::call::{Api, Fault, Wait};

/// Bytes of the list of all pins at most: about two million pins.
pub(super) const MAX_BODY: usize = 256 << 20;
/// Bytes of a list that is worth sharing.
const MAX_SHARED: usize = 16 << 20;
/// How long a list is fresh at least: what other programs pin meanwhile is not in it. One that takes longer to come is
/// of no use.
const FRESH: Duration = Duration::from_secs(2);
/// How long it is fresh at most.
const FRESH_AT_MOST: Duration = Duration::from_secs(10);
/// While Kubo makes a list it makes no pin, so a list is fresh for so many times as long as it took: a burst waits for
/// lists a hundredth of its time, however many pins there are already, until the bounds above.
const WORTH: u32 = 100;
/// How long no list is asked for after one that came too late or not at all.
const REST: Duration = Duration::from_secs(60);
/// Pins that make a burst, within the time that a list is fresh.
const BURST: u32 = 8;

type List = Shared<LocalBoxFuture<'static, Option<Rc<Pins>>>>;

/// A list that came.
struct Pins {
    roots: HashSet<Cid>,
    took: Duration,
}

/// How long a list is fresh from the moment it was asked for.
fn fresh_for(took: Duration) -> Duration {
    took.saturating_mul(WORTH).clamp(FRESH, FRESH_AT_MOST)
}

/// The list that a burst of pins shares.
#[derive(Default)]
pub(super) struct Listing(RefCell<State>);

#[derive(Default)]
struct State {
    /// Since when so many were asked for.
    burst: Option<(Instant, u32)>,
    list: Option<(Instant, List)>,
    rest: Option<Instant>,
    /// Roots pinned here since the list was asked for.
    since: HashSet<Cid>,
}

#[derive(Deserialize)]
struct Keys {
    /// Left out where there is no pin at all.
    #[serde(rename = "Keys", default)]
    keys: HashMap<String, IgnoredAny>,
}

/// All pinned roots. As one object, because a list of lines has no end that could be told from a cut.
pub(super) async fn all(api: &Api, cap: usize) -> Result<Vec<Cid>, Fault> {
    let reply = api.call(Wait::Kubo, "pin/ls", &[("type", "recursive")]).await?;
    let Keys { keys } = reply.json(cap).await?;
    let read =
        |text: &String| text.parse::<Cid>().map_err(|e| api.broken("pin/ls", format_args!("{text}: {e}")));
    keys.keys().map(read).collect()
}

impl Listing {
    /// Remembers a root that was pinned just now.
    pub(super) fn pinned(&self, root: Cid) {
        let mut state = self.0.borrow_mut();
        match &state.list {
            Some((asked, _)) if asked.elapsed() <= FRESH_AT_MOST => drop(state.since.insert(root)),
            // Nobody will look at that list any more.
            _ => {
                state.list = None;
                state.since.clear();
            }
        }
    }

    /// Whether it is certain that a root is not pinned; `false` means doubt.
    pub(super) async fn lacks(&self, api: &Rc<Api>, root: &Cid) -> bool {
        let Some((asked, list)) = self.list(api) else { return false };
        let Some(pins) = list.await else {
            self.0.borrow_mut().rest = Some(Instant::now());
            return false;
        };
        let mut state = self.0.borrow_mut();
        if pins.took > FRESH {
            // So many pins that the list comes too late to be of use.
            state.rest = Some(Instant::now());
            return false;
        }
        asked.elapsed() <= fresh_for(pins.took) && !pins.roots.contains(root) && !state.since.contains(root)
    }

    /// The list to look at, if there are pins enough to make it worth while.
    fn list(&self, api: &Rc<Api>) -> Option<(Instant, List)> {
        let mut state = self.0.borrow_mut();
        let now = Instant::now();
        let (since, count) = match state.burst {
            Some((since, count)) if now - since < FRESH => (since, count + 1),
            // A burst that goes on is still one.
            Some((since, count)) if now - since < 2 * FRESH && count >= BURST => (now, BURST),
            _ => (now, 1),
        };
        state.burst = Some((since, count));
        // One that is still to come may be waited for as long as it is of use.
        let fresh = |list: &List| match list.peek() {
            Some(Some(pins)) => fresh_for(pins.took),
            Some(None) | None => FRESH,
        };
        if count < BURST || state.rest.is_some_and(|rest| now - rest < REST) {
            return None;
        }
        match &state.list {
            Some((asked, list)) if now - *asked < fresh(list) => Some((*asked, list.clone())),
            _ => {
                state.since.clear();
                let api = Rc::clone(api);
                let list = async move {
                    let roots = all(&api, MAX_SHARED).await.ok()?.into_iter().collect();
                    Some(Rc::new(Pins { roots, took: now.elapsed() }))
                };
                let list = list.boxed_local().shared();
                state.list = Some((now, list.clone()));
                Some((now, list))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_fresh_for_a_hundred_times_as_long_as_it_took_within_bounds() {
        let fresh = |millis| fresh_for(Duration::from_millis(millis)).as_millis();
        assert_eq!([1, 20, 50, 100, 2_000].map(fresh), [2_000, 2_000, 5_000, 10_000, 10_000]);
    }
}
