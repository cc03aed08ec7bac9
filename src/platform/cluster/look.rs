//! From facts to a world: pure. What can't be told is said, never guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::children::{Children, Deployment, Front, Headless, Selector, Service};
use super::objects::of_colour;
use crate::api::site::{Route as Way, SiteOnCluster};
use crate::rollout::{Artifact, CheckGoal, Colour, Health, Occupant, Revision, Route, Stage, Time, Verdict, World};

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The site.
    pub site: &'a SiteOnCluster,
    /// Its uid: objects of others are not seen.
    pub owner: u128,
    /// Its objects.
    pub children: &'a Children,
    /// Now.
    pub now: Time,
}

/// What is remembered from one look to the next. All of it can be lost.
#[derive(Debug, Default)]
pub struct Eyes {
    blue: Eye,
    green: Eye,
    /// The route was seen to lead to this colour, when it looked so.
    seen: Option<(Colour, RouteStamp)>,
    /// Since when every Gateway has accepted the HTTPRoute as it is.
    accepted: Option<(i64, Time)>,
    /// The checks that shall be running, and since when.
    pub check: Option<(CheckGoal, Time)>,
    /// What a dry run refused, and its words.
    pub unusable: BTreeMap<Revision, String>,
}

/// Tells one state of the route from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RouteStamp {
    Service(Selector, Option<Time>),
    Http(i64),
}

/// What is remembered of a colour.
#[derive(Debug, Default)]
pub struct Eye {
    revision: Option<Revision>,
    down: Option<Time>,
    draining: Option<Time>,
    /// A route named it.
    served: bool,
    /// This generation was not made by us, and was found to change nothing but the size.
    pub fine: Option<i64>,
    /// Somebody changed what it runs and we put that back with this generation: what is ready before its controller has seen that is theirs.
    pub mended: Option<i64>,
    /// So often somebody made it smaller than what it is to replace, while it was to run this.
    pub shrunk: Option<(Revision, u32)>,
    /// Why its pods are not ready, and when that was asked.
    pub why: Option<(String, Time)>,
    /// A pod that was ready ended by itself, and how.
    pub fallen: Option<(String, Time)>,
    /// Pods that were ready at the last look.
    pub ready: BTreeSet<u64>,
    /// Pods that were ready, are still there and aren't ready any more: worth asking why.
    pub suspects: bool,
}

impl Eyes {
    /// What is remembered of this colour.
    pub fn of(&mut self, colour: Colour) -> &mut Eye {
        match colour {
            Colour::Blue => &mut self.blue,
            Colour::Green => &mut self.green,
        }
    }

    /// When something will have become true by time alone: that the Gateways follow the route, or know the candidate.
    #[must_use]
    pub fn settles(&self, settle: Duration, now: Time) -> Option<Time> {
        let route = self.accepted.filter(|_| self.seen.is_none()).map(|(_, since)| since);
        let candidate = self.check.filter(|(goal, _)| goal.stage == Stage::Verify).map(|(_, since)| since);
        route.into_iter().chain(candidate).map(|since| since + settle).filter(|at| *at > now).min()
    }
}

/// Whether some of its pods may be of another template than its own: somebody changed it while it was not sealed.
#[must_use]
pub fn foreign(deployment: &Deployment, eye: &Eye) -> bool {
    let judged = deployment.observed >= deployment.generation;
    judged && deployment.updated < deployment.has || eye.mended.is_some_and(|mended| deployment.observed < mended)
}

