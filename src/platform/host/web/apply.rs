//! How changes come into force: rendered, tested whole, put in place, reloaded, seen; or taken back. One batch at a time, called by `queue`.
//! Blocking.
//!
//! The changes of a batch go together, in one reload. Where that fails for a reason that one site gave, that site is left out and the others go
//! on; where nobody can tell whose reason it was, each is tried alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::draft::Drafter;
use super::files::{Name, Set};
use super::kind::{Dump, Kind, Outcome, Places};
use super::no::{No, Whose, by_whom, copy, down, everyone, unasked, unwritten};
use super::serving::{Server, Serving};
use super::trial::{Refusal, TrialError};
use super::{Mode, Shape, door, fault, reason};
use crate::api::types::SiteName;
use crate::platform::{Class, Fault};

/// What is to become of a site.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a few live at a time, and briefly")]
pub enum Change {
    /// It has this shape.
    Put(Shape),
    /// It is served no more.
    Remove(SiteName),
}

impl Change {
    /// Which site.
    #[must_use]
    pub fn site(&self) -> &SiteName {
        match self {
            Change::Put(shape) => &shape.site,
            Change::Remove(site) => site,
        }
    }
}

/// What applies batches, and remembers what the files don't say.
pub struct Applier<K: Kind> {
    kind: K,
    /// Whether somebody includes the snippet of a site, where it was looked at.
    included: BTreeMap<SiteName, bool>,
}

impl<K: Kind> Applier<K> {
    /// For this web server.
    #[must_use]
    pub fn new(kind: K) -> Applier<K> {
        Applier { kind, included: BTreeMap::new() }
    }

    /// Brings changes into force. One result for each, in their order.
    pub fn batch(&mut self, changes: &[Change], reloads: &AtomicU64) -> Vec<Result<(), Fault>> {
        let mut results: BTreeMap<usize, Result<(), Fault>> = BTreeMap::new();
        let mut groups: Vec<Vec<usize>> = vec![(0..changes.len()).collect()];
        while let Some(group) = groups.pop() {
            let members: Vec<&Change> = group.iter().filter_map(|at| changes.get(*at)).collect();
            let of = |site: &SiteName| -> Vec<usize> {
                let is = |at: &usize| changes.get(*at).is_some_and(|change| change.site() == site);
                group.iter().copied().filter(is).collect()
            };
            match self.settle(&members, reloads) {
                Ok(unreached) => {
                    results.extend(group.iter().map(|at| (*at, Ok(()))));
                    for (site, fault) in unreached {
                        results.extend(of(&site).into_iter().map(|at| (at, Err(copy(&fault)))));
                    }
                }
                Err(No { whose: Whose::Site(site), fault }) if !of(&site).is_empty() => {
                    let out = of(&site);
                    let rest: Vec<usize> = group.iter().copied().filter(|at| !out.contains(at)).collect();
                    results.extend(out.into_iter().map(|at| (at, Err(copy(&fault)))));
                    if !rest.is_empty() {
                        groups.push(rest);
                    }
                }
                Err(No { whose: Whose::Site(_) | Whose::Somebody, .. }) if group.len() > 1 => {
                    groups.extend(group.iter().rev().map(|at| vec![*at]));
                }
                Err(No { fault, .. }) => results.extend(group.iter().map(|at| (*at, Err(copy(&fault))))),
            }
        }
        results.into_values().collect()
    }

