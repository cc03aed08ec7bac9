//! The candidate's warm-up: once for each attempt and each life of its instances. It goes on while one of them is too busy with it to answer for its
//! health: else a slow page could have it begun anew for ever.

use super::Watched;
use crate::platform::host::probe::Warming;
use crate::platform::host::supervise::InstanceState;
use crate::rollout::Attempt;

/// A warm-up, and what it is of.
pub(super) struct WarmUp {
    about: Attempt,
    lives: Vec<u32>,
    warming: Warming,
}

impl Watched {
    /// How the warm-up of this attempt ended, which is begun if it wasn't. `None`: it goes on. A failure stays one, also where the instance that
    /// failed ended with it and was started again.
    pub(super) fn warmed_up(&mut self, about: Attempt) -> Option<Result<(), String>> {
        let failed = |known: &WarmUp| matches!(known.warming.outcome(), Some(Err(_)));
        let known = self.warm_up.as_ref().filter(|known| known.about == about);
        let known = known.is_some_and(|known| known.lives == self.lives || failed(known));
        if !known {
            let warming = self.probe.as_ref().and_then(|probe| probe.warm_up());
            self.warm_up = warming.map(|warming| WarmUp { about, lives: self.lives.clone(), warming });
        }
        self.warm_up.as_ref().map_or(Some(Ok(())), |known| known.warming.outcome())
    }
}

/// The first process of each instance that runs.
pub(super) fn lives(states: &[InstanceState]) -> Vec<u32> {
    let first = states.iter().filter_map(|state| match state {
        InstanceState::Running { pids, .. } => pids.first().copied(),
        InstanceState::Stopped | InstanceState::Failed { .. } => None,
    });
    first.collect()
}
