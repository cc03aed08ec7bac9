//! Whom the kernel kills first when memory runs out: an idle colour's instances, never the live ones' before them.

use std::fs;
use std::io;

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
