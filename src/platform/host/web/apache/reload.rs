//! A graceful restart that is seen: asked of the master, and believed only when every child of before takes no new connection any more and a new
//! one has answered with the new generation.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::process;
use super::refusal::last_words;
use crate::platform::host::web::door;
use crate::platform::host::web::kind::Outcome;
use crate::platform::host::web::log::Mark;
use crate::platform::host::web::process::{know, tell};
use crate::platform::host::web::trial::Refusal;

/// What a graceful restart needs to know.
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
    /// Asks for it and waits until `generation` is in force.
    #[must_use]
    pub fn run(&self, generation: &str) -> Outcome {
        let Some(master) = process::master(self.pid_file) else {
            return Outcome::Down;
        };
        let marks: Vec<Mark> = self.logs.iter().filter_map(|log| Mark::at_end(log)).collect();
        let before = process::all(master);
        if tell(master, Signal::USR1).is_err() {
            return Outcome::Down;
        }
        let begun = Instant::now();
        loop {
            if know(master.pid) != Some(master) {
                // Apache ends at a configuration that it can't bring into force. What was there before must be back before it is started.
                return Outcome::Refused(ended(&marks));
            }
            // In this order: while Apache reads its files nobody takes connections, so what answers afterwards has read them. An answer of
            // before can have the same generation, when files were only put back.
            let old_are_gone = process::accepting(&before).is_empty();
            let answers = self.answers(generation);
            if answers && old_are_gone {
                return Outcome::Seen;
            }
            if begun.elapsed() > self.within {
                // A child of the prefork kind keeps its listener until its request is done, and takes no other one.
                return if answers { Outcome::Seen } else { Outcome::Nothing };
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn answers(&self, generation: &str) -> bool {
        door::ask(self.door, door::ANYBODY).is_ok_and(|answer| answer.generation == generation)
    }
}

fn ended(marks: &[Mark]) -> Refusal {
    let said = marks.iter().filter_map(Mark::since).find_map(|log| last_words(&log));
    said.unwrap_or_else(|| Refusal {
        text: "it ended, and its error log does not say why".to_owned(),
        place: None,
        address: None,
    })
}
