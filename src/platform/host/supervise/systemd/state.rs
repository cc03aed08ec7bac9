//! From what systemd says of a unit to what became of an instance.

use std::fs;
use std::path::{Path, PathBuf};

use super::bus::Unit;
use crate::platform::host::supervise::{InstanceState, process};

pub(super) fn state_of(unit: &Unit) -> InstanceState {
    let restarts = unit.restarts;
    if unit.waits() || unit.active == "failed" {
        return InstanceState::Failed { how: how(unit), restarts };
    }
    if unit.is_off() {
        return InstanceState::Stopped;
    }
    InstanceState::Running { pids: processes(unit), restarts }
}

fn how(unit: &Unit) -> String {
    match (unit.ended, unit.status) {
        (1, 200) => "its folder can't be entered by its user".to_owned(),
        (1, 203) => "its program can't be executed: is it there, and may its user execute it?".to_owned(),
        (1, 217) => "its user does not exist".to_owned(),
        (1, 226) => "its sandbox can't be made: is a shared folder missing?".to_owned(),
        (1, code) => format!("exit code {code}"),
        (2 | 3, signal) => format!("signal {signal}"),
        _ => unit.result.clone(),
    }
}

/// All processes of a unit, its first one in front.
pub(super) fn processes(unit: &Unit) -> Vec<u32> {
    let mut pids = Vec::new();
    if !unit.group.is_empty() {
        let roots = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let folders = roots.map(|root| PathBuf::from(format!("{root}{}", unit.group)));
        if let Some(folder) = folders.iter().find(|folder| folder.join("cgroup.procs").exists()) {
            gather(folder, &mut pids);
        }
    }
    pids.retain(|&pid| pid != unit.main);
    if unit.main != 0 && process::Process::find(unit.main).is_some() {
        pids.insert(0, unit.main);
    }
    pids
}

fn gather(folder: &Path, pids: &mut Vec<u32>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            gather(&entry.path(), pids);
        }
    }
}
