//! What a user writes and reads: the `BlueGreenSite` resource, its narrow types, and the one place that judges it.
//!
//! | part | what it is |
//! |---|---|
//! | `names` | every name that the outside sees |
//! | `spec`, `status`, `crd` | the resource as it is written, what is reported, its schema |
//! | `parse` | text → `spec` → `site`, with `yaml` (text and its lines), `shape` (against the schema) and `problem` (what is wrong) |
//! | `site` | a site, parsed: nothing in it can be wrong any more |
//! | `report` | a decision as status and conditions, for people and tools |
//! | `fault` | why something was not done, and whose it is |
//! | `command` | approve, abort, …: commands as annotations |
//! | `conflicts` | what no site can say alone: two that want the same |
//! | `types`, `span` | the narrow types, and spans of time |
//! | `shell` | words of commands that people are told to paste |

pub mod command;
pub mod conflicts;
pub mod crd;
pub mod fault;
mod health;
pub mod java;
pub mod names;
pub mod parse;
pub mod problem;
mod python;
pub mod remote;
pub mod report;
pub mod requests;
mod shape;
pub mod shell;
pub mod site;
pub mod span;
pub mod spec;
pub mod status;
pub mod types;
pub(crate) mod yaml;