    /// Brings all of these changes into force, or none. Returns the sites that nobody can reach although they are.
    fn settle(&mut self, changes: &[&Change], reloads: &AtomicU64) -> Result<Vec<(SiteName, Fault)>, No> {
        let folders = self.kind.places().folders;
        folders.prepare().map_err(unwritten)?;
        let live = folders.read().map_err(unwritten)?;
        let drafted = self.drafter().draft(&live, changes)?;
        if drafted == live && self.answers(&live) && self.all_are_included(changes) {
            return Ok(Vec::new());
        }

        self.kind.suits().map_err(|error| everyone(unasked(&error)))?;
        let base = self.look(&live)?;
        if let Err(error @ TrialError::NoModule(..)) = &base {
            return Err(everyone(unasked(error)));
        }
        let mut wanted = self.drafter().complete(drafted.clone(), base.as_ref().ok(), changes)?;
        let mut dump = self.test(&live, &wanted, &base)?;
        if base.is_err() {
            // What is in place is refused and what we want isn't: only now it is known what else is served.
            wanted = self.drafter().complete(drafted, Some(&dump), changes)?;
            dump = self.test(&live, &wanted, &base)?;
        }
        let (folders, words) = (self.kind.places().folders, self.kind.words());
        if !dump.reads(&Name::Common.path(folders)) {
            return Err(everyone(fault(
                Class::User,
                reason::FOLDER_NOT_INCLUDED,
                format!(
                    "{} does not read {}; add `{} {}/*.conf{}` to {}",
                    words.name,
                    Name::Common.path(folders).display(),
                    words.include,
                    folders.sites.display(),
                    words.end,
                    words.top
                ),
            )));
        }
        let serving = self.kind.serving(&dump);
        self.look_for_conflicts(&serving, &live, &wanted, changes)?;

        let missed = |change: &&&Change| self.included.get(change.site()) == Some(&false);
        let included_now = changes.iter().filter(missed).any(|change| self.includes(&dump, change));
        if wanted != live || !self.answers(&wanted) || included_now {
            self.kind
                .before_reload(&dump, &live, &wanted)
                .map_err(|refusal| self.refused_before(&refusal, &live, &wanted, changes))?;
            self.put_in_place(&live, &wanted, &serving, changes, reloads)?;
        }
        Ok(self.unreached(&dump, changes))
    }

    /// What is read now. Where it refuses that because of a file of ours (it says something that a file of the user's says now, too), what
    /// it reads without us.
    fn look(&self, live: &Set) -> Result<Result<K::Dump, TrialError>, No> {
        let refusal = match self.kind.trial(&[]) {
            Err(TrialError::Refused(refusal)) if self.owner(&refusal).is_some() => refusal,
            dump => return Ok(dump),
        };
        let mut without = Set::new();
        without.insert(Name::Common, self.drafter().common(&K::Common::default(), "none")?.into_bytes());
        for name in live.keys() {
            if let Name::Snippet(site) = name {
                without.insert(name.clone(), self.drafter().stub(site)?);
            }
        }
        let dump = self.try_out(live, &without)?;
        Ok(dump.map_err(|_| TrialError::Refused(refusal)))
    }

    /// What the web server thinks of `set` in the place of `live`.
    fn try_out(&self, live: &Set, set: &Set) -> Result<Result<K::Dump, TrialError>, No> {
        let Places { folders, work, .. } = self.kind.places();
        let over = folders.lay_out(work, set).map_err(unwritten)?;
        let said = self.kind.trial(&over);
        let Err(TrialError::NoNamespace(_)) = said else {
            return Ok(said);
        };
        // The next best thing: in place for as long as the test takes. The web server itself looks only when it is told to.
        let said = folders.replace(live, set).map(|()| self.kind.trial(&[]));
        folders.replace(set, live).map_err(unwritten)?;
        said.map_err(unwritten)
    }

