//! Instances that were ready and ended by themselves. A supervisor starts them again at once, so their colour is hardly ever down for
//! long; to a site's users each such end is lost requests all the same. So the checks count them.

use std::time::Instant;

use crate::platform::host::probe::Report;
use crate::platform::host::supervise::InstanceState;
use crate::rollout::Stage;

/// A candidate without traffic may fall so often less one: it harms nobody, and comes to rest in the end.
const TOO_MANY: u32 = 3;

/// The falls of a colour's instances since it is looked after.
#[derive(Debug, Default)]
pub(super) struct Falls {
    /// Of each instance that was ready at the last look: how often it had ended.
    ready: Vec<Option<u32>>,
    count: u32,
    last: Option<(Instant, String)>,
}

impl Falls {
    /// Looks which instances ended since the last look.
    pub(super) fn note(&mut self, states: &[InstanceState], report: &Report) {
        self.ready.resize(report.instances.len(), None);
        for (index, (before, health)) in self.ready.iter_mut().zip(&report.instances).enumerate() {
            let (ends, how) = match states.get(index) {
                Some(InstanceState::Running { restarts, .. }) => (*restarts, ""),
                Some(InstanceState::Failed { how, restarts }) => (restarts.saturating_add(1), how.as_str()),
                Some(InstanceState::Stopped) | None => {
                    *before = None;
                    continue;
                }
            };
            if before.is_some_and(|before| ends > before) {
                self.count = self.count.saturating_add(1);
                let how = if how.is_empty() { String::new() } else { format!(" ({how})") };
                let detail = format!("instance {index} ended by itself{how} after it was ready");
                self.last = Some((Instant::now(), detail));
            }
            *before = health.ready.then_some(ends);
        }
    }

    /// Why the checks that began then have failed, if they have: a live colour must not fall at all while it is watched.
    pub(super) fn too_many(&self, stage: Stage, begun: Instant) -> Option<String> {
        let (at, detail) = self.last.as_ref()?;
        match stage {
            Stage::Verify if self.count >= TOO_MANY => Some(format!("{detail}, for the {}. time", self.count)),
            Stage::Bake if *at >= begun => Some(format!("{detail}: see bluegreen logs")),
            Stage::Verify | Stage::Bake => None,
        }
    }
}