impl<'a> Scene<'a> {
    /// A colour's Deployment, if it is there and ours.
    #[must_use]
    pub fn deployment(&self, colour: Colour) -> Option<&'a Deployment> {
        let deployment = self.children.deployment(&of_colour(self.site.name.as_str(), colour))?;
        (deployment.owned.owner == self.owner).then_some(deployment)
    }

    /// A Service, if it is there and ours.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&'a Service> {
        self.children.service(name).filter(|service| service.owned.owner == self.owner)
    }

    /// A colour's Service, if it is there and selects that colour.
    fn colour_service(&self, colour: Colour) -> Option<&'a Service> {
        let service = self.service(&of_colour(self.site.name.as_str(), colour))?;
        (service.selector == Selector::Colour(colour)).then_some(service)
    }

    /// What the front object carries: the ledger, and when traffic was moved. `None`: it isn't there, or isn't ours.
    #[must_use]
    pub fn front(&self) -> Option<&'a Front> {
        match &self.site.target.route {
            Way::Service => self.service(self.site.target.service.as_str()).map(|service| &service.front),
            Way::HttpRoute(_) => self.http_route().map(|route| &route.front),
        }
    }

    fn http_route(&self) -> Option<&'a super::children::HttpRoute> {
        self.children.route(self.site.name.as_str()).filter(|route| route.owned.owner == self.owner)
    }

    /// The colour that the route names.
    #[must_use]
    pub fn named(&self) -> Option<Colour> {
        match &self.site.target.route {
            Way::Service => {
                let live = self.service(self.site.target.service.as_str())?;
                let Selector::Release(colour, revision) = live.selector else { return None };
                let runs = self.deployment(colour).and_then(|deployment| deployment.revision);
                // A Deployment that somebody deleted leaves the traffic where it was.
                let so = live.headless == Headless::No && runs.is_none_or(|runs| runs == revision);
                so.then_some(colour)
            }
            Way::HttpRoute(_) => self.http_route()?.colour,
        }
    }

    /// What the live selector names.
    #[must_use]
    pub fn selected(&self) -> Option<(Colour, Revision)> {
        match self.service(self.site.target.service.as_str())?.selector {
            Selector::Release(colour, revision) => Some((colour, revision)),
            Selector::Colour(_) | Selector::Other => None,
        }
    }

    /// The pods of a colour: each, and whether it is ready. `None`: that can't be told.
    #[must_use]
    pub fn pods(&self, colour: Colour) -> Option<BTreeMap<u64, bool>> {
        let service = match self.colour_service(colour) {
            Some(service) => service,
            // Somebody broke the colour's own Service; the live one selects the same pods.
            None => self
                .service(self.site.target.service.as_str())
                .filter(|live| matches!(live.selector, Selector::Release(of, _) if of == colour))?,
        };
        Some(self.behind(&service.name))
    }

    fn behind(&self, service: &str) -> BTreeMap<u64, bool> {
        let mut pods = BTreeMap::new();
        // A pod with two addresses stands in two slices.
        for endpoint in self.children.slices_of(service).flat_map(|slice| slice.endpoints.iter()) {
            *pods.entry(endpoint.pod).or_insert(false) |= endpoint.ready;
        }
        pods
    }

    /// The world; or what can't be told, in words.
    ///
    /// # Errors
    /// What can't be told.
    pub fn world(&self, eyes: &mut Eyes) -> Result<World, String> {
        let named = self.named();
        let seen = named.is_some_and(|colour| self.seen(colour, eyes));
        let mut slots: BTreeMap<Colour, Occupant> = BTreeMap::new();
        for colour in Colour::BOTH {
            if let Some(occupant) = self.occupant(colour, named, seen, eyes)? {
                slots.insert(colour, occupant);
            }
        }
        let mut artifacts: BTreeMap<Revision, Artifact> =
            eyes.unusable.iter().map(|(revision, why)| (*revision, Artifact::Unusable(why.clone()))).collect();
        let ours = self.children.releases.iter().filter(|release| release.owned.owner == self.owner);
        artifacts.extend(ours.filter_map(|release| release.revision).map(|revision| (revision, Artifact::Ready)));
        let verdict = self.verdict(eyes, &slots);
        let route = named.map_or(Route::Nowhere, |colour| Route::To { colour, seen });
        Ok(World { blue: slots.remove(&Colour::Blue), green: slots.remove(&Colour::Green), route, artifacts, verdict })
    }

    fn occupant(
        &self,
        colour: Colour,
        named: Option<Colour>,
        seen: bool,
        eyes: &mut Eyes,
    ) -> Result<Option<Occupant>, String> {
        let now = self.now;
        let checked = eyes.check.map(|(goal, _)| goal.colour);
        let eye = eyes.of(colour);
        let Some(deployment) = self.deployment(colour) else {
            *eye = Eye::default();
            return Ok(None);
        };
        let pods = self.pods(colour);
        if deployment.replicas == 0 {
            let gone = deployment.observed >= deployment.generation && deployment.has == 0;
            if named == Some(colour) || gone && pods.as_ref().is_none_or(BTreeMap::is_empty) {
                *eye = Eye::default();
                return Ok(None);
            }
        }
        let Some(revision) = deployment.revision else {
            return Err(format!(
                "the Deployment {} does not say any more which revision it runs: put its annotation back, or delete it",
                deployment.name
            ));
        };
        let Some(pods) = pods else {
            return Err(format!(
                "the Service {} is missing or selects something else, so nobody can tell which pods of {colour} are ready; it is put back",
                deployment.name
            ));
        };
        if eye.revision != Some(revision) {
            *eye = Eye { revision: Some(revision), fine: eye.fine, ..Eye::default() };
        }
        let ready: BTreeSet<u64> = pods.iter().filter(|(_, ready)| **ready).map(|(pod, _)| *pod).collect();
        if checked == Some(colour) {
            eye.suspects |= eye.ready.iter().any(|pod| pods.get(pod) == Some(&false));
        }
        let enough = ready.len() >= usize::try_from(deployment.replicas.max(1)).unwrap_or(1) && deployment.replicas > 0;
        let drifted = deployment.generation != deployment.ours && eye.fine != Some(deployment.generation);
        let sealed = deployment.paused && !drifted && !foreign(deployment, eye);
        let health = if ready.is_empty() {
            Health::Down(*eye.down.get_or_insert(now))
        } else if enough && (sealed || named == Some(colour)) {
            Health::Ready
        } else {
            Health::Degraded
        };
        if !ready.is_empty() {
            eye.down = None;
        }
        let mut detail = format!("{} of {} pods ready", ready.len(), deployment.replicas);
        if let Some(why) = deployment.trouble.as_deref().or(eye.why.as_ref().map(|(why, _)| why.as_str()))
            && !enough
        {
            detail = format!("{detail}: {why}");
        }
        eye.ready = ready;
        let front = self.front();
        let switched = front.and_then(|front| front.switched).map(|at| at.min(now));
        let draining = if named == Some(colour) {
            eye.served = true;
            eye.draining = None;
            None
        } else {
            let before = deployment.started.zip(switched).is_some_and(|(started, switched)| started < switched);
            let had_traffic =
                (eye.served || before || deployment.started.is_none() && switched.is_some()) && deployment.replicas > 0;
            if !had_traffic {
                eye.draining = None;
                None
            } else if named.is_some() && !seen {
                // Until the new colour is seen to have the traffic, this one still gets some.
                Some(now)
            } else {
                Some(*eye.draining.get_or_insert(now))
            }
        };
        Ok(Some(Occupant { revision, health, draining, detail }))
    }

    /// Whether traffic was seen to go to the colour that the route names, since the route is as it is.
    fn seen(&self, colour: Colour, eyes: &mut Eyes) -> bool {
        match &self.site.target.route {
            Way::Service => {
                let Some(live) = self.service(self.site.target.service.as_str()) else { return false };
                let stamp = (colour, RouteStamp::Service(live.selector, live.front.switched));
                if eyes.seen == Some(stamp) {
                    return true;
                }
                let colours: BTreeSet<u64> =
                    self.behind(&of_colour(self.site.name.as_str(), colour)).into_keys().collect();
                let mut serving = self.behind(&live.name).into_iter().filter(|(_, ready)| *ready).peekable();
                let seen = serving.peek().is_some() && serving.all(|(pod, _)| colours.contains(&pod));
                eyes.seen = seen.then_some(stamp);
                seen
            }
            Way::HttpRoute(http) => {
                let Some(route) = self.http_route() else { return false };
                let stamp = (colour, RouteStamp::Http(route.generation));
                if eyes.seen == Some(stamp) {
                    return true;
                }
                eyes.seen = None;
                if !route.accepted {
                    eyes.accepted = None;
                    return false;
                }
                let since = match eyes.accepted {
                    Some((generation, since)) if generation == route.generation => since,
                    _ => self.now,
                };
                eyes.accepted = Some((route.generation, since));
                let seen = self.now >= since + http.settle;
                eyes.seen = seen.then_some(stamp);
                seen
            }
        }
    }

    /// What the checks say: every pod is ready, and none that was ready ended by itself since they began.
    fn verdict(&self, eyes: &mut Eyes, slots: &BTreeMap<Colour, Occupant>) -> Option<Verdict> {
        let (goal, begun) = eyes.check?;
        let occupant = slots.get(&goal.colour)?;
        if occupant.revision != goal.about.revision {
            return None;
        }
        let answer = |passed, detail: String| Some(Verdict { about: goal.about, stage: goal.stage, passed, detail });
        if let Some((how, at)) = &eyes.of(goal.colour).fallen
            && *at >= begun
        {
            return answer(false, how.clone());
        }
        let which = match goal.stage {
            Stage::Verify => "before the cutover",
            Stage::Bake => "after the cutover",
        };
        // A Gateway watches pods and routes apart, and puts together what it has heard. Whoever heard of the weights first would have nobody to send
        // requests to until it puts all together anew: Traefik does that every two seconds at most.
        let known = match &self.site.target.route {
            Way::HttpRoute(http) if goal.stage == Stage::Verify && self.named().is_some() => {
                self.now >= begun + http.settle
            }
            Way::HttpRoute(_) | Way::Service => true,
        };
        let ready = occupant.health == Health::Ready;
        if !known || !ready || eyes.of(goal.colour).suspects {
            return None;
        }
        answer(true, format!("every pod was ready {which}: {}", occupant.detail))
    }
}

#[cfg(test)]
mod tests;
