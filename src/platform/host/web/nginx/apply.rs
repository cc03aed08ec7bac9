//! How changes come into force: rendered, tested whole, put in place, reloaded, seen; or taken back. One batch at a time, called by the queue in
//! `mod`. Blocking.
//!
//! The changes of a batch go together, in one reload. Where that fails for a reason that one site gave, that site is left out and the others go
//! on; where nobody can tell whose reason it was, each is tried alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::draft::{Drafter, generation_of, stub};
use super::files::{Name, Set};
use super::no::{No, Whose, copy, down, everyone, unasked, unwritten};
use super::reload::{Outcome, Reload};
use super::syntax::Dump;
use super::theirs::{self, Serving};
use super::trial::{Refusal, TrialError, trial};
use super::{NginxSettings, door, fault, reason, render};
use crate::api::types::SiteName;
use crate::platform::host::web::{Mode, Shape};
use crate::platform::{Class, Fault};

/// What is to become of a site.
#[derive(Clone, Debug)]
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
pub struct Applier {
    settings: NginxSettings,
    /// Whether somebody includes the snippet of a site, where it was looked at.
    included: BTreeMap<SiteName, bool>,
}

impl Applier {
    /// For this nginx.
    #[must_use]
    pub fn new(settings: NginxSettings) -> Applier {
        Applier { settings, included: BTreeMap::new() }
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
        let folders = &self.settings.folders;
        folders.prepare().map_err(unwritten)?;
        let live = folders.read().map_err(unwritten)?;
        let drafted = self.drafter().draft(&live, changes)?;
        if drafted == live && self.answers(&live) && self.all_are_included(changes) {
            return Ok(Vec::new());
        }

        let base = self.look(&live)?;
        let mut wanted = self.drafter().complete(drafted.clone(), base.as_ref().ok(), changes)?;
        let mut dump = self.test(&live, &wanted, &base)?;
        if base.is_err() {
            // What is in place is refused and what we want isn't: only now it is known what else is served.
            wanted = self.drafter().complete(drafted, Some(&dump), changes)?;
            dump = self.test(&live, &wanted, &base)?;
        }
        if !dump.reads(&Name::Common.path(folders)) {
            return Err(everyone(fault(
                Class::User,
                reason::FOLDER_NOT_INCLUDED,
                format!(
                    "nginx does not read {}; add `include {}/*.conf;` to the http block of its configuration",
                    Name::Common.path(folders).display(),
                    folders.sites.display()
                ),
            )));
        }
        let serving = Serving::of(&dump);
        self.look_for_conflicts(&serving, &live, &wanted, changes)?;

        let missed = |change: &&&Change| self.included.get(change.site()) == Some(&false);
        let included_now = changes.iter().filter(missed).any(|change| self.includes(&dump, change));
        if wanted != live || !self.answers(&wanted) || included_now {
            self.put_in_place(&live, &wanted, &serving, changes, reloads)?;
        }
        Ok(self.unreached(&dump, changes))
    }

    /// What nginx reads now. Where it refuses that because of a file of ours (it says something that a file of the user's says now, too), what
    /// it reads without us.
    fn look(&self, live: &Set) -> Result<Result<Dump, TrialError>, No> {
        let refusal = match trial(&self.settings.command(), &[]) {
            Err(TrialError::Refused(refusal)) if self.owner(&refusal).is_some() => refusal,
            dump => return Ok(dump),
        };
        let mut without = Set::new();
        without.insert(Name::Common, self.drafter().common(&render::Common::default(), "none")?.into_bytes());
        for name in live.keys() {
            if let Name::Snippet(site) = name {
                without.insert(name.clone(), stub(site)?);
            }
        }
        let dump = self.try_out(live, &without)?;
        Ok(dump.map_err(|_| TrialError::Refused(refusal)))
    }

    /// What nginx thinks of `set` in the place of `live`.
    fn try_out(&self, live: &Set, set: &Set) -> Result<Result<Dump, TrialError>, No> {
        let folders = &self.settings.folders;
        let over = folders.lay_out(&self.settings.work, set).map_err(unwritten)?;
        let said = trial(&self.settings.command(), &over);
        let Err(TrialError::NoNamespace(_)) = said else {
            return Ok(said);
        };
        // The next best thing: in place for as long as the test takes. nginx itself looks only when it is told to.
        let said = folders.replace(live, set).map(|()| trial(&self.settings.command(), &[]));
        folders.replace(set, live).map_err(unwritten)?;
        said.map_err(unwritten)
    }