    fn drafter(&self) -> Drafter<'_, K> {
        Drafter { kind: &self.kind }
    }

    /// Has it test the whole of what would be in force.
    fn test(&self, live: &Set, wanted: &Set, base: &Result<K::Dump, TrialError>) -> Result<K::Dump, No> {
        let refusal = match self.try_out(live, wanted)? {
            Ok(dump) => return Ok(dump),
            Err(TrialError::Refused(refusal)) => refusal,
            // What is in place needs no such module: one of these does.
            Err(error @ TrialError::NoModule(..)) if base.is_ok() => {
                return Err(No { whose: Whose::Somebody, fault: unasked(&error) });
            }
            Err(error) => return Err(everyone(unasked(&error))),
        };
        let theirs = match base {
            Err(TrialError::Refused(now)) => self.owner(now).is_none().then_some(now),
            _ => None,
        };
        let (name, test) = (self.kind.words().name, self.kind.words().test);
        Err(match (theirs, self.owner(&refusal)) {
            (Some(now), _) => everyone(fault(
                Class::User,
                reason::CONFIGURATION_BROKEN,
                format!(
                    "{name} refuses its own configuration, and bluegreen has no part in it: {now}; mend that (`{test}` shows it), and this goes on \
                     by itself; nothing was changed"
                ),
            )),
            (None, Some(Name::Site(site) | Name::Snippet(site))) => No {
                fault: fault(
                    Class::User,
                    reason::CONFIGURATION_REFUSED,
                    format!("{name} refuses the configuration of {site}: {refusal}; nothing was changed"),
                ),
                whose: Whose::Site(site),
            },
            (None, _) => No {
                whose: Whose::Somebody,
                fault: fault(
                    Class::User,
                    reason::CONFIGURATION_REFUSED,
                    format!("{name} refuses its configuration with this site in it: {refusal}; nothing was changed"),
                ),
            },
        })
    }

    fn owner(&self, refusal: &Refusal) -> Option<Name> {
        let (file, _) = refusal.place.as_ref()?;
        Name::of(file, self.kind.places().folders)
    }

    fn look_for_conflicts(&self, serving: &Serving, live: &Set, wanted: &Set, changes: &[&Change]) -> Result<(), No> {
        // The last one first: of two that want the same, the one that asked first gets it.
        for change in changes.iter().rev() {
            let Change::Put(Shape { site, mode: mode @ Mode::Own { .. }, .. }) = change else {
                continue;
            };
            let own = Name::Site(site.clone());
            if live.get(&own) == wanted.get(&own) {
                continue;
            }
            let folders = self.kind.places().folders;
            let counts = |server: &Server| {
                let name = Name::of(&server.file, folders);
                name.as_ref() != Some(&own) && name != Some(Name::Common)
            };
            if let Some(conflict) = serving.conflict(&mode.names(), &mode.doors(), counts) {
                let place = format!("{}:{}", conflict.file.display(), conflict.line);
                let other = match Name::of(&conflict.file, folders) {
                    Some(Name::Site(other)) => format!("the site {other} ({place}) is in the way"),
                    _ => format!("the {} at {place} is in the way", self.kind.words().block),
                };
                return Err(No {
                    whose: Whose::Site(site.clone()),
                    fault: fault(
                        Class::User,
                        reason::HOSTNAME_TAKEN,
                        format!(
                            "{other}: {}; remove it there or here, or keep that block and use `front: Include`; nothing was changed",
                            conflict.what
                        ),
                    ),
                });
            }
        }
        Ok(())
    }

    fn put_in_place(
        &self,
        live: &Set,
        wanted: &Set,
        serving: &Serving,
        changes: &[&Change],
        reloads: &AtomicU64,
    ) -> Result<(), No> {
        let Places { folders, reload_within: within, .. } = self.kind.places();
        if let Err(error) = folders.replace(live, wanted) {
            // Best effort: the next batch compares with what is there, whatever that is.
            let _ = folders.replace(wanted, live);
            return Err(unwritten(error));
        }
        let reload = |set: &Set, within| self.kind.reload(&self.drafter().generation(set), &serving.error_logs, within);
        let outcome = reload(wanted, within);
        if outcome != Outcome::Down {
            reloads.fetch_add(1, Ordering::Relaxed);
        }
        let held = |refusal: &Refusal| refusal.address.map(|address| by_whom(address.port())).unwrap_or_default();
        let (whose, class, why) = match outcome {
            Outcome::Seen => return Ok(()),
            // The files are right: it comes up with them.
            Outcome::Down => return Err(everyone(down(&self.kind))),
            Outcome::Refused(refusal) => {
                let whose = self.who_is_refused(&refusal, wanted, live, changes);
                (whose, Class::User, format!("{refusal}{}", held(&refusal)))
            }
            Outcome::Nothing => (
                Whose::Everyone,
                Class::Transient,
                format!(
                    "not every worker had it within {} s, and no error log says why; is the master stopped, or very busy?",
                    within.as_secs_f32()
                ),
            ),
        };
        let undone = folders.replace(wanted, live);
        if matches!(whose, Whose::Everyone) {
            // It may still come: then it comes with the old files.
            reloads.fetch_add(1, Ordering::Relaxed);
            let _ = reload(live, within.min(Duration::from_secs(2)));
        }
        let undone = match undone {
            Ok(()) => "what was in force before is in place again".to_owned(),
            Err(error) => format!("and what was in force before could not be put back: {error}"),
        };
        let name = self.kind.words().name;
        Err(No {
            whose,
            fault: fault(
                class,
                reason::RELOAD_FAILED,
                format!("{name} was told to reload and did not: {why}; {undone}"),
            ),
        })
    }

    /// A reload would have ended at this.
    fn refused_before(&self, refusal: &Refusal, live: &Set, wanted: &Set, changes: &[&Change]) -> No {
        let name = self.kind.words().name;
        if refusal.place.is_some() && self.owner(refusal).is_none() {
            return everyone(fault(
                Class::User,
                reason::CONFIGURATION_BROKEN,
                format!(
                    "{name} would end at a reload, and bluegreen has no part in it: {refusal}; mend that, and this goes on by itself; nothing was \
                     changed"
                ),
            ));
        }
        No {
            whose: self.who_is_refused(refusal, wanted, live, changes),
            fault: fault(
                Class::User,
                reason::RELOAD_FAILED,
                format!("{name} was not told to reload, for it would fail: {refusal}; nothing was changed"),
            ),
        }
    }

    /// Whose listener it is that could not be opened, or whose file is named.
    fn who_is_refused(&self, refusal: &Refusal, wanted: &Set, live: &Set, changes: &[&Change]) -> Whose {
        if let Some(site) = self.owner(refusal).and_then(|name| name.site().cloned()) {
            return Whose::Site(site);
        }
        let wants = |change: &&&Change| {
            let name = Name::Site(change.site().clone());
            let listens = |set: &Set| Some(self.kind.listens(&name, set.get(&name)?).contains(&refusal.address?));
            listens(wanted) == Some(true) && listens(live) != Some(true)
        };
        match changes.iter().find(wants) {
            Some(change) => Whose::Site(change.site().clone()),
            None => Whose::Somebody,
        }
    }

    /// Whether the door answers from this set.
    fn answers(&self, set: &Set) -> bool {
        door::ask(self.kind.places().door, door::ANYBODY)
            .is_ok_and(|answer| answer.generation == self.drafter().generation(set))
    }

    fn all_are_included(&self, changes: &[&Change]) -> bool {
        changes.iter().all(|change| !in_include_mode(change) || self.included.get(change.site()) == Some(&true))
    }

    fn includes(&self, dump: &K::Dump, change: &Change) -> bool {
        dump.reads(&Name::Snippet(change.site().clone()).path(self.kind.places().folders))
    }

    fn unreached(&mut self, dump: &K::Dump, changes: &[&Change]) -> Vec<(SiteName, Fault)> {
        let mut unreached = Vec::new();
        for change in changes {
            let site = change.site();
            if !in_include_mode(change) {
                self.included.remove(site);
                continue;
            }
            let included = self.includes(dump, change);
            self.included.insert(site.clone(), included);
            if included {
                continue;
            }
            let snippet = Name::Snippet(site.clone()).path(self.kind.places().folders);
            let words = self.kind.words();
            let message = format!(
                "no {block} includes {snippet}; add `{include} {snippet}{end}` to the one that is to serve {site}",
                block = words.block,
                snippet = snippet.display(),
                include = words.include,
                end = words.end,
            );
            unreached.push((site.clone(), fault(Class::User, reason::SNIPPET_NOT_INCLUDED, message)));
        }
        unreached
    }
}

fn in_include_mode(change: &Change) -> bool {
    matches!(change, Change::Put(Shape { mode: Mode::Include, .. }))
}
