//! The command line, with kubectl's manners: a hand that knows one knows both.
//!
//! | part | what it does |
//! |---|---|
//! | `apply`, `delete`, `validate` | hand in a manifest, take it away, judge it offline |
//! | `push` | uploads a release, to this machine or by ssh to another |
//! | `get`, `describe`, `history`, `logs` | look |
//! | `fleet` | the sites of many clusters and of the hosts that they lead, in one table |
//! | `command` | `approve`, `abort`, `retry`, `rollback`, `pause`, `resume`, `restart` |
//! | `host`, `operator`, `crd`, `completion`, `man`, `version` | the daemons' own start, and what needs none |
//! | `doctor` | what is wrong with this machine |
//! | `follow` | one site, drawn as it goes, for `apply --wait` and `get -w` |
//! | `place` | which sites are meant: those of this machine, or those of a cluster |
//! | `source` | where they are: one set of questions, and two that answer |
//! | `cluster` | the one that asks a cluster's API server; the other is `control::client` |
//! | `view` | a site as it is shown, with its parts typed |
//! | `render` | from a view to text: pure, so that tests look at it |
//! | `output` | writes text, and knows whether a terminal reads it |
//!
//! Everything but `validate`, `doctor`, `crd`, `completion`, `man` and `version` asks the agent over its control socket, or a cluster.

pub mod apply;
pub mod cluster;
pub mod command;
pub mod completion;
pub mod crd;
pub mod delete;
pub mod describe;
pub mod doctor;
pub mod fleet;
mod follow;
pub mod get;
pub mod history;
pub mod host;
pub mod logs;
pub mod man;
pub mod operator;
pub mod output;
pub mod place;
pub mod push;
pub mod render;
pub mod source;
pub mod validate;
pub mod version;
pub mod view;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use place::Program;
use source::{Source, SourceError};

/// Blue/green deployment of web sites with nothing lost.
#[derive(Debug, Parser)]
#[command(
    name = "bluegreen",
    bin_name = "bluegreen",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    place: place::Args,

    #[command(subcommand)]
    subcommand: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    Apply(apply::Args),
    Push(push::Args),
    Get(get::Args),
    Describe(describe::Args),
    History(history::Args),
    Fleet(fleet::Args),
    /// Let the candidate go live.
    Approve(command::Args),
    /// Give up the candidate, or leave it again while it is watched.
    Abort(command::Args),
    /// Forget that the wanted revision was rejected, and try it again.
    Retry(command::Args),
    Rollback(command::RollbackArgs),
    /// Start nothing more, and let no deadline pass.
    Pause(command::Args),
    /// Go on after a pause.
    Resume(command::Args),
    /// Roll the same release out once more, on the other colour.
    Restart(command::Args),
    Delete(delete::Args),
    Validate(validate::Args),
    Logs(logs::Args),
    Doctor(doctor::Args),
    Host(host::Args),
    Operator(operator::Args),
    Crd(crd::Args),
    Completion(completion::Args),
    #[command(hide = true)]
    Man(man::Args),
    Version(version::Args),
}