    fn drafter(&self) -> Drafter<'_> {
        Drafter { settings: &self.settings }
    }

    /// Has nginx test the whole of what would be in force.
    fn test(&self, live: &Set, wanted: &Set, base: &Result<Dump, TrialError>) -> Result<Dump, No> {
        let refusal = match self.try_out(live, wanted)? {
            Ok(dump) => return Ok(dump),
            Err(TrialError::Refused(refusal)) => refusal,
            Err(error) => return Err(everyone(unasked(&error))),
        };
        let theirs = match base {
            Err(TrialError::Refused(now)) => self.owner(now).is_none().then_some(now),
            _ => None,
        };
        Err(match (theirs, self.owner(&refusal)) {
            (Some(now), _) => everyone(fault(
                Class::User,
                reason::CONFIGURATION_BROKEN,
                format!(
                    "nginx refuses its own configuration, and bluegreen has no part in it: {now}; mend that (`nginx -t` shows it), and this goes on \
                     by itself; nothing was changed"
                ),
            )),
            (None, Some(Name::Site(site) | Name::Snippet(site))) => No {
                fault: fault(
                    Class::User,
                    reason::CONFIGURATION_REFUSED,
                    format!("nginx refuses the configuration of {site}: {refusal}; nothing was changed"),
                ),
                whose: Whose::Site(site),
            },
            (None, _) => No {
                whose: Whose::Somebody,
                fault: fault(
                    Class::User,
                    reason::CONFIGURATION_REFUSED,
                    format!("nginx refuses its configuration with this site in it: {refusal}; nothing was changed"),
                ),
            },
        })
    }

    fn owner(&self, refusal: &Refusal) -> Option<Name> {
        let (file, _) = refusal.place.as_ref()?;
        Name::of(file, &self.settings.folders)
    }

    fn look_for_conflicts(&self, serving: &Serving, live: &Set, wanted: &Set, changes: &[&Change]) -> Result<(), No> {
        // The last one first: of two that want the same, the one that asked first gets it.
        for change in changes.iter().rev() {
            let Change::Put(Shape { site, mode: Mode::Own { hostnames, listen }, .. }) = change else {
                continue;
            };
            let own = Name::Site(site.clone());
            if live.get(&own) == wanted.get(&own) {
                continue;
            }
            let counts = |server: &theirs::Server| {
                let name = Name::of(&server.file, &self.settings.folders);
                name.as_ref() != Some(&own) && name != Some(Name::Common)
            };
            if let Some(conflict) = serving.conflict(hostnames, listen, counts) {
                let place = format!("{}:{}", conflict.file.display(), conflict.line);
                let other = match Name::of(&conflict.file, &self.settings.folders) {
                    Some(Name::Site(other)) => format!("the site {other} ({place}) is in the way"),
                    _ => format!("the server block at {place} is in the way"),
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
        let folders = &self.settings.folders;
        if let Err(error) = folders.replace(live, wanted) {
            // Best effort: the next batch compares with what is there, whatever that is.
            let _ = folders.replace(wanted, live);
            return Err(unwritten(error));
        }
        let reload = Reload {
            pid_file: &self.settings.pid,
            door: self.settings.door,
            logs: &serving.error_logs,
            within: self.settings.reload_within,
        };
        let outcome = reload.run(&generation_of(wanted));
        if outcome != Outcome::Down {
            reloads.fetch_add(1, Ordering::Relaxed);
        }
        let (whose, class, why) = match outcome {
            Outcome::Seen => return Ok(()),
            // The files are right: nginx comes up with them.
            Outcome::Down => return Err(everyone(down(&self.settings))),
            Outcome::Refused(refusal) => {
                let whose = self.who_is_refused(&refusal, wanted, live, changes);
                (whose, Class::User, refusal.to_string())
            }
            Outcome::Nothing => (
                Whose::Everyone,
                Class::Transient,
                format!(
                    "not every worker had it within {} s, and no error log says why; is the master stopped, or very busy?",
                    self.settings.reload_within.as_secs_f32()
                ),
            ),
        };
        let undone = folders.replace(wanted, live);
        if matches!(whose, Whose::Everyone) {
            // It may still come: then it comes with the old files.
            reloads.fetch_add(1, Ordering::Relaxed);
            let again = Reload { within: self.settings.reload_within.min(Duration::from_secs(2)), ..reload };
            let _ = again.run(&generation_of(live));
        }
        let undone = match undone {
            Ok(()) => "what was in force before is in place again".to_owned(),
            Err(error) => format!("and what was in force before could not be put back: {error}"),
        };
        Err(No {
            whose,
            fault: fault(
                class,
                reason::RELOAD_FAILED,
                format!("nginx was told to reload and did not: {why}; {undone}"),
            ),
        })
    }

    /// Whose listener it is that nginx could not open, or whose file it names.
    fn who_is_refused(&self, refusal: &Refusal, wanted: &Set, live: &Set, changes: &[&Change]) -> Whose {
        if let Some(site) = self.owner(refusal).and_then(|name| name.site().cloned()) {
            return Whose::Site(site);
        }
        let address = refusal
            .text
            .strip_prefix("bind() to ")
            .and_then(|rest| rest.split(' ').next())
            .and_then(|address| address.parse::<SocketAddr>().ok());
        let wants = |change: &&&Change| {
            let name = Name::Site(change.site().clone());
            let listens = |set: &Set| {
                let text = set.get(&name)?;
                Some(self.drafter().served_by(&name, text).1.contains(&address?))
            };
            listens(wanted) == Some(true) && listens(live) != Some(true)
        };
        match changes.iter().find(wants) {
            Some(change) => Whose::Site(change.site().clone()),
            None => Whose::Somebody,
        }
    }

    /// Whether the door answers from this set.
    fn answers(&self, set: &Set) -> bool {
        door::ask(self.settings.door, door::ANYBODY).is_ok_and(|answer| answer.generation == generation_of(set))
    }

    fn all_are_included(&self, changes: &[&Change]) -> bool {
        changes.iter().all(|change| !in_include_mode(change) || self.included.get(change.site()) == Some(&true))
    }

    fn includes(&self, dump: &Dump, change: &Change) -> bool {
        dump.reads(&Name::Snippet(change.site().clone()).path(&self.settings.folders))
    }

    fn unreached(&mut self, dump: &Dump, changes: &[&Change]) -> Vec<(SiteName, Fault)> {
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
            let snippet = Name::Snippet(site.clone()).path(&self.settings.folders);
            let message = format!(
                "no server block includes {0}; add `include {0};` to the one that is to serve {site}",
                snippet.display()
            );
            unreached.push((site.clone(), fault(Class::User, reason::SNIPPET_NOT_INCLUDED, message)));
        }
        unreached
    }
}

fn in_include_mode(change: &Change) -> bool {
    matches!(change, Change::Put(Shape { mode: Mode::Include, .. }))
}
