//! `bluegreen host`: the agent of a plain machine, and how it joins a hub.
//!
//! | part | what it does | who calls it, and where |
//! |---|---|---|
//! | `run` | the agent | the host's service manager |
//! | `token` | makes what a host has on its hub, and a token to join with | an admin of the hub |
//! | `join` | trades that token for the host's own | root, on the host |
//! | `leave` | ends it | root, on the host; or, when the host is no more, an admin of the hub |
//! | `get` | a table of hosts | an admin of the hub |
//! | `objects` | what a host has on its hub: pure | `token`, and `manifest` for those who keep it in Git |
//! | `ticket` | what a host joins with, as one word: pure | `token`, `join` |
//! | `hub` | questions to the API server that several of these ask | |

mod get;
mod hub;
mod join;
mod leave;
pub mod objects;
mod run;
pub mod ticket;
mod token;

use clap::Subcommand;

use super::block_on;
use super::cluster::Wish;
use super::output::print;
use super::place::Place;
use crate::api::types::HostName;

/// The agent of a plain machine, and how it joins a hub.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    subcommand: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Run the agent in the foreground, until it is told to end.
    Run(run::Args),
    Token(token::Args),
    Join(join::Args),
    Leave(leave::Args),
    Get(get::Args),
    /// Print what a host has on its hub, for those who keep it in Git: all of `host token` but the token.
    Manifest(ManifestArgs),
}

#[derive(Debug, clap::Args)]
struct ManifestArgs {
    /// The host's name.
    name: HostName,
}

impl Args {
    /// Whether it is a cluster that is asked, with or without a flag that says so.
    #[must_use]
    pub fn asks_cluster(&self) -> bool {
        match &self.subcommand {
            Sub::Token(_) | Sub::Get(_) => true,
            Sub::Leave(leave) => leave.for_another(),
            Sub::Run(_) | Sub::Join(_) | Sub::Manifest(_) => false,
        }
    }
}

pub(super) fn run(place: Place, args: Args) -> anyhow::Result<()> {
    match args.subcommand {
        Sub::Run(args) => run::run(args),
        Sub::Token(args) => block_on(token::run(wish(place), args)),
        Sub::Join(args) => block_on(join::run(args)),
        Sub::Leave(args) => match args.for_another() {
            true => block_on(leave::admin::run(wish(place), args)),
            false => block_on(leave::run(args)),
        },
        Sub::Get(args) => block_on(get::run(wish(place), args)),
        Sub::Manifest(args) => Ok(print(&objects::yaml(&args.name)?)?),
    }
}

/// Which cluster is the hub.
fn wish(place: Place) -> Wish {
    match place {
        Place::Cluster(wish) => wish,
        // A socket was named: it leads nowhere that these ask.
        Place::Host(_) => Wish { program: "bluegreen", ..Wish::default() },
    }
}
