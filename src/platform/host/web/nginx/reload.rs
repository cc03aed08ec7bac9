//! A reload that is seen: asked of the master, and believed only when every worker of before takes no new connection any more and a new one has
//! answered with the new generation. nginx itself reports nothing: a reload that failed is a line in a log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::process;
use super::refusal::refusal;
use crate::platform::host::web::door;
use crate::platform::host::web::kind::Outcome;
use crate::platform::host::web::log::Mark;
use crate::platform::host::web::process::{Known, tell};
use crate::platform::host::web::trial::Refusal;

/// What a reload needs to know.
pub struct Reload<'a> {
    /// Where the master's number stands.
    pub pid_file: &'a Path,
    /// Whom to ask for the generation.
    pub door: SocketAddr,
    /// The logs in which the master may say why not.
    pub logs: &'a [PathBuf],
    /// How long it may take.
    pub within: Duration,
}

impl Reload<'_> {
    /// Asks for the reload and waits until `generation` is in force.
    #[must_use]
    pub fn run(&self, generation: &str) -> Outcome {
        let Some(master) = process::master(self.pid_file) else {
            return Outcome::Down;
        };
        let marks: Vec<Mark> = self.logs.iter().filter_map(|log| Mark::at_end(log)).collect();
        let before = process::workers(master);
        if tell(master, Signal::HUP).is_err() {
            return Outcome::Down;
        }
        let begun = Instant::now();
        loop {
            if self.in_force(&before, generation) {
                return Outcome::Seen;
            }
            let said = marks.iter().find_map(|mark| refused(mark, master));
            // Whoever started another master in between settles it: its door answers, or doesn't.
            if let Some(refusal) = said {
                return Outcome::Refused(refusal);
            }
            if begun.elapsed() > self.within {
                return match process::master(self.pid_file) {
                    Some(_) => Outcome::Nothing,
                    None => Outcome::Down,
                };
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The order matters: a worker of before may answer until it is seen to take no more.
    fn in_force(&self, before: &[Known], generation: &str) -> bool {
        !before.iter().any(|worker| process::accepts(*worker))
            && door::ask(self.door, door::ANYBODY).is_ok_and(|answer| answer.generation == generation)
    }
}

/// What the master has said since then of a reload that it gave up.
fn refused(mark: &Mark, master: Known) -> Option<Refusal> {
    let since = mark.since()?;
    let by_master = format!("[emerg] {}#", master.pid);
    let lines: Vec<&str> = since.lines().filter(|line| line.contains(&by_master)).collect();
    // An address that is in use is tried five times, and each try is a line: only the last one ends it.
    let tried = |line: &&&str| line.contains("bind() to ");
    let over = lines.iter().any(|line| !tried(&line)) && !lines.is_empty();
    let telling = lines.iter().find(tried).or_else(|| lines.last());
    over.then(|| telling.map(|line| refusal(line))).flatten()
}
