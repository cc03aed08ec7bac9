//! Whether a second copy of an app fits into the machine's memory, asked before it is started, and by `bluegreen doctor`: else the kernel would choose what ends, and that may
//! be what is live.
//!
//! What one copy needs is told by the one that is live: the most that its processes ever had, without the files that both copies share.

use std::fs;

use crate::platform::{Class, Fault};

/// What the machine has left for another copy, in bytes: what it could free without swapping, and what is free of its swap. `None`: it can't be told.
pub(super) fn left() -> Option<u64> {
    Some(of_machine("MemAvailable")? + of_machine("SwapFree").unwrap_or(0))
}

/// What as much again as these processes had would take, in bytes.
pub(super) fn another(pids: impl IntoIterator<Item = u32>) -> u64 {
    pids.into_iter().map(peak).sum()
}

/// The most that a process had for itself, in bytes; 0 for one that is gone.
fn peak(pid: u32) -> u64 {
    of_process(pid, "VmHWM").saturating_sub(of_process(pid, "RssFile"))
}

/// A figure of `/proc/meminfo`, in bytes. `None`: it can't be told.
fn of_machine(name: &str) -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

/// A figure of a process's memory (`/proc/PID/status`), in bytes; 0 for one that is gone.
fn of_process(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    field(&text, name).unwrap_or(0)
}

/// A field in KiB of a file of the kernel's, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Judges whether as much again as these processes had fits.
///
/// # Errors
/// It doesn't ([`Class::Transient`]: it may, later).
pub(super) fn fits(live: &[u32]) -> Result<(), Fault> {
    left().map_or(Ok(()), |left| judge(another(live.iter().copied()), left))
}

fn judge(need: u64, left: u64) -> Result<(), Fault> {
    if need <= left {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Fault {
        class: Class::Transient,
        reason: "MemoryShort",
        message: format!(
            "the live colour took up to {} MiB of memory, and {} MiB are left (with the free swap): a second copy does not fit, and is not \
             started; let each take less (as with -Xmx), or give the machine memory or swap; it is tried again until readyWithin is over",
            mib(need),
            mib(left)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_and_left_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:  100 kB\nMemAvailable:    2048 kB\nSwapFree:  1 kB\nVmHWM:\t  7 kB\n";
        assert_eq!(field(text, "MemAvailable"), Some(2 << 20));
        assert_eq!(field(text, "VmHWM"), Some(7 << 10));
        assert_eq!(field(text, "Mem"), None);
        assert!(left().is_some_and(|left| left > 0), "this machine has memory");
        assert!(peak(std::process::id()) > 0, "this process takes some");
        assert_eq!(peak(u32::MAX), 0);
    }

    #[test]
    fn a_second_copy_that_does_not_fit_is_told_with_both_figures() {
        assert!(judge(5, 5).is_ok() && judge(0, 0).is_ok());
        let message = judge(400 << 20, 100 << 20).expect_err("it does not fit").message;
        assert!(message.contains("up to 400 MiB") && message.contains("100 MiB are left"), "{message}");
    }
}
