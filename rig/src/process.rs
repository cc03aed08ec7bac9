//! Processes that end with the value that holds them, also when a test panics.

use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A process that is ended when this is dropped: asked first, killed when it doesn't listen.
#[derive(Debug)]
pub struct Guarded {
    child: Child,
    ask: Signal,
    patience: Duration,
}

impl Guarded {
    /// Starts it. On drop it gets `ask`, and SIGKILL if it is still there after `patience`.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start(command: &mut Command, ask: Signal, patience: Duration) -> Result<Guarded> {
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Guarded { child, ask, patience })
    }

    /// One that somebody else started. On drop it gets `ask`, and SIGKILL if it is still there after `patience`.
    #[must_use]
    pub fn of(child: Child, ask: Signal, patience: Duration) -> Guarded {
        Guarded { child, ask, patience }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal. Nothing happens if it has ended.
    pub fn signal(&mut self, signal: Signal) {
        // It has not been waited for as long as `runs`, so the id is still its own.
        if self.runs()
            && let Some(pid) = pid_of(self.child.id())
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it at once and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end and waits; kills it when its patience is over. Returns whether it ended by itself.
    pub fn stop(&mut self) -> bool {
        self.signal(self.ask);
        let begun = Instant::now();
        while self.runs() {
            if begun.elapsed() > self.patience {
                self.kill();
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a command to its end and returns what it printed; what it printed is in the error if it failed.
///
/// # Errors
/// When it can't be started, or ends with anything but 0.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}

/// Whether a process exists (a zombie doesn't count).
#[must_use]
pub fn exists(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The children of a process, whichever of its threads started them.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    texts.flat_map(|text| text.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// The time on a CPU of a process that has one thread, to the nanosecond.
#[must_use]
pub fn precise_cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    Some(Duration::from_nanos(stat.split_whitespace().next()?.parse().ok()?))
}

/// The time on a CPU of a whole process, of threads that have ended too, to a hundredth of a second.
#[must_use]
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name may hold anything; after it the 12th and 13th field are user's and system's ticks.
    let (_, rest) = stat.rsplit_once(") ")?;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Some(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// A process's resident memory in bytes.
#[must_use]
pub fn memory(pid: u32) -> Option<u64> {
    kib(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The most resident memory that a process ever had, in bytes.
#[must_use]
pub fn peak_memory(pid: u32) -> Option<u64> {
    kib(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// A process's share of the memory in bytes: what it has with others counts in part.
#[must_use]
pub fn shared_memory(pid: u32) -> Option<u64> {
    kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn kib(file: &str, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
