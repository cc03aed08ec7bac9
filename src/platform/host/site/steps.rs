//! Takes one step, with a last look at the world right before it.

use std::io;

use super::drain::{forget_served, note_served};
use super::{HostSite, Inner, blocking, cannot};
use crate::platform::Store;
use crate::platform::host::supervise::{InstanceState, Supervisor, oom};
use crate::platform::host::web::WebServer;
use crate::platform::host::{memory, release, route, runtime};
use crate::platform::{Class, Fault};
use crate::rollout::{Colour, Goal, Ledger, Plan, Refusal, Revision, Step, Why, guard};

/// So many releases are kept besides those that are needed, for a rollback.
const KEPT: usize = 3;

impl<W: WebServer + 'static, S: Supervisor + 'static> HostSite<W, S> {
    pub(super) async fn step(&self, plan: &Plan, goal: &Goal, inner: &mut Inner) -> Result<(), Fault> {
        let Some(step) = goal.step else { return Ok(()) };
        if let Step::Route { why: Why::Cutover, .. } = step {
            // It may take a while, so it comes before the last look.
            self.ensure_shape(inner).await?;
        }
        let ledger = self.memory.load().await?.ledger.unwrap_or_default();
        let world = self.look(inner).await.map_err(|what| Fault {
            class: Class::Conflict,
            reason: "WorldUnknown",
            message: format!("{what}; nothing is done before it can be seen"),
        })?;
        guard(goal, &ledger, &world).map_err(refused)?;
        if let Step::Route { why: Why::Cutover, colour, revision } = step
            && !ledger.cleared.contains(&revision)
        {
            self.refuse_exposed(colour, inner).await?;
        }
        // Before anything moves: what the preview showed may go live or be stopped.
        self.end_preview(inner).await?;
        match step {
            Step::Start { colour, revision } => self.start(colour, revision, &ledger, inner).await,
            Step::Stop { colour, .. } => self.stop(colour, &ledger, plan, inner).await,
            Step::Route { colour, .. } => {
                let dir = self.dir.clone();
                blocking(move || {
                    note_served(&dir, colour)
                        .and_then(|()| route::point(&dir, colour))
                        .map_err(|e| cannot("move the link that decides which colour is live", &e))
                })
                .await?;
                inner.seen = None;
                inner.unseen = 0;
                oom::follow(&*self.host.supervisor, &self.name, colour).await;
                Ok(())
            }
            Step::Unroute => {
                route::unroute(&self.dir)
                    .map_err(|e| cannot("remove the link that decides which colour is live", &e))?;
                self.host.web.remove(&self.name).await
            }
        }
    }

    async fn start(&self, colour: Colour, revision: Revision, ledger: &Ledger, inner: &mut Inner) -> Result<(), Fault> {
        let record = self.records(inner)?.get(&revision).cloned().ok_or_else(|| Fault {
            class: Class::User,
            reason: "ReleaseGone",
            message: format!(
                "release {} is not on this machine any more: apply the manifest that described it, or another one",
                revision.short()
            ),
        })?;
        let launches = runtime::launches(&self.name, &self.dir, colour, revision, &record.run)?;
        if !launches.is_empty() {
            self.fits(colour).await?;
        }
        self.keep_assets(colour, revision, ledger, inner).await?;
        let dir = self.dir.clone();
        let run = record.run.clone();
        blocking(move || {
            let held = || -> io::Result<()> {
                route::prepare(&dir)?;
                if route::held(&dir, colour)? != Some(revision) {
                    forget_served(&dir, colour)?;
                    runtime::clear(&dir, colour)?;
                    route::hold(&dir, colour, Some(revision))?;
                }
                Ok(())
            };
            held().map_err(|e| cannot(&format!("put the release into {colour}"), &e))?;
            runtime::prepare(&dir, colour, revision, &run)
        })
        .await?;
        if !launches.is_empty() {
            self.host.supervisor.start(&self.name, colour, &launches).await?;
        }
        self.watch(colour, &record, inner);
        if let Some(watched) = inner.watched(colour) {
            // We start it, so it is known to be down until it answers.
            watched.adopted = None;
        }
        Ok(())
    }

