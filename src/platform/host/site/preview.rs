//! Which colour the preview shows: the idle one, while it runs, serves and has none of the live site's requests in flight. So it is the candidate from
//! when it is ready until it goes live, and the standby once it is drained: a look at it never holds up a drain.
//!
//! The link is taken away before traffic moves and before a colour is stopped, and put back by what is seen afterwards. The web server asks the live
//! link last, so what we are late with shows nobody the live colour.

use super::{HostSite, Inner, blocking, cannot};
use crate::api::site::Front;
use crate::platform::Fault;
use crate::platform::host::route;
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;
use crate::rollout::{Colour, Health, World};

impl<W: WebServer + 'static, S: Supervisor + 'static> HostSite<W, S> {
    /// Has the preview show what was seen at the last look.
    pub(super) async fn show_preview(&self, inner: &mut Inner) -> Result<(), Fault> {
        let wanted = match &self.wanted().site.target.front {
            Front::Own { previews, .. } if !previews.is_empty() => inner.idle,
            _ => None,
        };
        let dir = self.dir.clone();
        blocking(move || {
            route::preview(&dir, wanted).map_err(|e| cannot("move the link that decides what the preview shows", &e))
        })
        .await
    }

    /// Has the preview show nothing until the world was looked at again.
    pub(super) async fn end_preview(&self, inner: &mut Inner) -> Result<(), Fault> {
        inner.idle = None;
        self.show_preview(inner).await
    }
}

/// The colour that may be shown.
pub(super) fn idle(world: &World) -> Option<Colour> {
    let named = world.route.named();
    let serves = |colour: &Colour| {
        let occupant = world.slot(*colour);
        Some(*colour) != named
            && occupant.is_some_and(|one| one.draining.is_none() && !matches!(one.health, Health::Down(_)))
    };
    let mut all = Colour::BOTH.into_iter().filter(serves);
    let first = all.next();
    // With no route, two that run say nothing of which one somebody wants to see.
    if all.next().is_some() { None } else { first }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rollout::{Occupant, Revision, Route, Time};

    fn runs(health: Health, draining: Option<Time>) -> Option<Occupant> {
        Some(Occupant { revision: Revision::new(1), health, draining, detail: String::new() })
    }

    fn world(route: Route, blue: Option<Occupant>, green: Option<Occupant>) -> World {
        World { blue, green, route, artifacts: BTreeMap::new(), verdict: None }
    }

    #[test]
    fn only_an_idle_colour_that_serves_and_drains_no_more_is_shown() {
        let to_blue = Route::To { colour: Colour::Blue, seen: true };
        let ready = || runs(Health::Ready, None);
        assert_eq!(idle(&world(to_blue, ready(), ready())), Some(Colour::Green));
        assert_eq!(idle(&world(to_blue, ready(), runs(Health::Degraded, None))), Some(Colour::Green));
        assert_eq!(idle(&world(to_blue, None, ready())), Some(Colour::Green));
        assert_eq!(idle(&world(Route::Nowhere, ready(), None)), Some(Colour::Blue), "the first one, before it is live");
        for (route, blue, green) in [
            (to_blue, ready(), None),
            (to_blue, ready(), runs(Health::Down(Time(0)), None)),
            (to_blue, ready(), runs(Health::Ready, Some(Time(0)))),
            (Route::Nowhere, ready(), ready()),
            (Route::Nowhere, None, None),
        ] {
            assert_eq!(idle(&world(route, blue, green)), None);
        }
    }
}
