//! What the app can be told, by arguments, by the environment, or by a file `rig.env` in its working folder: a release can carry its own
//! misbehaviour.

use std::path::PathBuf;

use clap::Parser;

/// A small web app that says who it is.
#[derive(Clone, Debug, Parser)]
#[command(name = "rig-app")]
pub struct Options {
    /// Where to listen, on 127.0.0.1.
    #[arg(long, env = "PORT")]
    pub port: u16,
    /// What to call this version; by default what the file VERSION in the working folder says, or `v0`.
    #[arg(long, env = "RIG_VERSION")]
    pub version_name: Option<String>,
    /// Which colour it is told to be.
    #[arg(long, env = "BLUEGREEN_COLOUR", default_value = "")]
    pub colour: String,
    /// Which instance it is told to be.
    #[arg(long, env = "BLUEGREEN_INSTANCE", default_value = "")]
    pub instance: String,
    /// Never says that it is healthy.
    #[arg(long, env = "RIG_NEVER_READY")]
    pub never_ready: bool,
    /// Ends with exit code 3 so many milliseconds after it began to listen.
    #[arg(long, env = "RIG_CRASH_AFTER_MS")]
    pub crash_after_ms: Option<u64>,
    /// Takes no notice of SIGTERM.
    #[arg(long, env = "RIG_IGNORE_TERM")]
    pub ignore_term: bool,
    /// After SIGTERM, goes on answering for so many milliseconds, each time with `Connection: close`: whoever keeps a connection learns
    /// that it ends before it does.
    #[arg(long, env = "RIG_DRAIN_MS", default_value_t = 0)]
    pub drain_ms: u64,
    /// Listens here instead of where it should.
    #[arg(long, env = "RIG_WRONG_PORT")]
    pub wrong_port: Option<u16>,
    /// Listens on every address instead of 127.0.0.1 alone.
    #[arg(long, env = "RIG_EXPOSED")]
    pub exposed: bool,
    /// The same, for IPv6 too.
    #[arg(long, env = "RIG_EXPOSED6")]
    pub exposed6: bool,
    /// Listens here too, on every address, as a debugger or JMX does; it answers nothing there.
    #[arg(long, env = "RIG_FURTHER_PORT")]
    pub further_port: Option<u16>,
    /// Answers 500 at this path.
    #[arg(long, env = "RIG_FAILS")]
    pub fails: Option<String>,
    /// Waits so many milliseconds before it listens.
    #[arg(long, env = "RIG_START_MS", default_value_t = 0)]
    pub start_ms: u64,
    /// Says that it isn't healthy for so many milliseconds after it began to listen.
    #[arg(long, env = "RIG_READY_AFTER_MS", default_value_t = 0)]
    pub ready_after_ms: u64,
    /// Takes so many milliseconds to say whether it is healthy.
    #[arg(long, env = "RIG_HEALTH_MS", default_value_t = 0)]
    pub health_ms: u64,
    /// Takes so many MiB of memory.
    #[arg(long, env = "RIG_MEMORY_MIB", default_value_t = 0)]
    pub memory_mib: usize,
    /// Writes a line for each order that it answered: shows an order that was taken twice.
    #[arg(long, env = "RIG_JOURNAL")]
    pub journal: Option<PathBuf>,
    /// Writes a line for each request but those for its health, as it arrives: what was sent to whom, whatever became of it.
    #[arg(long, env = "RIG_ARRIVALS")]
    pub arrivals: Option<PathBuf>,
}

impl Options {
    /// From the command line, the environment and `rig.env`, the first of them that says something.
    ///
    /// # Errors
    /// What is wrong with them, as the command line's parser says it.
    pub fn read() -> Result<Options, clap::Error> {
        let extra = std::fs::read_to_string("rig.env").unwrap_or_default();
        let mut options = Options::try_parse_from(std::env::args_os().chain(as_arguments(&extra).map(Into::into)))?;
        if options.version_name.is_none() {
            let version = std::fs::read_to_string("VERSION").ok();
            options.version_name = version.map(|text| text.trim().to_owned());
        }
        Ok(options)
    }

    /// What this version is called.
    #[must_use]
    pub fn version(&self) -> &str {
        self.version_name.as_deref().unwrap_or("v0")
    }
}

/// `never-ready`, or `start-ms=300`: a line is an argument without its dashes.
fn as_arguments(text: &str) -> impl Iterator<Item = String> + '_ {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| format!("--{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_can_carry_its_own_misbehaviour() {
        let words = ["rig-app", "--port", "1"].map(String::from);
        let lines = as_arguments("# broken on purpose\nnever-ready\nstart-ms=300\n");
        let options = Options::try_parse_from(words.into_iter().chain(lines)).expect("they are options");
        assert!(options.never_ready);
        assert_eq!(options.start_ms, 300);
    }
}
