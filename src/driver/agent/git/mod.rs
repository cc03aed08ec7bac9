//! Sites from a Git repository, without a cluster: the host asks a server, reads the manifests of the newest commit, and becomes what they say, all
//! or nothing. What was applied goes on whatever becomes of the server.
//!
//! | part | what it does |
//! |---|---|
//! | `config`, `names` | what the agent is told, as narrow types |
//! | `follow` | asks again and again, and when somebody tells of a push |
//! | `apply` | makes the sites what a commit says, or refuses it as a whole |
//! | `commit`, `tree` | reads a commit: manifests, and what is none |
//! | `mirror` | the copy of the repository: fetched, looked into, never checked out |
//! | `program`, `account`, `keys` | runs `git`: as whom, with what, within which limits |
//! | `state` | what must not be forgotten |
//! | `told`, `metrics`, `doctor` | what people and machines are told |
//! | `webhook` | hears of a push |

mod account;
mod apply;
mod commit;
pub mod config;
pub mod doctor;
mod error;
mod follow;
mod keys;
pub mod metrics;
mod mirror;
pub mod names;
mod program;
pub mod state;
mod told;
mod tree;
mod webhook;

pub(super) use told::Told;
