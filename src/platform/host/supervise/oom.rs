//! Whom the kernel kills first when memory runs out: an idle colour's instances, never the live ones' before them.

use std::fs;
use std::io;

use super::{InstanceState, Supervisor};
use crate::api::types::SiteName;
use crate::rollout::Colour;

const EXPENDABLE: &str = "500";
const ORDINARY: &str = "0";

/// Says of a process, and of what it will start, whether it goes first when memory runs out.
///
/// # Errors
/// The process is gone, or a container does not let us choose.
pub fn prefer(pid: u32, expendable: bool) -> io::Result<()> {
    let score = if expendable { EXPENDABLE } else { ORDINARY };
    fs::write(format!("/proc/{pid}/oom_score_adj"), score)
}

/// The same for many; those that are gone are passed over.
pub fn prefer_all(pids: &[u32], expendable: bool) {
    for &pid in pids {
        // A process that ended meanwhile needs no preference.
        let _ = prefer(pid, expendable);
    }
}

/// Says it of all instances of a site after its link moved. What is started later is told by the link at its start.
pub async fn follow(supervisor: &impl Supervisor, site: &SiteName, live: Colour) {
    for colour in Colour::BOTH {
        // It is a preference: a supervisor that does not answer is asked for more important things soon enough.
        for state in supervisor.states(site, colour).await.unwrap_or_default() {
            if let InstanceState::Running { pids, .. } = state {
                prefer_all(&pids, colour != live);
            }
        }
    }
}