    /// Whether a colour that is about to start fits beside the live one. A standby is no reason to wait: it is where the candidate goes, so it was
    /// stopped before. What is live itself, or runs already in part, is completed anyway.
    async fn fits(&self, colour: Colour) -> Result<(), Fault> {
        if !matches!(route::live(&self.dir), Ok(Some(live)) if live == colour.other()) {
            return Ok(());
        }
        let pids = |states: Vec<InstanceState>| -> Vec<u32> {
            let running = states.into_iter().filter_map(|state| match state {
                InstanceState::Running { pids, .. } => Some(pids),
                InstanceState::Stopped | InstanceState::Failed { .. } => None,
            });
            running.flatten().collect()
        };
        if !pids(self.host.supervisor.states(&self.name, colour).await?).is_empty() {
            return Ok(());
        }
        memory::fits(&pids(self.host.supervisor.states(&self.name, colour.other()).await?))
    }

    async fn stop(&self, colour: Colour, ledger: &Ledger, plan: &Plan, inner: &mut Inner) -> Result<(), Fault> {
        self.host.supervisor.stop(&self.name, colour).await?;
        *inner.watched(colour) = None;
        let needed: Vec<Revision> = [ledger.stable, ledger.intent]
            .into_iter()
            .flatten()
            .map(|held| held.revision)
            .chain(ledger.rollback.map(|rollback| rollback.to))
            .chain(plan.wanted)
            .collect();
        let dir = self.dir.clone();
        let name = self.name.clone();
        let state = self.host.state.clone();
        blocking(move || {
            let emptied = route::hold(&dir, colour, None).and_then(|()| forget_served(&dir, colour));
            emptied.map_err(|e| cannot(&format!("empty {colour}"), &e))?;
            runtime::clear(&dir, colour).map_err(|e| cannot(&format!("remove what {colour} worked in"), &e))?;
            // Old releases take up room and nothing else: what can't be removed now is removed the next time.
            if let Err(error) = release::prune(&dir, &needed, KEPT) {
                tracing::warn!(site = %name, %error, "old releases were not removed");
            }
            if let Err(error) = release::Downloads::of(&state).prune(&state) {
                tracing::warn!(site = %name, %error, "what was fetched for them was not removed");
            }
            Ok(())
        })
        .await
    }

    /// The hashed assets of what runs, of what is about to, and of earlier releases stay to be had.
    async fn keep_assets(
        &self,
        colour: Colour,
        revision: Revision,
        ledger: &Ledger,
        inner: &mut Inner,
    ) -> Result<(), Fault> {
        let other = super::held(&self.dir, colour.other()).ok().flatten();
        let records = self.records(inner)?;
        let Some(record) = records.get(&revision).cloned() else {
            return Ok(());
        };
        if record.run.statics.iter().all(|one| one.keep == 0) {
            return Ok(());
        }
        let mut earlier: Vec<_> = records
            .values()
            .filter(|of| ledger.cleared.contains(&of.revision))
            .map(|of| (of.taken_at, of.revision))
            .collect();
        earlier.sort_unstable();
        let earlier: Vec<Revision> = earlier.into_iter().rev().map(|(_, revision)| revision).collect();
        let slots: Vec<Revision> = [Some(revision), other].into_iter().flatten().collect();
        let dir = self.dir.clone();
        blocking(move || Ok(release::keep_assets(&dir, &slots, &earlier, &record.run.statics)?)).await
    }
}

fn refused(refusal: Refusal) -> Fault {
    let message = match refusal {
        Refusal::Outdated => "it was decided with an older memory than the one on disk",
        Refusal::RouteNamesIt => "traffic goes to the colour that was to be stopped",
        Refusal::StillDraining => "the colour that was to be stopped still has requests in flight",
        Refusal::Occupied => "the slot runs something else",
        Refusal::NotReady => "the colour that traffic was to go to is not ready",
        Refusal::NotIntended => "the cutover is not on record",
    };
    Fault {
        class: Class::Conflict,
        reason: "WorldChanged",
        message: format!("the step was not taken: {message}; looking again"),
    }
}