/// Runs the command line that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// Runs this command line: 0 if all went well, 1 if not, 2 if the command line itself is wrong; `doctor` has codes of its own.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = Program::called(arguments.first().map(OsString::as_os_str));
    let (cli, place) = match place::parse(program, arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and the version are errors too, to clap; it knows which go where.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    use command::Kind;
    let done = match cli.subcommand {
        Sub::Apply(args) => block_on(async { apply::run(place.open().await?, args).await }),
        Sub::Push(args) => block_on(push::run(place, args)),
        Sub::Get(args) => block_on(async { get::run(place.open().await?, args).await }),
        Sub::Describe(args) => block_on(async { describe::run(place.open().await?, args).await }),
        Sub::Fleet(args) => block_on(fleet::run(place, args)),
        Sub::History(args) => block_on(async { history::run(place.open().await?, args).await }),
        Sub::Approve(args) => block_on(async { command::run(place.open().await?, Kind::Approve, args).await }),
        Sub::Abort(args) => block_on(async { command::run(place.open().await?, Kind::Abort, args).await }),
        Sub::Retry(args) => block_on(async { command::run(place.open().await?, Kind::Retry, args).await }),
        Sub::Rollback(args) => block_on(async { command::rollback(place.open().await?, args).await }),
        Sub::Pause(args) => block_on(async { command::run(place.open().await?, Kind::Pause, args).await }),
        Sub::Resume(args) => block_on(async { command::run(place.open().await?, Kind::Resume, args).await }),
        Sub::Restart(args) => block_on(async { command::run(place.open().await?, Kind::Restart, args).await }),
        Sub::Delete(args) => block_on(async { delete::run(place.open().await?, args).await }),
        Sub::Logs(args) => block_on(async { logs::run(place.open().await?, args).await }),
        Sub::Validate(args) => validate::run(&args),
        Sub::Doctor(args) => block_on(doctor::run(args)),
        Sub::Host(args) => host::run(place, args),
        Sub::Operator(args) => operator::run(args),
        Sub::Crd(_) => crd::run(),
        Sub::Completion(args) => completion::run(&args),
        Sub::Man(args) => man::run(&args),
        Sub::Version(_) => version::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read us has read enough, as `head` does.
        Err(error) if output::nobody_reads(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let exit = error.downcast_ref::<Exit>();
            match (error.downcast_ref::<Quiet>(), exit) {
                (Some(Quiet), _) | (None, Some(Exit { why: None, .. })) => {}
                (None, _) => output::complain(&format!("error: {error:#}")),
            }
            exit.map_or(ExitCode::FAILURE, |exit| ExitCode::from(exit.code))
        }
    }
}

/// The failure was already shown in full; only the exit code is left to say it.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
pub struct Quiet;

/// A command ends with a code that says more than failure.
#[derive(Debug)]
pub struct Exit {
    code: u8,
    /// `None`: it was said already.
    why: Option<String>,
}

impl Exit {
    fn quietly(code: u8) -> Exit {
        Exit { code, why: None }
    }

    fn because(code: u8, why: impl std::fmt::Display) -> Exit {
        Exit { code, why: Some(why.to_string()) }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.why.as_deref().unwrap_or("failed"))
    }
}

impl std::error::Error for Exit {}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// A site's name as a person gives it: bare, or as `get -o name` prints it.
pub(crate) fn bare(name: &str) -> &str {
    for kind in
        ["bluegreensite.bluegreen.dev/", "bluegreensites.bluegreen.dev/", "bluegreensite/", "bluegreensites/", "bgs/"]
    {
        if let Some(bare) = name.strip_prefix(kind) {
            return bare;
        }
    }
    name
}

/// The name of a site as kubectl prints it.
pub(crate) fn full(name: &str) -> String {
    format!("bluegreensite.bluegreen.dev/{name}")
}

/// Says of a site that isn't there which ones are.
pub(crate) async fn explain(source: &Source, name: &str, error: SourceError) -> anyhow::Error {
    if !error.is_not_found() {
        return error.into();
    }
    let Ok(list) = source.list().await else {
        return error.into();
    };
    let names: Vec<String> = list.iter().map(view::name).collect();
    let advice = match names.as_slice() {
        [] => format!("there are no sites {}: apply one with {}", source.place(), source.hint("apply -f FILE")),
        names => {
            let close = names.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
            let close = close.filter(|known| strsim::damerau_levenshtein(known, name) <= 2);
            match close {
                Some(close) => format!("did you mean {close}?"),
                None => format!("the sites {} are {}", source.place(), names.join(", ")),
            }
        }
    };
    anyhow::anyhow!("there is no site {name:?}; {advice}")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_get_prints_as_a_name_is_taken_as_one() {
        for name in ["shop", "bgs/shop", "bluegreensite/shop", &full("shop")] {
            assert_eq!(bare(name), "shop");
        }
    }
}
